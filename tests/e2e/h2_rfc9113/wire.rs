//! HTTP/2 frame by frame: a client that sends whatever octets a test wants and reads frames with a
//! deadline. It checks nothing and corrects nothing.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// How long an answer may take before the test fails.
pub const DEADLINE: Duration = Duration::from_secs(5);
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITIZED: u8 = 32;

/// Error codes (RFC 9113 section 7).
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// One frame as octets. The length is that of the payload.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut octets = vec![length[1], length[2], length[3], kind, flags];
    octets.extend_from_slice(&stream.to_be_bytes());
    octets.extend_from_slice(payload);
    octets
}

/// A SETTINGS frame with these parameters.
pub fn settings(parameters: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (name, value) in parameters {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

pub fn headers(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags, stream, &block(fields))
}

pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub fn rst_stream(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub fn priority(stream: u32, dependency: u32) -> Vec<u8> {
    let mut payload = dependency.to_be_bytes().to_vec();
    payload.push(15);
    frame(PRIORITY, 0, stream, &payload)
}

/// A header block of literals without indexing, without Huffman coding (RFC 7541 section 6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        string(&mut out, name.as_bytes());
        string(&mut out, value.as_bytes());
    }
    out
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// An integer with a prefix of so many bits (RFC 7541 section 5.1).
pub fn integer(out: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
    let most = (1_usize << bits) - 1;
    if value < most {
        return out.push(pattern | u8::try_from(value).unwrap());
    }
    out.push(pattern | u8::try_from(most).unwrap());
    let mut left = value - most;
    while left >= 128 {
        out.push(u8::try_from(left % 128).unwrap() | 128);
        left /= 128;
    }
    out.push(u8::try_from(left).unwrap());
}

/// The fields of an ordinary request.
pub fn request<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(":method", method), (":scheme", "http"), (":path", path), (":authority", "example.com")]
}

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// The error code of RST_STREAM or GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        self.payload.get(at..at + 4).map_or(u32::MAX, |code| u32::from_be_bytes(code.try_into().unwrap()))
    }

    /// The status of a response head: its first field, as long as no table entry stands for it.
    pub fn status(&self) -> Option<u16> {
        // Behind what is said of the table's size.
        let block = self.payload.get(self.payload.iter().take_while(|octet| **octet == 0x20).count()..)?;
        match *block.first()? {
            indexed @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500].get(usize::from(indexed - 0x88)).copied(),
            literal if matches!(literal & 0x3f, 8..=14) => match block.get(1..)? {
                [0x03, a, b, c, ..] => std::str::from_utf8(&[*a, *b, *c]).ok()?.parse().ok(),
                [length @ 0x82..=0x83, rest @ ..] => huffman_digits(rest.get(..usize::from(length & 0x7f))?),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Three digits in the code of RFC 7541 appendix B: 0 to 2 in five bits, the others in six.
fn huffman_digits(octets: &[u8]) -> Option<u16> {
    let bits: Vec<u16> =
        octets.iter().flat_map(|octet| (0..8).rev().map(move |at| u16::from(octet >> at & 1))).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let five = bits.get(at..at + 5)?.iter().fold(0, |value, bit| value * 2 + bit);
        let (digit, used) = match five {
            0..=2 => (five, 5),
            _ => (five * 2 + bits.get(at + 5)? - 0x16, 6),
        };
        (number, at) = (number * 10 + digit, at + used);
    }
    Some(number)
}

/// What reading gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Frame(Frame),
    Closed,
    Nothing,
}

/// A connection of which every octet is ours.
pub struct Wire {
    io: TcpStream,
    input: Vec<u8>,
}

impl Wire {
    /// A TCP connection on which nothing was said.
    pub fn open(address: SocketAddr) -> Self {
        let io = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
        io.set_nodelay(true).unwrap();
        io.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { io, input: Vec::new() }
    }

    /// After the preface and the exchange of SETTINGS with these parameters of ours.
    pub fn with(address: SocketAddr, parameters: &[(u16, u32)]) -> Self {
        let mut wire = Self::open(address);
        wire.send(&[PREFACE, &settings(parameters), &frame(SETTINGS, ACK, 0, &[])].concat());
        let acknowledged = wire.until(|frame| frame.kind == SETTINGS && frame.flags & ACK != 0);
        acknowledged.unwrap_or_else(|seen| panic!("no acknowledgement of SETTINGS, but {seen:?}"));
        wire
    }

    /// After the preface and the exchange of SETTINGS.
    pub fn ready(address: SocketAddr) -> Self {
        Self::with(address, &[])
    }

    /// Send these octets; false when the peer has closed.
    pub fn send(&mut self, octets: &[u8]) -> bool {
        self.try_send(octets).is_ok()
    }

    /// [`Self::send`], with what went wrong.
    pub fn try_send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.io.write_all(octets)
    }

    /// The next frame.
    pub fn next(&mut self, deadline: Instant) -> Seen {
        loop {
            if let Some(frame) = self.take() {
                return Seen::Frame(frame);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Seen::Nothing;
            }
            self.io.set_read_timeout(Some(left)).unwrap();
            let mut buffer = [0; 65536];
            match self.io.read(&mut buffer) {
                Ok(0) => return Seen::Closed,
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Seen::Nothing;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Seen::Closed,
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let head: [u8; 9] = self.input.get(..9)?.try_into().unwrap();
        let end = 9 + usize::from(head[0]) * 65536 + usize::from(head[1]) * 256 + usize::from(head[2]);
        let payload = self.input.get(9..end)?.to_vec();
        self.input.drain(..end);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The first frame that fits, or all that came until the connection closed or nothing came.
    pub fn until(&mut self, fits: impl Fn(&Frame) -> bool) -> Result<Frame, Vec<Seen>> {
        let (deadline, mut seen) = (Instant::now() + DEADLINE, Vec::new());
        loop {
            match self.next(deadline) {
                Seen::Frame(frame) if fits(&frame) => return Ok(frame),
                Seen::Frame(frame) => seen.push(Seen::Frame(frame)),
                end => {
                    seen.push(end);
                    return Err(seen);
                }
            }
        }
    }

    /// Send a PING and return all frames that came before its answer: what the peer had to say to
    /// everything that was sent so far. An error when the connection ends instead.
    pub fn settle(&mut self) -> Result<Vec<Frame>, Vec<Seen>> {
        self.send(&frame(PING, 0, 0, b"settled?"));
        let (deadline, mut seen) = (Instant::now() + DEADLINE, Vec::new());
        loop {
            match self.next(deadline) {
                Seen::Frame(frame) if frame.kind == PING && frame.payload == b"settled?" => return Ok(seen),
                Seen::Frame(frame) => seen.push(frame),
                end => return Err(seen.into_iter().map(Seen::Frame).chain([end]).collect()),
            }
        }
    }
}
