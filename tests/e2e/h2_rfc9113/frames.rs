//! Sections 3, 4, 6 and 7: the preface, and each type of frame.

use super::{
    Proxy,
    cases::{
        self,
        Expect::{Connection, Fine, Status, Stream},
        case, judge, serves,
    },
    get, half_closed, open,
    wire::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, HEADERS,
        PADDED, PING, PREFACE, PRIORITIZED, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, RST_STREAM, SETTINGS,
        STREAM_CLOSED, WINDOW_UPDATE, Wire, block, frame, headers, priority, request, rst_stream, settings,
        window_update,
    },
};

#[test]
fn section_3_4_preface() {
    let proxy = Proxy::start();
    let wrong: [(&str, Vec<u8>); 5] = [
        ("another rest of the preface", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec()),
        ("a frame other than SETTINGS first", [PREFACE, &frame(PING, 0, 0, &[0; 8])].concat()),
        ("HEADERS first", [PREFACE, &get(1)].concat()),
        ("SETTINGS with ACK first", [PREFACE, &frame(SETTINGS, ACK, 0, &[0; 6])].concat()),
        ("HTTP/1.1 after the preface", [PREFACE, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"].concat()),
    ];
    for (name, octets) in wrong {
        let mut wire = Wire::open(proxy.address());
        wire.send(&octets);
        let verdict = judge(&mut wire, Connection(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]));
        verdict.unwrap_or_else(|why| panic!("{name}: {why}"));
        serves(proxy.address()).unwrap();
    }
    let mut slow = Wire::open(proxy.address());
    for octet in [PREFACE, &settings(&[]), &get(1)].concat() {
        slow.send(&[octet]);
    }
    judge(&mut slow, Status(1, 200)).unwrap();
}

#[test]
fn section_4_frames() {
    let proxy = Proxy::start();
    let fields = block(&request("GET", "/ping"));
    let mut large = request("GET", "/ping");
    let filler = "x".repeat(17_000);
    large.push(("x-filler", &filler));
    let mut reserved = get(1);
    reserved[5] |= 0x80;
    let mut reserved_ping = frame(PING, 0, 0, &[1; 8]);
    reserved_ping[5] |= 0x80;
    cases::run(
        proxy.address(),
        &[
            case("unknown frame type", [frame(0x16, 0, 0, &[0; 8]), get(1)], Status(1, 200)),
            case("unknown frame type on a stream", [half_closed(1), frame(0xff, 0xff, 1, &[9; 99])], Fine),
            case("unknown frame type on an idle stream", [frame(0xfa, 0, 77, &[])], Fine),
            case("undefined flags", [frame(PING, 0x16, 0, &[0; 8]), get(1)], Status(1, 200)),
            case("undefined flags on HEADERS", [frame(HEADERS, 0xd5 & !PRIORITIZED, 1, &fields)], Status(1, 200)),
            case("reserved bit of a stream", [reserved], Status(1, 200)),
            case("reserved bit of stream 0", [reserved_ping, get(1)], Status(1, 200)),
            case(
                "DATA of exactly the largest size",
                [headers(END_HEADERS, 1, &request("POST", "/echo")), frame(DATA, END_STREAM, 1, &[7; 16384])],
                Status(1, 200),
            ),
            case("DATA too large", [open(1), frame(DATA, END_STREAM, 1, &[7; 16385])], Stream(1, &[FRAME_SIZE_ERROR])),
            case("HEADERS too large", [frame(HEADERS, 5, 1, &block(&large))], Connection(&[FRAME_SIZE_ERROR])),
            case("SETTINGS too large", [frame(SETTINGS, 0, 0, &[0; 16386])], Connection(&[FRAME_SIZE_ERROR])),
            case("an unknown frame too large", [frame(0x20, 0, 0, &[0; 20000])], Connection(&[FRAME_SIZE_ERROR])),
            case(
                "PRIORITY inside a header block",
                [frame(HEADERS, END_STREAM, 1, &fields), priority(1, 0)],
                Connection(&[PROTOCOL_ERROR]),
            ),
            case(
                "HEADERS of another stream inside a header block",
                [frame(HEADERS, END_STREAM, 1, &fields), get(3)],
                Connection(&[PROTOCOL_ERROR]),
            ),
            case(
                "unknown frame inside a header block",
                [frame(HEADERS, END_STREAM, 1, &fields), frame(0x16, 0, 0, &[0; 8])],
                Connection(&[PROTOCOL_ERROR]),
            ),
            case(
                "PING inside a header block",
                [frame(HEADERS, END_STREAM, 1, &fields), frame(PING, 0, 0, &[0; 8])],
                Connection(&[PROTOCOL_ERROR]),
            ),
        ],
    );
}

#[test]
fn section_6_1_data() {
    let proxy = Proxy::start();
    let post = || headers(END_HEADERS, 1, &request("POST", "/echo"));
    cases::run(
        proxy.address(),
        &[
            case("DATA", [post(), frame(DATA, END_STREAM, 1, b"test")], Status(1, 200)),
            case("several DATA", [post(), frame(DATA, 0, 1, b"te"), frame(DATA, END_STREAM, 1, b"st")], Status(1, 200)),
            case("padded DATA", [post(), frame(DATA, END_STREAM | PADDED, 1, b"\x06test\0\0\0\0\0\0")], Status(1, 200)),
            case("empty DATA ends", [post(), frame(DATA, END_STREAM, 1, b"")], Status(1, 200)),
            case("DATA of padding only", [post(), frame(DATA, END_STREAM | PADDED, 1, b"\x02\0\0")], Status(1, 200)),
            case("DATA on stream 0", [frame(DATA, END_STREAM, 0, b"test")], Connection(&[PROTOCOL_ERROR])),
            case(
                "padding as long as the frame",
                [open(1), frame(DATA, PADDED, 1, b"\x05test")],
                Connection(&[PROTOCOL_ERROR]),
            ),
            case(
                "padding longer than the frame",
                [open(1), frame(DATA, PADDED, 1, b"\xfftest")],
                Connection(&[PROTOCOL_ERROR]),
            ),
            case(
                "padded without a length",
                [open(1), frame(DATA, PADDED, 1, b"")],
                Connection(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]),
            ),
        ],
    );
}

