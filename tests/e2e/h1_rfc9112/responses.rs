//! Responses: what an endpoint may not send becomes 502 or a response that is seen to be cut short.

use super::{
    Proxy,
    endpoint::{Answer, ok},
    statuses,
};
use crate::e2e::h2_rfc9113::wire::{self, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, Seen, Wire};

/// Responses by name: the octets, and whether the endpoint closes after them.
const SHAPES: &[(&str, &str, bool)] = &[
    ("cl-te", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false),
    ("two-cl", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", false),
    ("cl-list", "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc", false),
    ("cl-sign", "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc", false),
    ("te-two", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", false),
    ("te-odd", "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", false),
    ("te-1-0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true),
    ("bare-lf", "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", false),
    ("fold", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 3\r\n\r\nabc", false),
    ("colon", "HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc", false),
    ("nul", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 3\r\n\r\nabc", false),
    ("bare-cr", "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b=c\r\nContent-Length: 3\r\n\r\nabc", false),
    ("status", "HTTP/1.1 99 Low\r\nContent-Length: 3\r\n\r\nabc", false),
    ("version", "HTTP/3.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", false),
    ("garbage", "SSH-2.0-OpenSSH_9.9\r\n\r\n", false),
    ("nothing", "", true),
    ("half", "HTTP/1.1 200 OK\r\nContent-Le", true),
    ("switch", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", false),
];

/// Responses that begin well.
const BROKEN: &[(&str, &str, bool)] = &[
    ("short", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", true),
    ("cut-chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", true),
    ("no-last-chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true),
    ("no-last-line", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", true),
    ("bad-chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n", false),
    ("long-chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n", false),
];

fn proxy() -> Proxy {
    Proxy::start("", |asked| {
        let name = asked.target().trim_start_matches('/');
        if let Some((_, octets, close)) = SHAPES.iter().chain(BROKEN).find(|shape| shape.0 == name) {
            let octets = octets.as_bytes().to_vec();
            return if *close { Answer::Close(octets) } else { Answer::Keep(octets) };
        }
        match name {
            "oversized" => Answer::Keep(
                format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(1 << 20)).into_bytes(),
            ),
            "many" => Answer::Keep(
                format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "X: y\r\n".repeat(2000)).into_bytes(),
            ),
            "flood" => Answer::Hold("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(200_000).into_bytes()),
            "hints" => Answer::Keep([b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", &ok(b"end")[..]].concat()),
            "open" => Answer::Close(b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec()),
            "1.0" => Answer::Close(b"HTTP/1.0 200 OK\r\n\r\nold".to_vec()),
            "extra" => Answer::Keep([&ok(b"abc")[..], b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"].concat()),
            "204" => Answer::Keep(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n".to_vec()),
            "304" => Answer::Keep(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n".to_vec()),
            "hop" => Answer::Keep(
                b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\nok"
                    .to_vec(),
            ),
            _ => Answer::Keep(ok(name.as_bytes())),
        }
    })
}

fn get(path: &str, version: &str) -> Vec<u8> {
    format!("GET /{path} HTTP/{version}\r\nHost: a\r\n\r\n").into_bytes()
}

#[test]
fn malformed_heads_become_502() {
    let proxy = proxy();
    let mut failed = Vec::new();
    for name in SHAPES.iter().map(|shape| shape.0).chain(["oversized", "many"]) {
        let text = proxy.all(&get(name, "1.1"));
        if statuses(&text) != [502] {
            failed.push(format!("{name}: {:?}", text.get(..text.len().min(300))));
        }
        assert!(proxy.all(&get("fine", "1.1")).ends_with("fine"), "after {name}");
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_client_sees_that_a_response_is_cut_short() {
    let proxy = proxy();
    for (name, ..) in BROKEN {
        let text = proxy.all(&get(name, "1.1"));
        assert_eq!(statuses(&text), [200], "{name}: {text:?}");
        assert!(!text.ends_with("0\r\n\r\n") && !text.ends_with("abcdef"), "{name} looks whole: {text:?}");
        assert!(proxy.all(&get("fine", "1.1")).ends_with("fine"), "after {name}");

        let mut wire = Wire::ready(proxy.address());
        let path = format!("/{name}");
        wire.send(&wire::headers(END_HEADERS | END_STREAM, 1, &wire::request("GET", &path)));
        let end = wire.until(|frame| frame.stream == 1 && (frame.kind == RST_STREAM || frame.ends_stream())).unwrap();
        assert_eq!(end.kind, RST_STREAM, "{name} looks whole over HTTP/2");
    }
}

#[test]
fn a_response_after_the_response_is_nobodys() {
    let proxy = proxy();
    let mut client = super::Raw::open(proxy.address());
    for _ in 0..3 {
        client.send(&get("extra", "1.1"));
        assert!(client.until(|text| text.ends_with("abc")));
        client.1.clear();
        client.send(&get("fine", "1.1"));
        assert!(client.until(|text| text.ends_with("fine") || text.contains("evil")));
        assert!(!String::from_utf8_lossy(&client.1).contains("evil"));
        client.1.clear();
    }
}

#[test]
fn bodies_that_end_with_the_connection() {
    let proxy = proxy();
    for (name, body) in [("open", "until the end"), ("1.0", "old")] {
        let text = proxy.all(&get(name, "1.1"));
        assert!(text.contains("transfer-encoding: chunked") && text.contains(body), "{text:?}");
        assert!(text.ends_with("0\r\n\r\n"), "{text:?}");
        let text = proxy.all(&get(name, "1.0"));
        assert!(text.ends_with(body) && !text.contains("chunked"), "{text:?}");
    }
    let mut wire = Wire::ready(proxy.address());
    wire.send(&wire::headers(END_HEADERS | END_STREAM, 1, &wire::request("GET", "/open")));
    let mut body = Vec::new();
    loop {
        let frame = wire.until(|frame| frame.stream == 1).unwrap();
        assert!(matches!(frame.kind, HEADERS | DATA), "{frame:?}");
        if frame.kind == DATA {
            body.extend_from_slice(&frame.payload);
        }
        if frame.ends_stream() {
            break;
        }
    }
    assert_eq!(body, b"until the end");
}

#[test]
fn informational_responses() {
    let proxy = proxy();
    assert_eq!(statuses(&proxy.all(&get("hints", "1.1"))), [103, 200]);
    assert_eq!(statuses(&proxy.all(&get("hints", "1.0"))), [200]);
    let before = proxy.weir.rss();
    let text = proxy.all(&get("flood", "1.1"));
    assert!(statuses(&text).len() < 1000, "{} informational responses were passed on", statuses(&text).len());
    assert!(proxy.weir.rss() < before + (24 << 20));
    let mut wire = Wire::ready(proxy.address());
    wire.send(&wire::headers(END_HEADERS | END_STREAM, 1, &wire::request("GET", "/flood")));
    let end = wire.until(|frame| frame.stream == 1 && (frame.kind == RST_STREAM || frame.ends_stream()));
    assert!(end.is_ok() || end.is_err_and(|seen| seen.last() == Some(&Seen::Closed)));
}

#[test]
fn responses_without_body_and_hop_by_hop_fields() {
    let proxy = proxy();
    let pipelined = [get("204", "1.1"), get("304", "1.1"), get("hop", "1.1")].concat();
    let text = proxy.all(&pipelined);
    assert_eq!(statuses(&text), [204, 304, 200], "{text:?}");
    let first = text.split("HTTP/1.1 304").next().unwrap();
    assert!(!first.contains("content-length") && !first.contains("transfer-encoding"), "{first:?}");
    assert!(!text.contains("x-hop") && !text.contains("keep-alive"), "{text:?}");
    assert!(text.ends_with("ok"), "{text:?}");
}
