//! Abuse: what it costs us, and that others are served all the while.

mod descriptors;
mod many;
mod memory;
mod slow;

use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

use super::harness::{Bystander, Endpoint, Meter, Weir};

/// `/ping` is answered here, everything else by the endpoint.
async fn weir(endpoint: &Endpoint, limits: &str, rest: &str) -> Weir {
    Weir::start(&text(endpoint, limits, rest)).await
}

fn text(endpoint: &Endpoint, limits: &str, rest: &str) -> String {
    let address = endpoint.address;
    format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        limits = {{ {limits} }}
        {rest}
        [[routes]]
        name = "ping"
        match = {{ path = "/ping" }}
        respond = {{ body = "pong" }}
        [[routes]]
        name = "all"
        cluster = "web"
        [clusters.web]
        endpoints = ["{address}"]
        "#
    )
}

/// While somebody does this, others are served; what it costs is printed.
async fn endured(what: &'static str, weir: &Weir, abuse: impl Future<Output = ()>) {
    let (meter, others) = (Meter::start(what, weir), Bystander::start(weir.web(), "/ping"));
    abuse.await;
    meter.end(weir);
    others.end();
}

/// A connection whose socket holds little that was not read.
async fn narrow(weir: &Weir) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    socket.connect(weir.web()).await
}

/// Between two octets of a client that is slow on purpose.
const DRIP: Duration = Duration::from_millis(20);