#[test]
fn section_6_2_headers() {
    let proxy = Proxy::start();
    let fields = block(&request("GET", "/ping"));
    let padded = |length: u8, zeros: usize| [&[length][..], &fields, &vec![0; zeros]].concat();
    let prioritized = |dependency: u32| [&dependency.to_be_bytes()[..], &[255], &fields].concat();
    let both = [&[2][..], &3_u32.to_be_bytes(), &[7], &fields, &[0, 0]].concat();
    cases::run(
        proxy.address(),
        &[
            case("HEADERS", [get(1)], Status(1, 200)),
            case("padded HEADERS", [frame(HEADERS, 5 | PADDED, 1, &padded(5, 5))], Status(1, 200)),
            case("HEADERS with priority", [frame(HEADERS, 5 | PRIORITIZED, 1, &prioritized(0))], Status(1, 200)),
            case("padded HEADERS with priority", [frame(HEADERS, 5 | PADDED | PRIORITIZED, 1, &both)], Status(1, 200)),
            case("HEADERS on stream 0", [frame(HEADERS, 5, 0, &fields)], Connection(&[PROTOCOL_ERROR])),
            case("padding too long", [frame(HEADERS, 5 | PADDED, 1, &padded(255, 0))], Connection(&[PROTOCOL_ERROR])),
            case(
                "priority cut short",
                [frame(HEADERS, 5 | PRIORITIZED, 1, &[0, 0, 0])],
                Connection(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]),
            ),
            case(
                "HEADERS that depends on itself",
                [frame(HEADERS, 5 | PRIORITIZED, 1, &prioritized(1))],
                Stream(1, &[PROTOCOL_ERROR]),
            ),
        ],
    );
}

