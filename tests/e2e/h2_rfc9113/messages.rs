//! Section 8: what a request must have and may not have.

use super::{
    LARGE, Proxy,
    cases::{
        self, Case,
        Expect::{self, Fine, Status, Stream},
        case, judge,
    },
    wire::{DATA, END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, RST_STREAM, Seen, Wire, frame, headers, request},
};

const MALFORMED: Expect = Stream(1, &[PROTOCOL_ERROR]);
const BOTH: u8 = END_HEADERS | END_STREAM;

/// A request that is malformed, to a route that would answer it.
fn malformed(name: &'static str, fields: &[(&str, &str)]) -> Case {
    case(name, [headers(BOTH, 1, fields)], MALFORMED)
}

fn with(extra: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [request("GET", "/ping"), extra.to_vec()].concat()
}

#[test]
fn section_8_1_framing() {
    let proxy = Proxy::start();
    let post = |fields: &[(&str, &str)]| headers(END_HEADERS, 1, &[&request("POST", "/echo"), fields].concat());
    let trailers = |fields: &[(&str, &str)]| headers(BOTH, 1, fields);
    let data = |flags| frame(DATA, flags, 1, b"test");
    cases::run(
        proxy.address(),
        &[
            case("trailers", [post(&[]), data(0), trailers(&[("x-sum", "1")])], Status(1, 200)),
            case("trailers without DATA", [post(&[]), trailers(&[("x-sum", "1")])], Status(1, 200)),
            case("HEADERS twice without END_STREAM", [post(&[]), data(0), post(&[])], MALFORMED),
            case("trailers without END_STREAM", [post(&[]), headers(END_HEADERS, 1, &[("x-sum", "1")])], MALFORMED),
            case("upper case in trailers", [post(&[]), data(0), trailers(&[("X-Sum", "1")])], MALFORMED),
            case("content-length as sent", [post(&[("content-length", "4")]), data(END_STREAM)], Status(1, 200)),
            case("content-length of 1, one DATA", [post(&[("content-length", "1")]), data(END_STREAM)], MALFORMED),
            case("content-length of 5, one DATA", [post(&[("content-length", "5")]), data(END_STREAM)], MALFORMED),
            case(
                "content-length, several DATA",
                [post(&[("content-length", "1")]), data(0), data(END_STREAM)],
                MALFORMED,
            ),
            case(
                "content-length, end in trailers",
                [post(&[("content-length", "9")]), data(0), trailers(&[])],
                MALFORMED,
            ),
            case("content-length of 5, no DATA", [headers(BOTH, 1, &with(&[("content-length", "5")]))], MALFORMED),
            case("content-length, no number", [post(&[("content-length", "4a")]), data(END_STREAM)], MALFORMED),
            case("content-length with a sign", [post(&[("content-length", "+4")]), data(END_STREAM)], MALFORMED),
            case(
                "two content-length",
                [post(&[("content-length", "4"), ("content-length", "5")]), data(END_STREAM)],
                MALFORMED,
            ),
            case("a list of content-length", [post(&[("content-length", "4, 4")]), data(END_STREAM)], MALFORMED),
            case("content-length of 0, no DATA", [headers(BOTH, 1, &with(&[("content-length", "0")]))], Status(1, 200)),
            malformed("an empty content-length, no DATA", &with(&[("content-length", "")])),
            malformed("two content-length of 0, no DATA", &with(&[("content-length", "0"), ("content-length", "0")])),
            case("an empty content-length", [post(&[("content-length", "")]), data(END_STREAM)], MALFORMED),
        ],
    );
}

