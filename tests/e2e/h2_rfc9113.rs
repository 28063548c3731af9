//! HTTP/2 on the side of clients, by the sections of RFC 9113 and RFC 7541: what a client may not do
//! is answered at once with the right code, and nobody else notices.

mod cases;
mod floods;
mod flow_control;
mod frames;
mod hpack;
mod messages;
mod streams;
pub mod wire;

use std::net::{SocketAddr, TcpListener};

use self::wire::{END_HEADERS, END_STREAM, headers, request};
use super::{
    h1_rfc9112::endpoint::{Answer, Endpoint, ok},
    harness::Weir,
};

/// Octets of the response to `/large`.
const LARGE: usize = 200_000;

/// A proxy in front of an endpoint that answers everything but `/hold`, and with much to `/large`.
struct Proxy {
    weir: Weir,
    endpoint: Endpoint,
}

impl Proxy {
    fn start() -> Self {
        Self::with_limits("")
    }

    fn with_limits(limits: &str) -> Self {
        Self::before(None, limits)
    }

    /// In front of an endpoint that accepts connections and never reads.
    fn stalled() -> (Self, TcpListener) {
        let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
        (Self::before(deaf.local_addr().ok(), ""), deaf)
    }

    fn before(address: Option<SocketAddr>, limits: &str) -> Self {
        let endpoint = Endpoint::start(|asked| match asked.target() {
            "/hold" => Answer::Hold(Vec::new()),
            "/large" => Answer::Keep(ok(&[b'x'; LARGE])),
            _ => Answer::Keep(ok(&asked.body)),
        });
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
            name = "all"
            cluster = "endpoint"

            [clusters.endpoint]
            endpoints = [{{ address = "{}" }}]
            "#,
            address.unwrap_or(endpoint.address)
        ));
        Self { weir, endpoint }
    }

    fn address(&self) -> SocketAddr {
        self.weir.listener("web")
    }
}

/// Start a proxy from a test that has no runtime: these tests speak over blocking sockets.
pub fn start(text: &str) -> Weir {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(Weir::start(text))
}

/// A request whose body is under way: the stream is open.
fn open(stream: u32) -> Vec<u8> {
    headers(END_HEADERS, stream, &request("POST", "/hold"))
}

/// A request that nobody answers: the stream is half-closed (remote).
fn half_closed(stream: u32) -> Vec<u8> {
    headers(END_HEADERS | END_STREAM, stream, &request("GET", "/hold"))
}

/// A request that is answered at once.
fn get(stream: u32) -> Vec<u8> {
    headers(END_HEADERS | END_STREAM, stream, &request("GET", "/ping"))
}
