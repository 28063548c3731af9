//! Limits of connections, before anything is read of them, and of what passes as it is.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, UdpSocket},
};

use super::to;
use crate::e2e::harness::{Client, Endpoint, Raw, RawEndpoint, Weir, eventually, get, soon};

/// Says its name and waits for the end.
async fn greeter() -> RawEndpoint {
    RawEndpoint::start(|mut raw, _| async move {
        let _ = raw.stream.write_all(b"a").await;
        raw.rest().await;
    })
    .await
}

fn tcp(endpoint: SocketAddr, listener: &str) -> String {
    format!(
        "[listeners.tcp]\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n{listener}\n\
         [clusters.db]\nendpoints = [\"{endpoint}\"]\n"
    )
}

async fn another(address: SocketAddr) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    Raw::of(socket.connect(address).await.unwrap())
}

#[tokio::test]
async fn connections_beyond_the_rate_are_closed_at_once() {
    let endpoint = greeter().await;
    let limited = "cluster = \"db\"\nconnection-limits = { rate = \"2/1d\" }";
    let weir = Weir::start(&tcp(endpoint.address, limited)).await;
    let address = weir.listener("tcp");
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut raw = Raw::connect(address).await;
        raw.until("a").await;
        open.push(raw);
    }
    Raw::connect(address).await.closed().await;
    another(address).await.until("a").await;
    assert_eq!(endpoint.connections(), 3);
    assert_eq!(weir.metric(r#"weir_connections_refused_total{listener="tcp",reason="limited"}"#).await, 1.0);
    assert_eq!(weir.metric("weir_denied_total{listener=\"tcp\"}").await, 0.0);
    let limited = "weir_rate_limit_requests_total{limit=\"connections:tcp\",result=\"limited\"}";
    assert_eq!(weir.metric(limited).await, 1.0);
}

#[tokio::test]
async fn open_connections_may_be_limited() {
    let endpoint = greeter().await;
    let limited = "cluster = \"db\"\nconnection-limits = { max-in-flight = 1 }";
    let weir = Weir::start(&tcp(endpoint.address, limited)).await;
    let address = weir.listener("tcp");
    let mut open = Raw::connect(address).await;
    open.until("a").await;
    Raw::connect(address).await.closed().await;
    drop(open);
    eventually("room", || async {
        let mut raw = Raw::connect(address).await;
        let mut name = [0];
        raw.stream.read_exact(&mut name).await.ok().map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_route_limits_connections_too() {
    let endpoint = greeter().await;
    let route = "[[routes]]\nname = \"db\"\ncluster = \"db\"\nrate-limits = { rate = \"1/1d\" }\n";
    let weir = Weir::start(&format!("{route}{}", tcp(endpoint.address, ""))).await;
    let address = weir.listener("tcp");
    Raw::connect(address).await.until("a").await;
    Raw::connect(address).await.closed().await;
    let line = weir.logged_where("the refused one", |line| line["status"] == 429).await;
    assert_eq!((&line["route"], &line["error"]), (&"db".into(), &"rate limit route:db is used up".into()));
}

#[tokio::test]
async fn connections_for_http_are_limited_but_those_of_trusted_proxies() {
    let endpoint = Endpoint::start("a").await;
    let trusting = "connection-limits = { rate = \"1/1d\" }\nforwarded = { trusted = [\"127.0.0.2\"] }";
    let weir = Weir::start(&to(&endpoint, trusting, "")).await;
    assert_eq!(get(weir.web(), "/").await.status, 200);
    let mut refused = Raw::connect(weir.web()).await;
    let _ = refused.try_send("GET / HTTP/1.1\r\nhost: weir.test\r\n\r\n").await;
    refused.closed().await;
    for _ in 0..3 {
        assert_eq!(Client::http1_from([127, 0, 0, 2].into(), weir.web()).await.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn sessions_of_datagrams_beyond_the_rate_are_dropped() {
    let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let endpoint = echo.local_addr().unwrap();
    let answers = tokio::spawn(async move {
        let mut octets = [0; 64];
        while let Ok((length, from)) = echo.recv_from(&mut octets).await {
            let _ = echo.send_to(&octets[..length], from).await;
        }
    });
    let weir = Weir::start(&format!(
        "[listeners.udp]\naddress = \"127.0.0.1:0\"\nprotocol = \"udp\"\ncluster = \"c\"\n\
         connection-limits = {{ rate = \"1/1d\" }}\n[clusters.c]\nendpoints = [\"{endpoint}\"]\n"
    ))
    .await;
    let client = async || {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(weir.listener("udp")).await.unwrap();
        socket
    };
    let (first, second) = (client().await, client().await);
    first.send(b"hello").await.unwrap();
    let mut octets = [0; 64];
    assert_eq!(soon("an answer", first.recv(&mut octets)).await.unwrap(), 5);
    second.send(b"hello").await.unwrap();
    eventually("a datagram to be dropped", || async {
        (weir.metric("weir_datagrams_dropped_total{listener=\"udp\"}").await == 1.0).then_some(())
    })
    .await;
    first.send(b"again").await.unwrap();
    assert_eq!(soon("an answer", first.recv(&mut octets)).await.unwrap(), 5);
    answers.abort();
}