#[test]
fn sections_6_3_to_6_6_priority_reset_settings_push() {
    let proxy = Proxy::start();
    cases::run(
        proxy.address(),
        &[
            case("PRIORITY", [priority(1, 0), get(1)], Status(1, 200)),
            case("PRIORITY on stream 0", [priority(0, 0)], Connection(&[PROTOCOL_ERROR])),
            case(
                "PRIORITY too short",
                [half_closed(1), frame(PRIORITY, 0, 1, &[0; 4])],
                Stream(1, &[FRAME_SIZE_ERROR]),
            ),
            case("PRIORITY too long", [half_closed(1), frame(PRIORITY, 0, 1, &[0; 6])], Stream(1, &[FRAME_SIZE_ERROR])),
            case("PRIORITY on itself", [half_closed(1), priority(1, 1)], Stream(1, &[PROTOCOL_ERROR])),
            case("RST_STREAM", [half_closed(1), rst_stream(1, 8), get(3)], Status(3, 200)),
            case("RST_STREAM with an unknown code", [half_closed(1), rst_stream(1, 0xff), get(3)], Status(3, 200)),
            case("RST_STREAM on stream 0", [rst_stream(0, 8)], Connection(&[PROTOCOL_ERROR])),
            case("RST_STREAM on an idle stream", [rst_stream(1, 8)], Connection(&[PROTOCOL_ERROR])),
            case(
                "RST_STREAM too short",
                [half_closed(1), frame(RST_STREAM, 0, 1, &[0; 3])],
                Connection(&[FRAME_SIZE_ERROR]),
            ),
            case(
                "RST_STREAM too long",
                [half_closed(1), frame(RST_STREAM, 0, 1, &[0; 5])],
                Connection(&[FRAME_SIZE_ERROR]),
            ),
            case(
                "PUSH_PROMISE",
                [half_closed(1), frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])],
                Connection(&[PROTOCOL_ERROR]),
            ),
            case("SETTINGS: ACK with payload", [frame(SETTINGS, ACK, 0, &[0; 6])], Connection(&[FRAME_SIZE_ERROR])),
            case("SETTINGS on a stream", [frame(SETTINGS, 0, 1, &[])], Connection(&[PROTOCOL_ERROR])),
            case("SETTINGS: a length of 3", [frame(SETTINGS, 0, 0, &[0, 1, 0])], Connection(&[FRAME_SIZE_ERROR])),
            case("SETTINGS: a length of 7", [frame(SETTINGS, 0, 0, &[0; 7])], Connection(&[FRAME_SIZE_ERROR])),
            case("SETTINGS: ENABLE_PUSH 2", [settings(&[(2, 2)])], Connection(&[PROTOCOL_ERROR])),
            case("SETTINGS: ENABLE_PUSH 0", [settings(&[(2, 0)]), get(1)], Status(1, 200)),
            case(
                "SETTINGS: window of 2^31",
                [settings(&[(4, 1 << 31)])],
                Connection(&[FLOW_CONTROL_ERROR, PROTOCOL_ERROR]),
            ),
            case("SETTINGS: window of 2^31-1", [settings(&[(4, (1 << 31) - 1)]), get(1)], Status(1, 200)),
            case("SETTINGS: frames of 2^14-1", [settings(&[(5, 16383)])], Connection(&[PROTOCOL_ERROR])),
            case("SETTINGS: frames of 2^24", [settings(&[(5, 1 << 24)])], Connection(&[PROTOCOL_ERROR])),
            case("SETTINGS: frames of 2^24-1", [settings(&[(5, (1 << 24) - 1)]), get(1)], Status(1, 200)),
            case("SETTINGS: unknown parameter", [settings(&[(0xff, 9), (0, 1)]), get(1)], Status(1, 200)),
            case("SETTINGS: no table", [settings(&[(1, 0)]), get(1)], Status(1, 200)),
            case("SETTINGS: a huge table", [settings(&[(1, u32::MAX)]), get(1)], Status(1, 200)),
            case("SETTINGS: no streams of ours", [settings(&[(3, 0)]), get(1)], Status(1, 200)),
            case("SETTINGS: small header lists", [settings(&[(6, 1)]), get(1)], Status(1, 200)),
        ],
    );
    let mut wire = Wire::ready(proxy.address());
    wire.send(&settings(&[(4, 100), (4, 200)]));
    let acknowledged = wire.until(|frame| frame.kind == SETTINGS).unwrap();
    assert_eq!((acknowledged.flags, acknowledged.payload.len()), (ACK, 0));
}

