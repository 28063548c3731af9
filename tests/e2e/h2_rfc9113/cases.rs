//! A case is octets and what must come of them. All cases of a table run, then the failed ones are
//! told together.

use std::{net::SocketAddr, time::Instant};

use super::wire::{self, DEADLINE, Frame, GOAWAY, RST_STREAM, Seen, Wire};

/// What must come of a case, at once.
#[derive(Debug, Clone, Copy)]
pub enum Expect {
    /// The connection ends, by GOAWAY with one of these codes where it comes through.
    Connection(&'static [u32]),
    /// The stream is reset with one of these codes; to end the connection with it is allowed too
    /// (RFC 9113 section 5.4.2).
    Stream(u32, &'static [u32]),
    /// The stream is answered with this status. A response with 400 is how RFC 9113 section 8.1.1
    /// lets a server tell what a malformed request was.
    Status(u32, u16),
    /// The connection goes on as if nothing had happened.
    Fine,
}

/// Octets and what must come of them.
pub struct Case {
    name: &'static str,
    before: Vec<u8>,
    octets: Vec<u8>,
    expect: Expect,
}

/// A case after the preface and SETTINGS.
pub fn case(name: &'static str, octets: impl AsRef<[Vec<u8>]>, expect: Expect) -> Case {
    Case { name, before: Vec::new(), octets: octets.as_ref().concat(), expect }
}

impl Case {
    /// Send this first, and wait until stream 1 was answered to its end.
    pub fn after(self, before: impl AsRef<[Vec<u8>]>) -> Self {
        Self { before: before.as_ref().concat(), ..self }
    }

    fn run(&self, address: SocketAddr) -> Result<(), String> {
        let mut wire = Wire::ready(address);
        if !self.before.is_empty() {
            wire.send(&self.before);
            wire.until(|frame| frame.stream == 1 && frame.ends_stream()).map_err(|seen| format!("before: {seen:?}"))?;
        }
        wire.send(&self.octets);
        judge(&mut wire, self.expect)
    }
}

/// Read until what is expected came, or something that contradicts it.
pub fn judge(wire: &mut Wire, expect: Expect) -> Result<(), String> {
    if let Expect::Fine = expect {
        return wire.settle().map_err(|seen| format!("{seen:?}")).and_then(|seen| {
            match seen.iter().find(|f| f.kind == RST_STREAM) {
                None => Ok(()),
                Some(reset) => Err(format!("{reset:?}")),
            }
        });
    }
    let deadline = Instant::now() + DEADLINE;
    loop {
        match wire.next(deadline) {
            Seen::Nothing => return Err("no answer".to_owned()),
            Seen::Closed => {
                return match expect {
                    Expect::Connection(_) | Expect::Stream(..) => Ok(()),
                    _ => Err("connection closed".to_owned()),
                };
            }
            Seen::Frame(frame) => {
                if let Some(verdict) = verdict(&frame, expect) {
                    verdict?;
                    return if frame.kind == GOAWAY { closed(wire) } else { Ok(()) };
                }
            }
        }
    }
}

/// None for a frame that says nothing about the case.
fn verdict(frame: &Frame, expect: Expect) -> Option<Result<(), String>> {
    let right = match (expect, frame.kind) {
        (Expect::Connection(codes) | Expect::Stream(_, codes), GOAWAY) => codes.contains(&frame.code()),
        (Expect::Stream(stream, codes), RST_STREAM) if frame.stream == stream => codes.contains(&frame.code()),
        (Expect::Stream(stream, _), wire::HEADERS) if frame.stream == stream => false,
        (Expect::Status(stream, status), wire::HEADERS) if frame.stream == stream => frame.status() == Some(status),
        (Expect::Status(stream, _), RST_STREAM) if frame.stream == stream => false,
        (Expect::Status(..), GOAWAY) => false,
        _ => return None,
    };
    Some(if right { Ok(()) } else { Err(format!("{frame:?}, code {}, status {:?}", frame.code(), frame.status())) })
}

fn closed(wire: &mut Wire) -> Result<(), String> {
    match wire.until(|_| false) {
        Err(seen) if seen.last() == Some(&Seen::Closed) => Ok(()),
        seen => Err(format!("open after GOAWAY: {seen:?}")),
    }
}

/// Run every case on a connection of its own. After each, others must still be served.
pub fn run(address: SocketAddr, cases: &[Case]) {
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let begun = Instant::now();
            let result = case.run(address).and_then(|()| serves(address));
            result
                .err()
                .map(|why| format!("{}: expected {:?}, got {why} ({:?})", case.name, case.expect, begun.elapsed()))
        })
        .collect();
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

/// Another client gets its answer.
pub fn serves(address: SocketAddr) -> Result<(), String> {
    let mut wire = Wire::ready(address);
    wire.send(&wire::headers(wire::END_STREAM | wire::END_HEADERS, 1, &wire::request("GET", "/ping")));
    judge(&mut wire, Expect::Status(1, 200)).map_err(|why| format!("others are not served: {why}"))
}