#[test]
fn section_8_2_fields() {
    let proxy = Proxy::start();
    cases::run(
        proxy.address(),
        &[
            malformed("upper case", &with(&[("X-Test", "ok")])),
            malformed("a space in a name", &with(&[("x test", "ok")])),
            malformed("a colon in a name", &with(&[("x:test", "ok")])),
            malformed("an empty name", &with(&[("", "ok")])),
            malformed("a control in a name", &with(&[("x\x01", "ok")])),
            malformed("a letter outside ASCII in a name", &with(&[("x\u{e9}", "ok")])),
            malformed("NUL in a value", &with(&[("x-test", "a\0b")])),
            malformed("line feed in a value", &with(&[("x-test", "a\nx-evil: b")])),
            malformed("carriage return in a value", &with(&[("x-test", "a\rb")])),
            malformed("space before a value", &with(&[("x-test", " a")])),
            malformed("tab after a value", &with(&[("x-test", "a\t")])),
            malformed("connection", &with(&[("connection", "keep-alive")])),
            malformed("keep-alive", &with(&[("keep-alive", "5")])),
            malformed("proxy-connection", &with(&[("proxy-connection", "close")])),
            malformed("transfer-encoding", &with(&[("transfer-encoding", "chunked")])),
            malformed("upgrade", &with(&[("upgrade", "websocket")])),
            malformed("te other than trailers", &with(&[("te", "trailers, deflate;q=0.5")])),
            case("te: trailers", [headers(BOTH, 1, &with(&[("te", "trailers")]))], Status(1, 200)),
            case("an empty value", [headers(BOTH, 1, &with(&[("x-test", "")]))], Status(1, 200)),
        ],
    );
}

#[test]
fn section_8_3_pseudo_headers() {
    let proxy = Proxy::start();
    let only = |fields: &[(&str, &str)]| fields.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect::<Vec<_>>();
    let refused = [
        ("unknown", only(&with(&[(":test", "ok")]))),
        (":status", only(&with(&[(":status", "200")]))),
        (":protocol without the extension", only(&with(&[(":protocol", "websocket")]))),
        (
            "after a regular field",
            only(&[(":method", "GET"), (":scheme", "http"), ("x", "y"), (":path", "/ping"), (":authority", "a")]),
        ),
        ("empty :path", only(&request("GET", ""))),
        (":path without a slash", only(&request("GET", "ping"))),
        (":path *, not OPTIONS", only(&request("GET", "*"))),
        (":path with a space", only(&request("GET", "/ping HTTP/1.1"))),
        (":path with a line end", only(&request("GET", "/ping\r\nx: y"))),
        (":path in absolute form", only(&request("GET", "http://example.com/ping"))),
        ("no :method", only(&[(":scheme", "http"), (":path", "/ping"), (":authority", "a")])),
        ("no :scheme", only(&[(":method", "GET"), (":path", "/ping"), (":authority", "a")])),
        ("no :path", only(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")])),
        ("two :method", only(&[&[(":method", "GET")], &request("GET", "/ping")[..]].concat())),
        ("two :scheme", only(&[&[(":scheme", "http")], &request("GET", "/ping")[..]].concat())),
        ("two :path", only(&[&[(":path", "/ping")], &request("GET", "/ping")[..]].concat())),
        ("two :authority", only(&[&[(":authority", "a")], &request("GET", "/ping")[..]].concat())),
        ("empty :method", only(&request("", "/ping"))),
        (":method with a space", only(&request("GET /x", "/ping"))),
        (
            "user information in :authority",
            only(&[(":method", "GET"), (":scheme", "http"), (":path", "/ping"), (":authority", "u@a")]),
        ),
        ("empty :authority", only(&[(":method", "GET"), (":scheme", "http"), (":path", "/ping"), (":authority", "")])),
        (
            "a path in :authority",
            only(&[(":method", "GET"), (":scheme", "http"), (":path", "/ping"), (":authority", "a/b")]),
        ),
        ("neither :authority nor host", only(&[(":method", "GET"), (":scheme", "http"), (":path", "/ping")])),
        ("host other than :authority", only(&with(&[("host", "evil.example")]))),
        ("two host", only(&with(&[("host", "example.com"), ("host", "example.com")]))),
    ];
    let refused = refused.each_ref().map(|(name, fields)| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        malformed(name, &fields)
    });
    cases::run(proxy.address(), &refused);
    cases::run(
        proxy.address(),
        &[
            case("GET", [headers(BOTH, 1, &request("GET", "/ping"))], Status(1, 200)),
            case("HEAD", [headers(BOTH, 1, &request("HEAD", "/ping"))], Status(1, 200)),
            case("OPTIONS *", [headers(BOTH, 1, &request("OPTIONS", "*"))], Status(1, 200)),
            case("host the same as :authority", [headers(BOTH, 1, &with(&[("host", "example.com")]))], Status(1, 200)),
            case(
                "host in place of :authority",
                [headers(BOTH, 1, &[(":method", "GET"), (":scheme", "http"), (":path", "/ping"), ("host", "a")])],
                Status(1, 200),
            ),
            case("TRACE", [headers(BOTH, 1, &request("TRACE", "/ping"))], Status(1, 405)),
            case("CONNECT", [headers(BOTH, 1, &[(":method", "CONNECT"), (":authority", "a:1")])], Status(1, 405)),
            case("CONNECT with :path", [headers(BOTH, 1, &request("CONNECT", "/ping"))], MALFORMED),
            case("expect", [headers(BOTH, 1, &with(&[("expect", "100-continue")]))], Status(1, 200)),
            case(
                "header list larger than we take",
                [headers(BOTH, 1, &vec![("x", "0123456789"); 1000])],
                Status(1, 431),
            ),
        ],
    );
}

#[test]
fn section_8_what_reaches_the_endpoint_is_one_request() {
    let proxy = Proxy::start();
    let mut wire = Wire::ready(proxy.address());
    let fields = [
        &request("POST", "/echo?a=b")[..],
        &[("cookie", "a=b"), ("cookie", "c=d"), ("te", "trailers"), ("x-test", "GET /evil HTTP/1.1")],
    ];
    wire.send(&headers(END_HEADERS, 1, &fields.concat()));
    wire.send(&frame(DATA, END_STREAM, 1, b"0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"));
    judge(&mut wire, Status(1, 200)).unwrap();
    let asked = proxy.endpoint.take();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].target(), "/echo?a=b");
    assert_eq!(asked[0].field("cookie"), Some("a=b; c=d"));
    assert_eq!(asked[0].field("host"), Some("example.com"));
    assert_eq!(asked[0].body, b"0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n");
}

