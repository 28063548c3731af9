use http::header::HOST;

use super::*;

fn parse(text: &[u8]) -> Result<RequestHead, Fault> {
    let limits = Limits { bytes: 1024, headers: 8 };
    let mut input = BytesMut::from(text);
    match find_end(&mut input, &mut 0, limits)? {
        Some(end) => RequestHead::parse(input.split_to(end).freeze(), limits),
        None => Err(Fault::bad("incomplete")),
    }
}

fn status(text: &[u8]) -> u16 {
    parse(text).map_or_else(|fault| fault.status.as_u16(), |_| 200)
}

#[test]
fn parses_a_plain_request() {
    let head = parse(b"\r\nGET /a?b=c HTTP/1.1\r\nHost: example.com:80\r\nX-A:  b \r\n\r\n").unwrap();
    assert_eq!((head.method, head.uri.path(), head.uri.query()), (Method::GET, "/a", Some("b=c")));
    assert_eq!(head.headers.get("x-a").unwrap(), "b");
    assert!(head.keep_alive);
    assert_eq!(head.length, Length::Empty);
}

#[test]
fn refuses_each_smuggling_shape() {
    for bad in [
        &b"GET / HTTP/1.1\nHost: a\n\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\x00: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        b"GET / http/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"\x00",
    ] {
        assert_eq!(status(bad), 400, "{}", String::from_utf8_lossy(bad));
        assert_ne!(parse(bad).unwrap_err().reason, "incomplete", "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn names_other_faults_by_their_status() {
    assert_eq!(status(b"GET / HTTP/3.0\r\nHost: a\r\n\r\n"), 505);
    assert_eq!(status(format!("GET /{} HTTP/1.1\r\n", "a".repeat(2000)).as_bytes()), 414);
    assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n", "a".repeat(2000)).as_bytes()), 431);
    assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(8)).as_bytes()), 431);
}

#[test]
fn knows_who_keeps_alive() {
    let keeps = |text: &[u8]| parse(text).unwrap().keep_alive;
    assert!(!keeps(b"GET / HTTP/1.0\r\n\r\n"));
    assert!(keeps(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
    assert!(!keeps(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"));
}

#[test]
fn accepts_absolute_and_asterisk_forms() {
    assert_eq!(status(b"GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n"), 200);
    assert_eq!(status(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    assert_eq!(status(b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), 200);
}

#[test]
fn a_response_with_two_lengths_is_refused() {
    let parse = |text: &'static [u8]| ResponseHead::parse(Bytes::from_static(text), Limits::default(), &Method::GET);
    assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n").is_err());
    assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    let head = parse(b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n").unwrap();
    assert_eq!((head.length, head.keep_alive), (Length::Known(1), true));
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(0u8.., 0..300)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn what_is_written_is_read_back(names in proptest::collection::vec("[a-z][a-z0-9-]{0,12}", 0..6), value in "[ -~]{0,30}") {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("h"));
        for name in names.iter().filter(|n| !["host", "content-length", "connection"].contains(&n.as_str())) {
            headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.trim().parse().unwrap());
        }
        let mut out = BytesMut::new();
        RequestHead::write(&mut out, &Method::PUT, "/x", &headers, Framing::Chunked);
        let limits = Limits::default();
        let end = find_end(&mut out, &mut 0, limits).unwrap().unwrap();
        let head = RequestHead::parse(out.split_to(end).freeze(), limits).unwrap();
        proptest::prop_assert_eq!(head.length, Length::Chunked);
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        proptest::prop_assert_eq!(head.headers, headers);
    }
}

#[test]
fn what_a_request_says_of_its_length_is_how_it_is_framed() {
    let written = |values: &[&str], framing| {
        let mut headers = HeaderMap::new();
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        for value in values {
            headers.append(CONTENT_LENGTH, value.parse().unwrap());
        }
        let mut out = BytesMut::new();
        RequestHead::write(&mut out, &Method::POST, "/", &headers, framing);
        String::from_utf8(out.to_vec()).unwrap().strip_prefix("POST / HTTP/1.1\r\n").unwrap().to_owned()
    };
    assert_eq!(written(&[], Framing::Empty), "\r\n");
    assert_eq!(written(&["0"], Framing::Empty), "content-length: 0\r\n\r\n");
    assert_eq!(written(&["74"], Framing::Empty), "content-length: 0\r\n\r\n");
    assert_eq!(written(&["", "0", "5"], Framing::Empty), "content-length: 0\r\n\r\n");
    assert_eq!(written(&["5"], Framing::Known(3)), "content-length: 3\r\n\r\n");
    assert_eq!(written(&["5"], Framing::Chunked), "transfer-encoding: chunked\r\n\r\n");
}

#[test]
fn a_plain_connection_field_is_understood_and_left_out() {
    let head = |version: &str, fields: &str| parse(format!("GET / {version}\r\nHost: a\r\n{fields}\r\n").as_bytes());
    for (version, fields, keep_alive) in [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: Keep-Alive\r\n", true),
        ("HTTP/1.1", "connection: close\r\n", false),
        ("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: keep-alive\r\n", true),
        ("HTTP/1.0", "Connection: keep-alive\r\nConnection: close\r\n", false),
    ] {
        let head = head(version, fields).unwrap();
        assert_eq!(
            (head.keep_alive, head.headers.len(), head.hop_by_hop),
            (keep_alive, 1, false),
            "{version} {fields}"
        );
    }
}

#[test]
fn what_else_is_said_of_the_connection_is_kept_and_told() {
    for (field, keep_alive) in [
        ("Connection: close, x-a", false),
        ("Connection: upgrade", true),
        ("Connection: x-a\r\nConnection: close", false),
        ("TE: trailers", true),
        ("Keep-Alive: timeout=5", true),
        ("Upgrade: websocket", true),
        ("Proxy-Connection: close", true),
        ("HTTP2-Settings: AAMAAABkAAQAAP__", true),
        ("Transfer-Encoding: chunked", true),
    ] {
        let head = parse(format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n").as_bytes()).unwrap();
        assert_eq!((head.keep_alive, head.headers.len(), head.hop_by_hop), (keep_alive, 2, true), "{field}");
    }
}

#[test]
fn an_expectation_is_told() {
    assert!(parse(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n").unwrap().expects);
    assert!(!parse(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().expects);
}
