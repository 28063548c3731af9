//! Which networks may come in: `allow` and `deny` of listeners and routes.

use std::net::{IpAddr, SocketAddr};

use http::Method;
use tokio::net::{TcpSocket, UdpSocket};
use weir_preamble::{
    Header,
    proxy::{Addresses, Tlvs, Transport, Version},
};

use super::harness::{Client, Raw, Weir, empty, eventually, get, request};

fn http(listener: &str, route: &str) -> String {
    format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n{listener}\n\
         [[routes]]\nname = \"own\"\nmatch = {{ path = \"/own\" }}\nrespond = {{}}\n{route}\n\
         [[routes]]\nname = \"rest\"\nrespond = {{}}\n"
    )
}

/// A connection from another address than the usual one.
async fn other(address: SocketAddr) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    Raw::of(socket.connect(address).await.unwrap())
}

/// Asks, and is closed without an answer.
async fn refused(mut raw: Raw) {
    let _ = raw.try_send("GET / HTTP/1.1\r\nhost: weir.test\r\n\r\n").await;
    raw.closed().await;
}

async fn from(number: u8, address: SocketAddr) -> Client {
    Client::http1_from(IpAddr::from([127, 0, 0, number]), address).await
}

#[tokio::test]
async fn a_listener_closes_connections_from_networks_it_denies() {
    let weir = Weir::start(&http("deny = [\"127.0.0.2\"]", "")).await;
    assert_eq!(get(weir.web(), "/").await.status, 200);
    refused(other(weir.web()).await).await;
    assert_eq!(weir.metric("weir_denied_total{listener=\"web\"}").await, 1.0);
    assert_eq!(weir.metric(r#"weir_connections_refused_total{listener="web",reason="denied"}"#).await, 1.0);
    assert_eq!(from(3, weir.web()).await.get("/").await.status, 200);
}

#[tokio::test]
async fn a_listener_lets_in_whom_it_allows_and_nobody_else() {
    let weir = Weir::start(&http("allow = [\"127.0.0.0/30\"]\ndeny = [\"127.0.0.2\"]", "")).await;
    assert_eq!(get(weir.web(), "/").await.status, 200);
    refused(other(weir.web()).await).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.4:0".parse().unwrap()).unwrap();
    refused(Raw::of(socket.connect(weir.web()).await.unwrap())).await;
    assert_eq!(from(3, weir.web()).await.get("/").await.status, 200);
}

#[tokio::test]
async fn a_route_answers_403() {
    let weir = Weir::start(&http("", "allow = [\"127.0.0.2\"]")).await;
    let mut client = Client::http1(weir.web()).await;
    let refused = client.get("/own").await;
    assert_eq!((refused.status.as_u16(), refused.text()), (403, "403 Forbidden\n"));
    let line = weir.logged("/own").await;
    assert_eq!((&line["status"], &line["route"]), (&403.into(), &"own".into()));
    assert_eq!(line["error"], "client's network is denied");
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(from(2, weir.web()).await.get("/own").await.status, 200);
    assert_eq!(weir.metric("weir_denied_total{listener=\"web\"}").await, 1.0);
}

#[tokio::test]
async fn the_client_that_a_trusted_proxy_names_is_who_counts() {
    let listener = "deny = [\"203.0.113.0/24\"]\nallow = [\"0.0.0.0/0\"]\nforwarded = { trusted = [\"127.0.0.0/8\"] }";
    let weir = Weir::start(&http(listener, "")).await;
    let mut proxy = Client::http1(weir.web()).await;
    for (named, status) in [("203.0.113.9", 403), ("198.51.100.1", 200), ("203.0.113.9, 198.51.100.1", 200)] {
        let asked = request(Method::GET, "/").header("x-forwarded-for", named).body(empty()).unwrap();
        assert_eq!(proxy.ask(asked).await.status, status, "{named}");
    }
}

#[tokio::test]
async fn a_proxy_need_not_be_in_a_network_of_clients() {
    let listener = "allow = [\"203.0.113.0/24\"]\nforwarded = { trusted = [\"127.0.0.1\"] }";
    let weir = Weir::start(&http(listener, "")).await;
    let mut proxy = Client::http1(weir.web()).await;
    let asked = request(Method::GET, "/").header("x-forwarded-for", "203.0.113.9").body(empty()).unwrap();
    assert_eq!(proxy.ask(asked).await.status, 200);
    assert_eq!(proxy.get("/").await.status, 403);
    refused(other(weir.web()).await).await;
}

#[tokio::test]
async fn the_client_that_a_proxy_header_names_is_who_counts() {
    let listener = "deny = [\"192.0.2.0/24\"]\nproxy-protocol = { accept = \"required\", trusted = [\"127.0.0.1\"] }";
    let weir = Weir::start(&http(listener, "")).await;
    for (source, answer) in [("192.0.2.7:1", ""), ("198.51.100.7:1", "HTTP/1.1 200")] {
        let addresses = Addresses {
            transport: Transport::Stream,
            source: source.parse().unwrap(),
            destination: "198.51.100.1:443".parse().unwrap(),
        };
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(Header::of(Version::V1, addresses, Tlvs::default()).octets()).await;
        let _ = raw.try_send("GET / HTTP/1.1\r\nhost: weir.test\r\nconnection: close\r\n\r\n").await;
        let said = raw.rest().await;
        assert!(said.starts_with(answer) && said.is_empty() == answer.is_empty(), "{source}: {said}");
    }
    assert_eq!(weir.metric("weir_denied_total{listener=\"web\"}").await, 1.0);
}

#[tokio::test]
async fn a_reload_counts_for_connections_that_are_open() {
    let mut weir = Weir::start(&http("", "")).await;
    let mut client = Client::http1(weir.web()).await;
    assert_eq!(client.get("/").await.status, 200);
    weir.reload(&http("deny = [\"127.0.0.1\"]", "")).await.unwrap();
    assert_eq!(client.get("/").await.status, 403);
}

#[tokio::test]
async fn connections_that_pass_as_they_are_keep_to_it() {
    let endpoint = super::harness::RawEndpoint::start(|mut raw, _| async move { raw.send("a").await }).await;
    let weir = Weir::start(&format!(
        "[listeners.by-listener]\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\ncluster = \"c\"\ndeny = [\"127.0.0.2\"]\n\
         [listeners.by-route]\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n\
         [[routes]]\nname = \"r\"\ncluster = \"c\"\ndeny = [\"127.0.0.2\"]\n\
         [clusters.c]\nendpoints = [\"{}\"]\n",
        endpoint.address
    ))
    .await;
    for name in ["by-listener", "by-route"] {
        Raw::connect(weir.listener(name)).await.until("a").await;
        other(weir.listener(name)).await.closed().await;
        assert_eq!(weir.metric(&format!("weir_denied_total{{listener=\"{name}\"}}")).await, 1.0, "{name}");
    }
    assert_eq!(endpoint.connections(), 2);
    let line = weir.logged_where("the denied one", |line| line["status"] == 403).await;
    assert_eq!(line["listener"], "by-route");
}

#[tokio::test]
async fn datagrams_from_networks_that_are_denied_are_dropped() {
    let endpoint = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let weir = Weir::start(&format!(
        "[listeners.udp]\naddress = \"127.0.0.1:0\"\nprotocol = \"udp\"\ncluster = \"c\"\ndeny = [\"127.0.0.2\"]\n\
         [clusters.c]\nendpoints = [\"{}\"]\n",
        endpoint.local_addr().unwrap()
    ))
    .await;
    let client = async |address: &str| {
        let socket = UdpSocket::bind(address).await.unwrap();
        socket.connect(weir.listener("udp")).await.unwrap();
        socket
    };
    let (denied, allowed) = (client("127.0.0.2:0").await, client("127.0.0.1:0").await);
    denied.send(b"no").await.unwrap();
    eventually("a datagram to be dropped", || async {
        (weir.metric("weir_datagrams_dropped_total{listener=\"udp\"}").await == 1.0).then_some(())
    })
    .await;
    allowed.send(b"yes").await.unwrap();
    let mut octets = [0; 64];
    let (length, _) = super::harness::soon("a datagram", endpoint.recv_from(&mut octets)).await.unwrap();
    assert_eq!(&octets[..length], b"yes");
    assert_eq!(weir.metric("weir_denied_total{listener=\"udp\"}").await, 1.0);
}
