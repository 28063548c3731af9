//! HTTP/1.1 on both sides, by the sections of RFC 9110 and RFC 9112: raw octets in, raw octets out,
//! and an endpoint that remembers what it was sent.

pub mod endpoint;
mod requests;
mod responses;

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use self::endpoint::{Answer, Asked, Endpoint};
use super::{h2_rfc9113::start, harness::Weir};

/// How long an answer may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(5);

/// A proxy in front of one endpoint.
struct Proxy {
    weir: Weir,
    endpoint: Endpoint,
}

impl Proxy {
    fn start(limits: &str, answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let endpoint = Endpoint::start(answer);
        let weir = start(&format!(
            r#"
            [process]
            workers = 1

            [access-log]
            format = "off"

            [listeners.web]
            address = "127.0.0.1:0"
            limits = {{ {limits} }}

            [[routes]]
            name = "ping"
            match = {{ path = "/ping" }}
            respond = {{ status = 200, body = "pong" }}

            [[routes]]
            name = "last"
            match = {{ path = "/last" }}
            respond = {{ status = 200, body = "LAST" }}

            [[routes]]
            name = "all"
            cluster = "endpoint"

            [clusters.endpoint]
            endpoints = [{{ address = "{}" }}]
            "#,
            endpoint.address
        ));
        Self { weir, endpoint }
    }

    fn address(&self) -> SocketAddr {
        self.weir.web()
    }

    /// What comes for these octets until the proxy closes. A request that ends the connection is
    /// sent after them; the response to it is left out.
    fn all(&self, octets: &[u8]) -> String {
        let mut client = Raw::open(self.address());
        client.send(&[octets, b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"].concat());
        let mut text = client.rest();
        if text.ends_with("LAST") {
            text.truncate(text.rfind("HTTP/1.1 200").unwrap());
        }
        text
    }

    /// What comes for these octets and the end of the client's half.
    fn cut(&self, octets: &[u8]) -> String {
        let mut client = Raw::open(self.address());
        client.send(octets);
        client.end();
        client.rest()
    }

    /// Another client gets its answer.
    fn serves(&self) -> bool {
        self.all(b"GET /ping HTTP/1.1\r\nhost: a\r\n\r\n").ends_with("pong")
    }
}

/// A client of raw octets.
struct Raw(TcpStream, Vec<u8>);

impl Raw {
    fn open(address: SocketAddr) -> Self {
        let io = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
        io.set_nodelay(true).unwrap();
        Self(io, Vec::new())
    }

    fn send(&mut self, octets: &[u8]) -> bool {
        self.0.write_all(octets).is_ok()
    }

    fn end(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// Read until what came fits; false when the connection ended first.
    fn until(&mut self, fits: impl Fn(&str) -> bool) -> bool {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if fits(&String::from_utf8_lossy(&self.1)) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no answer, but {:?}", String::from_utf8_lossy(&self.1));
            self.0.set_read_timeout(Some(left)).unwrap();
            let mut buffer = [0; 65536];
            match self.0.read(&mut buffer) {
                Ok(0) => return false,
                Ok(n) => self.1.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return false,
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&self.1)),
            }
        }
    }

    /// All that comes until the connection ends, which it must.
    fn rest(&mut self) -> String {
        self.until(|_| false);
        String::from_utf8_lossy(&std::mem::take(&mut self.1)).into_owned()
    }
}

/// The statuses of the responses in these octets, interim ones included.
fn statuses(text: &str) -> Vec<u16> {
    text.match_indices("HTTP/1.1 ").filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok()).collect()
}