#[test]
fn sections_6_7_to_6_9_ping_goaway_window_update() {
    let proxy = Proxy::start();
    let most = (1 << 31) - 1;
    let goaway = |stream, code: u32| frame(GOAWAY, 0, stream, &[0_u32.to_be_bytes(), code.to_be_bytes()].concat());
    cases::run(
        proxy.address(),
        &[
            case("PING on a stream", [frame(PING, 0, 1, &[0; 8])], Connection(&[PROTOCOL_ERROR])),
            case("PING too short", [frame(PING, 0, 0, &[0; 6])], Connection(&[FRAME_SIZE_ERROR])),
            case("PING too long", [frame(PING, 0, 0, &[0; 9])], Connection(&[FRAME_SIZE_ERROR])),
            case("PING answered without a question", [frame(PING, ACK, 0, b"invalid!")], Fine),
            case("GOAWAY on a stream", [goaway(1, 0)], Connection(&[PROTOCOL_ERROR])),
            case("GOAWAY too short", [frame(GOAWAY, 0, 0, &[0; 7])], Connection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR])),
            case("GOAWAY of an idle connection", [goaway(0, 0)], Connection(&[0])),
            case("GOAWAY with an unknown code", [goaway(0, 0xff)], Connection(&[0])),
            case("WINDOW_UPDATE", [window_update(0, 1), half_closed(1), window_update(1, 1)], Fine),
            case("WINDOW_UPDATE of 0", [window_update(0, 0)], Connection(&[PROTOCOL_ERROR])),
            case("WINDOW_UPDATE of 0 on a stream", [half_closed(1), window_update(1, 0)], Stream(1, &[PROTOCOL_ERROR])),
            case("WINDOW_UPDATE too short", [frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])], Connection(&[FRAME_SIZE_ERROR])),
            case(
                "WINDOW_UPDATE too long",
                [frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1, 0])],
                Connection(&[FRAME_SIZE_ERROR]),
            ),
            case(
                "WINDOW_UPDATE past 2^31-1",
                [window_update(0, most), window_update(0, most)],
                Connection(&[FLOW_CONTROL_ERROR]),
            ),
            case(
                "WINDOW_UPDATE past 2^31-1 on a stream",
                [half_closed(1), window_update(1, most), window_update(1, most)],
                Stream(1, &[FLOW_CONTROL_ERROR]),
            ),
            case(
                "SETTINGS takes the window of a stream past 2^31-1",
                [half_closed(1), window_update(1, most - 65535), settings(&[(4, 65536)])],
                Connection(&[FLOW_CONTROL_ERROR]),
            ),
            case("reserved bit of WINDOW_UPDATE", [window_update(0, 1 << 31 | 1), get(1)], Status(1, 200)),
        ],
    );
    let mut wire = Wire::ready(proxy.address());
    wire.send(&frame(PING, 0, 0, b"12345678"));
    let answer = wire.until(|frame| frame.kind == PING).unwrap();
    assert_eq!((answer.flags, answer.payload.as_slice()), (ACK, &b"12345678"[..]));
    wire.send(&[half_closed(1), goaway(0, 0)].concat());
    wire.send(&rst_stream(1, 8));
    judge(&mut wire, Connection(&[0])).unwrap();
}

#[test]
fn section_6_10_continuation() {
    let proxy = Proxy::start();
    let fields = block(&request("GET", "/ping"));
    let (first, rest) = fields.split_at(9);
    let (second, third) = rest.split_at(7);
    let start = || frame(HEADERS, END_STREAM, 1, first);
    let wrong = &[PROTOCOL_ERROR];
    cases::run(
        proxy.address(),
        &[
            case("CONTINUATION", [start(), frame(CONTINUATION, END_HEADERS, 1, rest)], Status(1, 200)),
            case(
                "several CONTINUATION",
                [start(), frame(CONTINUATION, 0, 1, second), frame(CONTINUATION, END_HEADERS, 1, third)],
                Status(1, 200),
            ),
            case(
                "an empty CONTINUATION",
                [frame(HEADERS, 1, 1, &fields), frame(CONTINUATION, 4, 1, &[])],
                Status(1, 200),
            ),
            case(
                "an empty HEADERS first",
                [frame(HEADERS, 1, 1, &[]), frame(CONTINUATION, 4, 1, &fields)],
                Status(1, 200),
            ),
            case(
                "DATA between",
                [start(), frame(CONTINUATION, 0, 1, second), frame(DATA, 1, 1, b"test")],
                Connection(wrong),
            ),
            case("SETTINGS between", [start(), settings(&[])], Connection(wrong)),
            case("CONTINUATION on stream 0", [start(), frame(CONTINUATION, 4, 0, rest)], Connection(wrong)),
            case("CONTINUATION of another stream", [start(), frame(CONTINUATION, 4, 3, rest)], Connection(wrong)),
            case("CONTINUATION first", [frame(CONTINUATION, 4, 1, &fields)], Connection(wrong)),
            case(
                "CONTINUATION after END_HEADERS",
                [half_closed(1), frame(CONTINUATION, 4, 1, rest)],
                Connection(&[PROTOCOL_ERROR, STREAM_CLOSED]),
            ),
            case(
                "CONTINUATION after a CONTINUATION with END_HEADERS",
                [start(), frame(CONTINUATION, 4, 1, rest), frame(CONTINUATION, 4, 1, rest)],
                Connection(&[PROTOCOL_ERROR, STREAM_CLOSED]),
            ),
            case(
                "CONTINUATION after DATA",
                [open(1), frame(DATA, 0, 1, b"test"), frame(CONTINUATION, 4, 1, rest)],
                Connection(wrong),
            ),
        ],
    );
}
