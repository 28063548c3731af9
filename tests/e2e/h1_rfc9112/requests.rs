//! Requests: refused where two readers could understand them differently, else passed on as one.

use super::{
    Proxy, Raw,
    endpoint::{Answer, ok},
    statuses,
};

/// What stands where a case says `EVIL`: a request that nobody may see as one.
const EVIL: &str = "GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n";

fn proxy(limits: &str) -> Proxy {
    Proxy::start(limits, |asked| match asked.target() {
        "/hold" => Answer::Hold(Vec::new()),
        target => Answer::Keep(ok(target.as_bytes())),
    })
}

/// Each case is sent as it stands. One response must come, with this status, and the connection must
/// end; the endpoint must not have been asked, nor anything behind the case been taken for a request.
fn refused(proxy: &Proxy, cases: &[(&str, &str, u16)]) {
    let mut failed = Vec::new();
    for (name, octets, status) in cases {
        let octets = octets.replace("EVIL", EVIL);
        proxy.endpoint.take();
        let mut client = Raw::open(proxy.address());
        client.send(octets.as_bytes());
        let text = client.rest();
        let asked = proxy.endpoint.take();
        if statuses(&text) != [*status] || !asked.is_empty() {
            failed.push(format!("{name}: expected {status}, got {text:?}; the endpoint got {asked:?}"));
        }
        assert!(proxy.serves(), "others are not served after {name}");
    }
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

/// Each case is one request that is answered with this status.
fn answered(proxy: &Proxy, cases: &[(&str, &str, u16)]) {
    let mut failed = Vec::new();
    for (name, octets, status) in cases {
        let text = proxy.all(octets.as_bytes());
        if statuses(&text) != [*status] {
            failed.push(format!("{name}: expected {status}, got {text:?}"));
        }
    }
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

#[test]
fn rfc_9112_section_2_and_3_request_line() {
    let proxy = proxy("");
    refused(
        &proxy,
        &[
            ("space before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("space after the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
            ("tabs", "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("bare line feed", "GET / HTTP/1.1\nHost: a\n\n", 400),
            ("bare carriage return", "GET / HTTP/1.1\rHost: a\r\r", 400),
            ("bare line feed at the end", "GET / HTTP/1.1\r\nHost: a\r\n\nEVIL", 400),
            ("bare carriage return in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
            ("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("letters outside ASCII in the target", "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("fragment", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("target without slash", "GET index.html HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("* for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("authority for GET", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("user information", "GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("absolute form without a host", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("HTTP/0.9", "GET /\r\n\r\n", 400),
            ("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
            ("HTTP/9.9", "GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505),
            ("a long version", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
            ("lower case version", "GET / http/1.1\r\nHost: a\r\n\r\n", 400),
            ("another protocol", "GET / XTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("delimiter in the method", "G{T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("CONNECT without a port", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("CONNECT with a path", "CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("garbage", "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n", 400),
            ("a response", "HTTP/1.1 200 OK\r\n\r\n", 400),
        ],
    );
    answered(
        &proxy,
        &[
            ("empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("unknown method", "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("lower case method", "get / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("a query with slashes", "GET /?a=/../b HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            ("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
            ("Max-Forwards 0", "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", 200),
            ("Max-Forwards no number", "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: x\r\n\r\n", 400),
        ],
    );
}

#[test]
fn rfc_9112_section_3_2_host() {
    let proxy = proxy("");
    refused(
        &proxy,
        &[
            ("no host", "GET / HTTP/1.1\r\n\r\n", 400),
            ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("the same host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("a list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
            ("empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
            ("a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
            ("user information", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
            ("a port that is no number", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
            ("a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            ("an unclosed bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
            ("no host with absolute form", "GET http://a/ HTTP/1.1\r\n\r\n", 400),
        ],
    );
    answered(
        &proxy,
        &[
            ("a port", "GET / HTTP/1.1\r\nHost: a:80\r\n\r\n", 200),
            ("IPv6", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200),
            ("HTTP/1.0 without host", "GET / HTTP/1.0\r\n\r\n", 200),
        ],
    );
    proxy.endpoint.take();
    proxy.all(b"GET http://right.example:81/x?y HTTP/1.1\r\nHost: wrong.example\r\n\r\n");
    proxy.all(b"OPTIONS http://right.example HTTP/1.1\r\nHost: wrong.example\r\n\r\n");
    let asked = proxy.endpoint.take();
    assert_eq!((asked[0].target(), asked[0].field("host")), ("/x?y", Some("right.example:81")));
    assert_eq!(asked[1].field("host"), Some("right.example"));
}

#[test]
fn rfc_9112_section_5_fields() {
    let proxy = proxy("");
    let line = |field: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
    let bad = [
        "X : a",
        "X\t: a",
        " X: a",
        ": a",
        "X",
        "X a",
        "X: a\r\n folded",
        "X: a\r\n\tfolded",
        "X\0: a",
        "X: a\0b",
        "X: a\x01",
        "X: a\x7f",
        "X(y): a",
        "X\u{e9}: a",
        "Content-Length : 5",
        "Transfer-Encoding : chunked",
        "\"X\": a",
        "X/Y: a",
        "X@Y: a",
    ];
    let cases: Vec<(&str, String, u16)> = bad.iter().map(|field| (*field, line(field), 400)).collect();
    refused(&proxy, &cases.iter().map(|(name, octets, status)| (*name, octets.as_str(), *status)).collect::<Vec<_>>());
    let good = ["X:a", "X:  a  ", "X:", "X: \u{e9}", "X: a\tb", "X-_.!#$%&'*+^`|~1: a"];
    let cases: Vec<(&str, String, u16)> = good.iter().map(|field| (*field, line(field), 200)).collect();
    answered(&proxy, &cases.iter().map(|(name, octets, status)| (*name, octets.as_str(), *status)).collect::<Vec<_>>());
    refused(&proxy, &[("fold in the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400)]);
}

#[test]
fn rfc_9112_section_6_smuggling_shapes_in_lengths() {
    let proxy = proxy("");
    let post = |fields: &str| format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\nEVIL");
    let both = 400;
    let shapes = [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", both),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", both),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked", both),
        ("Content-Length: 5\r\nContent-Length: 5", 400),
        ("Content-Length: 5\r\nContent-Length: 6", 400),
        ("Content-Length: 5, 5", 400),
        ("Content-Length: 5, 6", 400),
        ("Content-Length: +5", 400),
        ("Content-Length: -5", 400),
        ("Content-Length: 0x5", 400),
        ("Content-Length: 5 5", 400),
        ("Content-Length: 5;", 400),
        ("Content-Length: 5.0", 400),
        ("Content-Length: 1e1", 400),
        ("Content-Length: \"5\"", 400),
        ("Content-Length:", 400),
        ("Content-Length: 99999999999999999999", 400),
        ("Content-Length: 18446744073709551616", 400),
        ("Content-Length: \u{666}", 400),
        ("Transfer-Encoding: identity", 400),
        ("Transfer-Encoding: xchunked", 400),
        ("Transfer-Encoding: chunked, identity", 400),
        ("Transfer-Encoding: chunked, chunked", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", 400),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Transfer-Encoding: gzip", 400),
        ("Transfer-Encoding:", 400),
        ("Transfer-Encoding: \"chunked\"", 400),
        ("Transfer-Encoding: chunked;q=1", 400),
        ("Transfer-Encoding: \x0bchunked", 400),
        ("Transfer-Encoding: chunked,", 400),
        ("Transfer-Encoding: , chunked", 501),
        ("Transfer-Encoding: chunked\r\n x", 400),
        ("Transfer-Encoding\r\n : chunked", 400),
        ("Transfer_Encoding: chunked\r\nContent-Length: x", 400),
        ("X: y\rTransfer-Encoding: chunked", 400),
        ("X: y\nTransfer-Encoding: chunked", 400),
    ];
    let cases: Vec<(&str, String, u16)> =
        shapes.iter().map(|(fields, status)| (*fields, post(fields), *status)).collect();
    refused(&proxy, &cases.iter().map(|(name, octets, status)| (*name, octets.as_str(), *status)).collect::<Vec<_>>());
    refused(
        &proxy,
        &[("HTTP/1.0 chunked", "POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nEVIL", 400)],
    );
}

#[test]
fn rfc_9112_section_7_chunks() {
    let proxy = proxy("");
    let post = |body: &str| {
        format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}", body.replace("EVIL", EVIL))
    };
    let bad = [
        "0x5\r\nabcde\r\n0\r\n\r\nEVIL",
        "+5\r\nabcde\r\n0\r\n\r\nEVIL",
        "-5\r\nabcde\r\n0\r\n\r\nEVIL",
        " 5\r\nabcde\r\n0\r\n\r\nEVIL",
        "5 \r\nabcde\r\n0\r\n\r\nEVIL",
        "5\nabcde\n0\n\nEVIL",
        "5\r\nabcde\n0\r\n\r\nEVIL",
        "5\r\nabcdefg\r\n0\r\n\r\nEVIL",
        "5\r\nabcde0\r\n\r\nEVIL",
        "5\rabcde\r\n0\r\n\r\nEVIL",
        "\r\n5\r\nabcde\r\n0\r\n\r\nEVIL",
        "g\r\nabcde\r\n0\r\n\r\nEVIL",
        "5;a\nb\r\nabcde\r\n0\r\n\r\nEVIL",
        "5;a\rb\r\nabcde\r\n0\r\n\r\nEVIL",
        "5 a\r\nabcde\r\n0\r\n\r\nEVIL",
        "5,\r\nabcde\r\n0\r\n\r\nEVIL",
        "ffffffffffffffffff\r\nabcde",
        "10000000000000005\r\nabcde\r\n0\r\n\r\nEVIL",
        "5;\0\r\nabcde\r\n0\r\n\r\nEVIL",
        "5\r\nabcde\r\n0\r\nX : y\r\n\r\nEVIL",
        "5\r\nabcde\r\n0\r\nX: y\n\r\n\r\nEVIL",
        "5\r\nabcde\r\n0\r\n folded: x\r\n\r\nEVIL",
        "5\r\nabcde\r\n0\r\n\nEVIL",
        "5\r\nabcde\r\n0\r\nX\r\n\r\nEVIL",
    ];
    let mut failed = Vec::new();
    for body in bad {
        let mut client = Raw::open(proxy.address());
        client.send(post(body).as_bytes());
        let text = client.rest();
        let asked = proxy.endpoint.take();
        if statuses(&text) != [400] || !asked.is_empty() {
            failed.push(format!("{body:?}: {text:?}, {asked:?}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let long = format!("5;{}\r\nabcde\r\n0\r\n\r\n", "x".repeat(100_000));
    assert_eq!(
        statuses(&{
            let mut client = Raw::open(proxy.address());
            client.send(post(&long).as_bytes());
            client.rest()
        }),
        [400]
    );
    let good = [
        ("5\r\nabcde\r\n0\r\n\r\n", "abcde"),
        ("5;a=b;c=\"d;e\"\r\nabcde\r\n0\r\n\r\n", "abcde"),
        ("005\r\nabcde\r\n000\r\n\r\n", "abcde"),
        ("3\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nHost: evil\r\n\r\n", "abc0123456789"),
        ("0\r\n\r\n", ""),
        ("7\r\n0\r\n\r\nGE\r\n0\r\n\r\n", "0\r\n\r\nGE"),
    ];
    for (body, whole) in good {
        let text = proxy.all(post(body).as_bytes());
        let asked = proxy.endpoint.take();
        assert_eq!((statuses(&text), asked.len()), (vec![200], 1), "{body:?}: {text:?}");
        assert_eq!(String::from_utf8_lossy(&asked[0].body), whole);
        assert_eq!(asked[0].field("host"), Some("a"));
    }
}

#[test]
fn rfc_9112_section_8_incomplete_messages() {
    let proxy = proxy("");
    for octets in [
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\n",
        "GET /x HTT",
    ] {
        let text = proxy.cut(octets.as_bytes());
        assert!(!text.contains("200"), "{octets:?}: {text:?}");
        assert!(proxy.endpoint.take().is_empty(), "{octets:?} reached the endpoint as whole");
    }
}

#[test]
fn rfc_9112_section_9_pipelining_and_persistence() {
    let proxy = proxy("");
    let text = proxy.all(
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /ping HTTP/1.1\r\nHost: a\r\n\r\n\
          POST /4 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET /5 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let bodies: Vec<&str> =
        text.split("HTTP/1.1 200 OK").skip(1).map(|one| one.rsplit("\r\n\r\n").next().unwrap()).collect();
    assert_eq!(bodies, ["/1", "/2", "pong", "/4", "/5"], "{text:?}");
    let asked = proxy.endpoint.take();
    assert_eq!(asked.iter().map(|asked| asked.target()).collect::<Vec<_>>(), ["/1", "/2", "/4", "/5"]);
    assert_eq!((asked[1].body.as_slice(), asked[2].body.as_slice()), (&b"abc"[..], &b"hi"[..]));

    for (name, request, responses) in [
        ("close", "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 1),
        ("close in a list", "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", 1),
        ("1.0", "GET /1 HTTP/1.0\r\nHost: a\r\n\r\n", 1),
        ("1.0 with keep-alive", "GET /1 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", 2),
        ("1.1", "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", 2),
    ] {
        let text = proxy.all(request.repeat(2).as_bytes());
        assert_eq!(statuses(&text).len(), responses, "{name}: {text:?}");
        assert_eq!(text.contains("connection: keep-alive"), name == "1.0 with keep-alive", "{name}: {text:?}");
    }
}

#[test]
fn rfc_9110_section_7_what_is_passed_on() {
    let proxy = proxy("");
    proxy.all(
        b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: gzip, trailers\r\n\
          Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-End: 1\r\n\r\n",
    );
    proxy.all(b"OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 7\r\n\r\n");
    let asked = proxy.endpoint.take();
    for gone in ["x-hop", "keep-alive", "proxy-connection", "upgrade", "http2-settings", "connection", "forwarded"] {
        assert_eq!(asked[0].field(gone), None, "{gone} in {}", asked[0].head);
    }
    assert_eq!(asked[0].field("te"), Some("trailers"));
    assert_eq!(asked[0].field("x-end"), Some("1"));
    assert_eq!(asked[0].field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(asked[1].field("max-forwards"), Some("6"));
}

#[test]
fn rfc_9110_section_10_expect_and_head() {
    let proxy = proxy("");
    let mut client = Raw::open(proxy.address());
    client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    client.send(b"abc");
    assert!(client.until(|text| text.ends_with("/x")));
    assert_eq!(proxy.endpoint.take()[0].body, b"abc");
    refused(&proxy, &[("an unknown expectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417)]);
    let text = proxy.all(b"HEAD /ping HTTP/1.1\r\nHost: a\r\n\r\nGET /ping HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(statuses(&text), [200, 200], "{text:?}");
    assert_eq!(text.matches("pong").count(), 1, "{text:?}");
    assert_eq!(text.to_lowercase().matches("content-length: 4").count(), 2, "{text:?}");
}

#[test]
fn limits_of_a_head() {
    let proxy = proxy("header-bytes = \"4KiB\", headers = 20, header-timeout = \"300ms\"");
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(5000));
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(5000));
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(5000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(20));
    refused(
        &proxy,
        &[
            ("a long target", &long, 414),
            ("a large field", &large, 431),
            ("a field without end", &endless, 431),
            ("too many fields", &many, 431),
            ("a slow head", "GET / HTTP/1.1\r\nHost:", 408),
            ("a slow request line", "GET", 408),
        ],
    );
    let mut silent = Raw::open(proxy.address());
    assert_eq!(silent.rest(), "", "a connection that says nothing is closed without a word");
}
