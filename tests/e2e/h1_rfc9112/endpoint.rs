//! An endpoint that remembers every octet it was sent and answers with whatever octets a test wants.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// What an endpoint does with a request.
pub enum Answer {
    /// These octets, and the connection goes on.
    Keep(Vec<u8>),
    /// These octets, and the connection ends.
    Close(Vec<u8>),
    /// These octets, then silence.
    Hold(Vec<u8>),
}

/// A request as the endpoint understood it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// First line and fields, as they came.
    pub head: String,
    /// Without its framing.
    pub body: Vec<u8>,
}

impl Asked {
    /// The request's target.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// First field of this (lower case) name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// A listening endpoint; it lives until the test's process ends.
#[derive(Clone)]
pub struct Endpoint {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Endpoint {
    /// Start one that answers like this.
    pub fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Self { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let (asked, answer) = (Arc::clone(&endpoint.asked), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &asked, &*answer));
            }
        });
        endpoint
    }

    /// Forget what was asked so far, and return it.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Answer) {
    let mut input = Input { stream: stream.try_clone().unwrap(), octets: Vec::new() };
    while let Some(asked) = input.request() {
        log.lock().unwrap().push(asked.clone());
        match answer(&asked) {
            Answer::Keep(octets) => {
                if stream.write_all(&octets).is_err() {
                    return;
                }
            }
            Answer::Close(octets) => {
                let _ = stream.write_all(&octets);
                let _ = stream.shutdown(std::net::Shutdown::Write);
                return input.drain();
            }
            Answer::Hold(octets) => {
                let _ = stream.write_all(&octets);
                return input.drain();
            }
        }
    }
}

struct Input {
    stream: TcpStream,
    octets: Vec<u8>,
}

impl Input {
    /// None at the end of the connection, or when what came is no request.
    fn request(&mut self) -> Option<Asked> {
        let head = String::from_utf8_lossy(&self.through(b"\r\n\r\n")?).into_owned();
        let mut asked = Asked { head, body: Vec::new() };
        if asked.field("transfer-encoding").is_some() {
            asked.body = self.chunks()?;
        } else if let Some(length) = asked.field("content-length") {
            let length = length.parse().ok()?;
            asked.body = self.exactly(length)?;
        }
        Some(asked)
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.through(b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).ok()?;
            if size == 0 {
                while self.through(b"\r\n")?.len() > 2 {}
                return Some(body);
            }
            body.extend(self.exactly(size)?);
            self.exactly(2)?;
        }
    }

    fn through(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.octets.windows(end.len()).position(|window| window == end) {
                return Some(self.octets.drain(..at + end.len()).collect());
            }
            self.more()?;
        }
    }

    fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.octets.len() < length {
            self.more()?;
        }
        Some(self.octets.drain(..length).collect())
    }

    fn more(&mut self) -> Option<()> {
        let mut buffer = [0; 16384];
        let n = self.stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
        self.octets.extend_from_slice(&buffer[..n]);
        Some(())
    }

    /// Read on until the peer closes, so that what was written is not lost.
    fn drain(&mut self) {
        let _ = self.stream.set_read_timeout(Some(Duration::from_secs(30)));
        while self.more().is_some() {
            self.octets.clear();
        }
    }
}

/// A whole response with this body.
pub fn ok(body: &[u8]) -> Vec<u8> {
    let mut octets = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    octets.extend_from_slice(body);
    octets
}
