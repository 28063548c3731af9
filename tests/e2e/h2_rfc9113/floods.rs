//! What costs a client nothing and us something: the connection ends, memory stays flat, others are
//! served.

use std::{
    io::ErrorKind,
    thread,
    time::{Duration, Instant},
};

use super::{
    super::harness::{Bystander, Meter},
    Proxy,
    cases::serves,
    get, open,
    wire::{
        CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING, PROTOCOL_ERROR,
        SETTINGS, Seen, Wire, block, frame, headers, integer, priority, request, rst_stream, settings, window_update,
    },
};

/// Memory a flood may cost us while it lasts.
const ROOM: u64 = 24 << 20;
/// Octets of a flood before it counts as not stopped.
const ENOUGH: usize = 32 << 20;

/// Send `piece` after `piece`, and take what comes, until the connection ends; it must, and by one of
/// these codes where that comes through.
fn ends(what: &'static str, proxy: &Proxy, mut wire: Wire, codes: &[u32], mut piece: impl FnMut() -> Vec<u8>) {
    serves(proxy.address()).unwrap();
    let (meter, others) = (Meter::start(what, &proxy.weir), Bystander::start(proxy.address(), "/ping"));
    let before = proxy.weir.rss();
    let mut sent = 0;
    let code = 'flood: loop {
        assert!(sent < ENOUGH, "{sent} octets of a flood were taken");
        let octets = piece();
        sent += octets.len();
        if let Err(error) = wire.try_send(&octets) {
            assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "the flood stands still");
            break None;
        }
        loop {
            match wire.next(Instant::now() + Duration::from_millis(1)) {
                Seen::Frame(frame) if frame.kind == GOAWAY => break 'flood Some(frame.code()),
                Seen::Closed => break 'flood None,
                Seen::Frame(_) => {}
                Seen::Nothing => break,
            }
        }
    };
    assert!(code.is_none_or(|code| codes.contains(&code)), "{code:?}");
    let after = proxy.weir.rss();
    assert!(after < before + ROOM, "memory grew from {before} to {after}");
    meter.end(&proxy.weir);
    others.end();
    serves(proxy.address()).unwrap();
}

/// Many of the same frames in one write.
fn many(octets: &[u8]) -> Vec<u8> {
    octets.repeat(1 + 16_384 / octets.len())
}

#[test]
fn rapid_reset() {
    let proxy = Proxy::start();
    let mut stream = 1;
    ends("rapid reset", &proxy, Wire::ready(proxy.address()), &[ENHANCE_YOUR_CALM], || {
        let mut octets = Vec::new();
        for _ in 0..100 {
            octets.extend(
                [headers(END_HEADERS | END_STREAM, stream, &request("GET", "/hold")), rst_stream(stream, CANCEL)]
                    .concat(),
            );
            stream += 2;
        }
        octets
    });
}

#[test]
fn resets_that_we_are_made_to_send() {
    let proxy = Proxy::start();
    let mut stream = 1;
    ends(
        "resets that we are made to send",
        &proxy,
        Wire::ready(proxy.address()),
        &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR],
        || {
            let mut octets = Vec::new();
            for _ in 0..100 {
                octets.extend([get(stream), window_update(stream, 0)].concat());
                stream += 2;
            }
            octets
        },
    );
}

#[test]
fn malformed_requests_without_end() {
    let proxy = Proxy::start();
    let mut stream = 1;
    ends(
        "malformed requests without end",
        &proxy,
        Wire::ready(proxy.address()),
        &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR],
        || {
            let mut octets = Vec::new();
            for _ in 0..100 {
                octets.extend(headers(END_HEADERS | END_STREAM, stream, &[(":method", "GET"), ("Bad", "x")]));
                stream += 2;
            }
            octets
        },
    );
}

