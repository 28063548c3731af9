//! Sections 5.2 and 6.9: we send no octet that the client gave no room for, and give room ourselves
//! only as the endpoint takes what came.

use super::{
    LARGE, Proxy,
    cases::serves,
    open,
    wire::{
        DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, GOAWAY, HEADERS, RST_STREAM, SETTINGS, Seen, WINDOW_UPDATE,
        Wire, frame, headers, request, settings, window_update,
    },
};

const GET: u8 = END_HEADERS | END_STREAM;

/// DATA octets of stream 1 in these frames.
fn octets(frames: &[super::wire::Frame]) -> usize {
    frames.iter().filter(|f| f.kind == DATA && f.stream == 1).map(|f| f.payload.len()).sum()
}

/// Read until so much has come on stream 1.
fn data(wire: &mut Wire, mut left: usize) {
    while left > 0 {
        let frame = wire.until(|frame| frame.kind == DATA && frame.stream == 1).unwrap();
        left = left.checked_sub(frame.payload.len()).expect("more than the window");
    }
}

#[test]
fn a_window_of_one_octet_is_respected() {
    let proxy = Proxy::start();
    let mut wire = Wire::with(proxy.address(), &[(4, 1)]);
    wire.send(&headers(GET, 1, &request("GET", "/ping")));
    wire.until(|frame| frame.kind == HEADERS).unwrap();
    for octet in [b"p", b"o", b"n"] {
        let frame = wire.until(|frame| frame.kind == DATA).unwrap();
        assert_eq!((frame.payload.as_slice(), frame.ends_stream()), (&octet[..], false));
        assert_eq!(octets(&wire.settle().unwrap()), 0);
        wire.send(&window_update(1, 1));
    }
    let last = wire.until(|frame| frame.kind == DATA).unwrap();
    assert_eq!((last.payload.as_slice(), last.ends_stream()), (&b"g"[..], true));
}

#[test]
fn a_window_that_grows_by_settings_is_used() {
    let proxy = Proxy::start();
    let mut wire = Wire::with(proxy.address(), &[(4, 0)]);
    wire.send(&headers(GET, 1, &request("GET", "/ping")));
    wire.until(|frame| frame.kind == HEADERS).unwrap();
    assert_eq!(octets(&wire.settle().unwrap()), 0);
    wire.send(&settings(&[(4, 1)]));
    data(&mut wire, 1);
    assert_eq!(octets(&wire.settle().unwrap()), 0);
}

#[test]
fn a_negative_window_is_remembered() {
    let proxy = Proxy::start();
    let mut wire = Wire::with(proxy.address(), &[(4, 3)]);
    wire.send(&headers(GET, 1, &request("GET", "/large")));
    data(&mut wire, 3);
    // The window is 2 - 3 = -1 now: an increment of one leaves it at nothing.
    wire.send(&[settings(&[(4, 2)]), window_update(1, 1)].concat());
    wire.until(|frame| frame.kind == SETTINGS).unwrap();
    assert_eq!(octets(&wire.settle().unwrap()), 0);
    wire.send(&window_update(1, 1));
    data(&mut wire, 1);
    assert_eq!(octets(&wire.settle().unwrap()), 0);
}

#[test]
fn the_window_of_the_connection_is_respected() {
    let proxy = Proxy::start();
    let mut wire = Wire::with(proxy.address(), &[(4, 1 << 20)]);
    wire.send(&headers(GET, 1, &request("GET", "/large")));
    data(&mut wire, 65_535);
    assert_eq!(octets(&wire.settle().unwrap()), 0);
    wire.send(&window_update(0, 1000));
    data(&mut wire, 1000);
    assert_eq!(octets(&wire.settle().unwrap()), 0);
    wire.send(&window_update(0, 1 << 20));
    data(&mut wire, LARGE - 66_535);
}

#[test]
fn frames_are_no_larger_than_the_client_takes() {
    let proxy = Proxy::start();
    let mut wire = Wire::with(proxy.address(), &[(4, 1 << 20), (5, 16_384)]);
    wire.send(&[window_update(0, 1 << 20), headers(GET, 1, &request("GET", "/large"))].concat());
    let mut left = LARGE;
    while left > 0 {
        let frame = wire.until(|frame| frame.kind == DATA).unwrap();
        assert!(frame.payload.len() <= 16_384);
        left -= frame.payload.len();
    }
}

#[test]
fn more_than_our_window_is_refused() {
    let proxy = Proxy::start();
    let mut wire = Wire::ready(proxy.address());
    // `/hold` takes the body and never answers; a body that stays in our window is no reason to stop.
    wire.send(&open(1));
    let deadline = std::time::Instant::now() + super::wire::DEADLINE;
    let many = vec![frame(DATA, 0, 1, &[7; 16_384]); 8].concat();
    // Without reading WINDOW_UPDATEs: the endpoint takes what we send, so we get room again and
    // again, and nothing may go wrong.
    for _ in 0..8 {
        assert!(wire.send(&many));
        let room = wire.until(|frame| frame.kind == WINDOW_UPDATE && frame.stream == 1);
        room.unwrap_or_else(|seen| panic!("no room was given: {seen:?}"));
        assert!(std::time::Instant::now() < deadline);
    }
    serves(proxy.address()).unwrap();
}

#[test]
fn a_client_past_our_window_is_stopped() {
    let (proxy, _deaf) = Proxy::stalled();
    let mut wire = Wire::ready(proxy.address());
    wire.send(&open(1));
    let piece = vec![frame(DATA, 0, 1, &[7; 16_384]); 64].concat();
    for _ in 0..32 {
        if !wire.send(&piece) {
            break;
        }
    }
    let stopped = wire.until(|frame| matches!(frame.kind, RST_STREAM | GOAWAY));
    match stopped {
        Ok(frame) => assert_eq!(frame.code(), FLOW_CONTROL_ERROR, "{frame:?}"),
        Err(seen) => assert_eq!(seen.last(), Some(&Seen::Closed), "{seen:?}"),
    }
    serves(proxy.address()).unwrap();
}

/// Between two openings of a window by a client that is slow on purpose.
const PACE: std::time::Duration = std::time::Duration::from_millis(50);

#[test]
fn a_window_that_opens_little_by_little_counts_as_reading() {
    let proxy = Proxy::with_limits(r#"body-timeout = "1s""#);
    let mut wire = Wire::with(proxy.address(), &[(4, 0)]);
    wire.send(&headers(GET, 1, &request("GET", "/large")));
    wire.until(|frame| frame.kind == HEADERS).unwrap();
    for _ in 0..50 {
        std::thread::sleep(PACE);
        wire.send(&window_update(1, 100));
        data(&mut wire, 100);
    }
    wire.send(&[window_update(0, 1 << 20), window_update(1, 1 << 20)].concat());
    data(&mut wire, LARGE - 5000);
}
