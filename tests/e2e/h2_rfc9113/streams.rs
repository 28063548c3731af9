//! Section 5: the states of a stream, and its identifier.

use super::{
    Proxy,
    cases::{
        self,
        Expect::{Connection, Fine, Status, Stream},
        case, judge,
    },
    get, half_closed, open,
    wire::{
        CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM,
        STREAM_CLOSED, Wire, block, frame, headers, priority, request, rst_stream, window_update,
    },
};

/// `h2` tells some of them by PROTOCOL_ERROR, which says less and ends the connection.
const CLOSED: &[u32] = &[STREAM_CLOSED, PROTOCOL_ERROR];

#[test]
fn section_5_1_idle() {
    let proxy = Proxy::start();
    let wrong = Connection(&[PROTOCOL_ERROR]);
    cases::run(
        proxy.address(),
        &[
            case("DATA", [frame(DATA, END_STREAM, 1, b"test")], wrong),
            case("RST_STREAM", [rst_stream(1, CANCEL)], wrong),
            case("WINDOW_UPDATE", [window_update(1, 100)], wrong),
            case("CONTINUATION", [frame(CONTINUATION, END_HEADERS, 1, &block(&request("GET", "/ping")))], wrong),
            case("PRIORITY", [priority(9, 0), get(1)], Status(1, 200)),
            case("DATA on a stream that is ours to open", [frame(DATA, END_STREAM, 2, b"test")], wrong),
            case("RST_STREAM on a stream that is ours to open", [rst_stream(2, CANCEL)], wrong),
            case("WINDOW_UPDATE on a stream that is ours to open", [window_update(2, 100)], wrong),
        ],
    );
}

#[test]
fn section_5_1_half_closed_by_the_client() {
    let proxy = Proxy::start();
    cases::run(
        proxy.address(),
        &[
            case("DATA", [half_closed(1), frame(DATA, END_STREAM, 1, b"test")], Stream(1, CLOSED)),
            case("HEADERS", [half_closed(1), half_closed(1)], Stream(1, CLOSED)),
            case(
                "CONTINUATION",
                [half_closed(1), frame(CONTINUATION, END_HEADERS, 1, &[])],
                Connection(&[PROTOCOL_ERROR, STREAM_CLOSED]),
            ),
            case("WINDOW_UPDATE", [half_closed(1), window_update(1, 100)], Fine),
            case("PRIORITY", [half_closed(1), priority(1, 0)], Fine),
            case("RST_STREAM", [half_closed(1), rst_stream(1, CANCEL)], Fine),
        ],
    );
}

#[test]
fn section_5_1_closed_by_the_clients_reset() {
    let proxy = Proxy::start();
    let reset = || [open(1), rst_stream(1, CANCEL)].concat();
    cases::run(
        proxy.address(),
        &[
            case("DATA", [reset(), frame(DATA, END_STREAM, 1, b"test")], Stream(1, CLOSED)),
            case("HEADERS", [reset(), half_closed(1)], Stream(1, CLOSED)),
            case(
                "CONTINUATION",
                [reset(), frame(CONTINUATION, END_HEADERS, 1, &[])],
                Connection(&[PROTOCOL_ERROR, STREAM_CLOSED]),
            ),
            case("WINDOW_UPDATE", [reset(), window_update(1, 9)], Fine),
            case("PRIORITY", [reset(), priority(1, 0)], Fine),
            case("RST_STREAM", [reset(), rst_stream(1, CANCEL)], Fine),
        ],
    );
}

#[test]
fn section_5_1_closed_by_both() {
    let proxy = Proxy::start();
    cases::run(
        proxy.address(),
        &[
            case("DATA", [frame(DATA, END_STREAM, 1, b"test")], Stream(1, CLOSED)).after([get(1)]),
            case("HEADERS", [get(1)], Stream(1, CLOSED)).after([get(1)]),
            case(
                "CONTINUATION",
                [frame(CONTINUATION, END_HEADERS, 1, &[])],
                Connection(&[PROTOCOL_ERROR, STREAM_CLOSED]),
            )
            .after([get(1)]),
            case("WINDOW_UPDATE", [window_update(1, 9), get(3)], Status(3, 200)).after([get(1)]),
            case("PRIORITY", [priority(1, 0), get(3)], Status(3, 200)).after([get(1)]),
            case("RST_STREAM", [rst_stream(1, CANCEL), get(3)], Status(3, 200)).after([get(1)]),
        ],
    );
}

#[test]
fn section_5_1_1_identifiers() {
    let proxy = Proxy::start();
    cases::run(
        proxy.address(),
        &[
            case("an even one", [get(2)], Connection(&[PROTOCOL_ERROR])),
            case("a smaller one", [half_closed(5), half_closed(3)], Connection(&[PROTOCOL_ERROR, STREAM_CLOSED])),
            case("gaps", [half_closed(5), get(101)], Status(101, 200)),
            case("the largest", [get(0x7fff_ffff)], Status(0x7fff_ffff, 200)),
        ],
    );
}

#[test]
fn section_5_1_2_concurrency() {
    let proxy = Proxy::with_limits("h2-streams = 4");
    let mut wire = Wire::ready(proxy.address());
    for stream in [1, 3, 5, 7, 9] {
        wire.send(&half_closed(stream));
    }
    let refused = wire.until(|frame| frame.kind == RST_STREAM).unwrap();
    assert_eq!((refused.stream, refused.code()), (9, REFUSED_STREAM));
    wire.send(&[rst_stream(1, CANCEL), get(11)].concat());
    judge(&mut wire, Status(11, 200)).unwrap();
}

#[test]
fn section_5_1_interleaved_streams_are_answered_each() {
    let proxy = Proxy::start();
    let mut wire = Wire::ready(proxy.address());
    let post = |stream| headers(END_HEADERS, stream, &request("POST", "/echo"));
    wire.send(&[post(1), post(3), frame(DATA, 0, 3, b"b1"), frame(DATA, 0, 1, b"a1")].concat());
    wire.send(&[frame(DATA, END_STREAM, 1, b"a2"), get(5), frame(DATA, END_STREAM, 3, b"b2")].concat());
    let (mut bodies, mut ended) = ([Vec::new(), Vec::new(), Vec::new()], 0);
    while ended < 3 {
        let frame = wire.until(|frame| frame.stream > 0).unwrap();
        if frame.kind == DATA {
            bodies[frame.stream as usize / 2].extend_from_slice(&frame.payload);
        }
        ended += usize::from(frame.ends_stream());
    }
    assert_eq!(bodies, [b"a1a2".to_vec(), b"b1b2".to_vec(), b"pong".to_vec()]);
}

/// Section 6.8: a connection that is to end asks by PING which streams are still to come. A client that never answers
/// begins no more of them after a while.
#[test]
fn section_6_8_ping_unanswered() {
    let proxy = Proxy::with_limits("idle-timeout = \"1s\"");
    let mut wire = Wire::ready(proxy.address());
    wire.send(&get(1));
    wire.until(|frame| frame.kind == GOAWAY).unwrap();
    let refused = (1..2_000_000).find_map(|number| {
        let stream = 2 * number + 1;
        // Each answer takes four octets of the connection's window, and there may be very many.
        wire.send(&[window_update(0, 4), get(stream)].concat());
        let last = |kind| kind == RST_STREAM;
        let frame = wire.until(|frame| frame.stream == stream && (last(frame.kind) || frame.ends_stream())).unwrap();
        last(frame.kind).then(|| frame.code())
    });
    assert_eq!(refused, Some(REFUSED_STREAM));
}