#[test]
fn continuation() {
    let proxy = Proxy::start();
    let mut wire = Wire::ready(proxy.address());
    wire.send(&frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/ping"))));
    let filler = frame(CONTINUATION, 0, 1, &block(&[("x-filler", &"x".repeat(1000))]));
    ends("continuation", &proxy, wire, &[ENHANCE_YOUR_CALM, 1, 9], || many(&filler));
}

#[test]
fn continuation_of_nothing() {
    let proxy = Proxy::start();
    let mut wire = Wire::ready(proxy.address());
    wire.send(&frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/ping"))));
    ends("continuation of nothing", &proxy, wire, &[ENHANCE_YOUR_CALM, 1, 9], || many(&frame(CONTINUATION, 0, 1, &[])));
}

#[test]
fn ping() {
    let proxy = Proxy::start();
    ends("ping", &proxy, Wire::ready(proxy.address()), &[ENHANCE_YOUR_CALM], || many(&frame(PING, 0, 0, &[0; 8])));
}

#[test]
fn empty_settings() {
    let proxy = Proxy::start();
    ends("empty settings", &proxy, Wire::ready(proxy.address()), &[ENHANCE_YOUR_CALM], || {
        many(&frame(SETTINGS, 0, 0, &[]))
    });
}

#[test]
fn settings_that_change_all_the_time() {
    let proxy = Proxy::start();
    let pair = [settings(&[(1, 0), (4, 1)]), settings(&[(1, 4096), (4, 65_535)])].concat();
    ends("settings that change all the time", &proxy, Wire::ready(proxy.address()), &[ENHANCE_YOUR_CALM], || {
        many(&pair)
    });
}

#[test]
fn empty_data() {
    let proxy = Proxy::start();
    let mut wire = Wire::ready(proxy.address());
    wire.send(&open(1));
    ends("empty data", &proxy, wire, &[ENHANCE_YOUR_CALM], || many(&frame(DATA, 0, 1, &[])));
}

#[test]
fn data_of_padding() {
    let proxy = Proxy::start();
    let mut wire = Wire::ready(proxy.address());
    wire.send(&open(1));
    ends("data of padding", &proxy, wire, &[ENHANCE_YOUR_CALM], || many(&frame(DATA, 8, 1, b"\x00")));
}

#[test]
fn priority_frames() {
    let proxy = Proxy::start();
    ends("priority frames", &proxy, Wire::ready(proxy.address()), &[ENHANCE_YOUR_CALM], || many(&priority(1, 0)));
}

#[test]
fn window_updates_of_one_octet() {
    let proxy = Proxy::start();
    ends("window updates of one octet", &proxy, Wire::ready(proxy.address()), &[ENHANCE_YOUR_CALM, 3], || {
        many(&window_update(0, 1))
    });
}

#[test]
fn unknown_frames() {
    let proxy = Proxy::start();
    ends("unknown frames", &proxy, Wire::ready(proxy.address()), &[ENHANCE_YOUR_CALM], || {
        many(&frame(0x42, 0, 0, &[]))
    });
}

/// One large entry of the dynamic table, named again and again by one octet each.
#[test]
fn hpack_bomb() {
    let proxy = Proxy::start();
    let (meter, others) = (Meter::start("hpack bomb", &proxy.weir), Bystander::start(proxy.address(), "/ping"));
    let before = proxy.weir.rss();
    let mut wire = Wire::ready(proxy.address());
    let mut fields = block(&request("GET", "/ping"));
    fields.extend(b"\x40\x01x");
    integer(&mut fields, 0, 7, 4000);
    fields.extend(vec![b'x'; 4000]);
    fields.extend(vec![0xbe; 10_000]);
    for stream in (1..200).step_by(2) {
        if !wire.send(&frame(HEADERS, 5, stream, &fields)) {
            break;
        }
    }
    let seen = wire.until(|frame| frame.kind == HEADERS && frame.status() == Some(200));
    assert!(seen.is_err(), "a bomb was taken for a request");
    meter.end(&proxy.weir);
    others.end();
    let after = proxy.weir.rss();
    assert!(after < before + ROOM, "memory grew from {before} to {after}");
    serves(proxy.address()).unwrap();
}

/// Clients that come again as soon as they are cut, several at once.
#[test]
fn rapid_reset_on_connection_after_connection() {
    let proxy = Proxy::start();
    let address = proxy.address();
    let pair = |stream| {
        [headers(END_HEADERS | END_STREAM, stream, &request("GET", "/hold")), rst_stream(stream, CANCEL)].concat()
    };
    let resets: Vec<u8> = (0..500).flat_map(|number| pair(number * 2 + 1)).collect();
    let (meter, others) = (Meter::start("rapid reset, 80 times", &proxy.weir), Bystander::start(address, "/ping"));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let mut wire = Wire::ready(address);
                    wire.send(&resets);
                    let seen = wire.until(|_| false).unwrap_err();
                    assert_eq!(seen.last(), Some(&Seen::Closed), "the connection goes on");
                }
            });
        }
    });
    meter.end(&proxy.weir);
    others.end();
}

/// A client that uses a connection much and well is not taken for a flood.
#[test]
fn a_busy_client_is_no_flood() {
    let proxy = Proxy::start();
    let mut wire = Wire::ready(proxy.address());
    for round in 0..2000_u32 {
        let stream = round * 2 + 1;
        wire.send(&[get(stream), window_update(0, 4), frame(PING, 0, 0, &[0; 8])].concat());
        let end = wire.until(|frame| frame.stream == stream && frame.ends_stream());
        end.unwrap_or_else(|seen| panic!("round {round}: {seen:?}"));
    }
}