/// The octets that it announces would be those of the next request on the connection to the endpoint.
#[test]
fn section_8_5_connect_has_no_content() {
    let proxy = Proxy::start();
    let tunnel = |length: &'static str| {
        let ask = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat")];
        let fields = [(":authority", "example.com"), ("sec-websocket-version", "13"), ("content-length", length)];
        case("a tunnel with content-length", [headers(END_HEADERS, 1, &[&ask[..], &fields].concat())], MALFORMED)
    };
    let plain = [(":method", "CONNECT"), (":authority", "a:1"), ("content-length", "5")];
    cases::run(
        proxy.address(),
        &[
            tunnel("74"),
            tunnel("0"),
            tunnel(""),
            case("CONNECT with content-length", [headers(END_HEADERS, 1, &plain)], MALFORMED),
        ],
    );
    let asked = proxy.endpoint.take();
    assert!(asked.is_empty(), "{asked:?}");
}

#[test]
fn section_8_6_a_response_to_head_has_no_body() {
    let proxy = Proxy::start();
    let mut wire = Wire::ready(proxy.address());
    wire.send(&headers(BOTH, 1, &request("HEAD", "/ping")));
    let head = wire.until(|frame| frame.kind == HEADERS).unwrap();
    assert_eq!((head.status(), head.ends_stream()), (Some(200), true));
    judge(&mut wire, Fine).unwrap();
}

#[test]
fn section_8_7_a_body_is_whole() {
    let proxy = Proxy::start();
    let mut wire = Wire::with(proxy.address(), &[(4, 1 << 20)]);
    wire.send(&super::wire::window_update(0, 1 << 20));
    wire.send(&headers(BOTH, 1, &request("GET", "/large")));
    let deadline = std::time::Instant::now() + super::wire::DEADLINE;
    let mut octets = 0;
    loop {
        match wire.next(deadline) {
            Seen::Frame(frame) => {
                assert_ne!(frame.kind, RST_STREAM, "{frame:?}");
                octets += if frame.kind == DATA { frame.payload.len() } else { 0 };
                if frame.ends_stream() {
                    break;
                }
            }
            other => panic!("{other:?} after {octets} octets"),
        }
    }
    assert_eq!(octets, LARGE);
}
