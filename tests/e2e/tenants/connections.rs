//! Tenants of connections and datagrams that pass as they are: known by server name and network.

use std::net::SocketAddr;

use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, UdpSocket},
};

use crate::e2e::harness::{Ca, Client, Endpoint, Raw, RawEndpoint, Setup, Weir, eventually, soon};

/// Says its name and holds the connection.
async fn named(name: &'static str) -> RawEndpoint {
    RawEndpoint::start(move |mut raw, _| async move {
        raw.send(name).await;
        raw.rest().await;
    })
    .await
}

async fn connect_from(local: &str, address: SocketAddr) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{local}:0").parse().unwrap()).unwrap();
    Raw::of(socket.connect(address).await.unwrap())
}

#[tokio::test]
async fn a_network_tells_whose_a_connection_is() {
    let (all, own) = (named("all").await, named("own").await);
    let weir = Weir::start(&format!(
        r#"
        [listeners.tcp]
        address = "127.0.0.1:0"
        protocol = "tcp"
        cluster = "all"
        [tenants.acme]
        match = {{ networks = ["127.0.0.2"] }}
        limits = {{ requests = 1 }}
        clusters = {{ all = "own" }}
        [clusters.all]
        endpoints = ["{}"]
        [clusters.own]
        endpoints = ["{}"]
        "#,
        all.address, own.address
    ))
    .await;
    let address = weir.listener("tcp");
    let mut acmes = connect_from("127.0.0.2", address).await;
    acmes.until("own").await;
    for _ in 0..2 {
        Raw::connect(address).await.until("all").await;
    }
    assert_eq!(connect_from("127.0.0.2", address).await.rest().await, "");
    let line = weir.logged_where("the one too many", |line| line["status"] == 429).await;
    let error = "tenant acme is at its limit of requests";
    assert_eq!((&line["tenant"], &line["error"]), (&"acme".into(), &error.into()));
    assert_eq!(weir.metric(r#"weir_tenant_refused_total{tenant="acme"}"#).await, 1.0);
    drop(acmes);
    eventually("room for another", || async {
        let mut again = connect_from("127.0.0.2", address).await;
        (again.stream.read_u8().await.ok() == Some(b'o')).then_some(())
    })
    .await;
    let line = weir.logged_where("the first", |line| line["status"] == 200 && line["tenant"] == "acme").await;
    assert_eq!(line["cluster"], "own");
}

#[tokio::test]
async fn the_server_name_of_tls_that_passes_tells_whose_it_is() {
    let ca = Ca::new();
    let certificate = ca.issue(&["a.acme.test", "b.test"]);
    let acme = Endpoint::start_tls("acme", &certificate, &["http/1.1"]).await;
    let rest = Endpoint::start_tls("rest", &certificate, &["http/1.1"]).await;
    let weir = Weir::start(&format!(
        r#"
        [listeners.secure]
        address = "127.0.0.1:0"
        protocol = "tls-passthrough"
        [tenants.acme]
        match = {{ sni = ["*.acme.test"] }}
        [[routes]]
        name = "acme"
        match = {{ tenant = "acme" }}
        cluster = "acme"
        [[routes]]
        name = "rest"
        cluster = "rest"
        [clusters.acme]
        endpoints = ["{}"]
        [clusters.rest]
        endpoints = ["{}"]
        "#,
        acme.address, rest.address
    ))
    .await;
    for (name, endpoint) in [("a.acme.test", "acme"), ("b.test", "rest")] {
        let mut client = Client::tls(weir.listener("secure"), &ca, name, &["http/1.1"]).await;
        assert_eq!(client.get("/").await.text(), endpoint);
    }
    let line = weir.logged_where("the tenant's", |line| line["tenant"] == "acme").await;
    assert_eq!((&line["route"], &line["host"]), (&"acme".into(), &"a.acme.test".into()));
}

#[tokio::test]
async fn sessions_of_connections_are_the_tenants_own() {
    let endpoints = [named("a").await, named("b").await, named("c").await];
    let addresses = endpoints.each_ref().map(|endpoint| endpoint.address.to_string());
    let weir = Setup::new(&format!(
        "[process]\nworkers = 1\n[listeners.tcp]\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\ncluster = \"all\"\n\
         [tenants.acme]\nmatch = {{ networks = [\"127.0.0.2\"] }}\naffinity = {{ source-ip = true }}\n\
         [clusters.all]\nendpoints = {addresses:?}\n"
    ))
    .start()
    .await;
    let address = weir.listener("tcp");
    let mut met = Vec::new();
    for _ in 0..6 {
        met.push(connect_from("127.0.0.2", address).await.exactly(1).await);
    }
    met.dedup();
    assert_eq!(met.len(), 1, "{met:?}");
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(Raw::connect(address).await.exactly(1).await);
    }
    others.sort();
    assert_eq!(others, [b"a", b"b", b"c"], "nobody else has sessions");
    assert_eq!(weir.metric(r#"weir_affinity_sessions{cluster="",tenant="acme"}"#).await, 1.0);
}

#[tokio::test]
async fn datagrams_go_where_their_tenant_wants_them() {
    let (all, own) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let weir = Weir::start(&format!(
        "[listeners.udp]\naddress = \"127.0.0.1:0\"\nprotocol = \"udp\"\ncluster = \"all\"\n\
         [tenants.acme]\nmatch = {{ networks = [\"127.0.0.2\"] }}\nclusters = {{ all = \"own\" }}\n\
         [clusters.all]\nendpoints = [\"{}\"]\n[clusters.own]\nendpoints = [\"{}\"]\n",
        all.local_addr().unwrap(),
        own.local_addr().unwrap()
    ))
    .await;
    for (local, endpoint) in [("127.0.0.2:0", &own), ("127.0.0.1:0", &all)] {
        let client = UdpSocket::bind(local).await.unwrap();
        client.send_to(local.as_bytes(), weir.listener("udp")).await.unwrap();
        let mut octets = [0; 64];
        let (length, _) = soon("a datagram", endpoint.recv_from(&mut octets)).await.unwrap();
        assert_eq!(&octets[..length], local.as_bytes());
    }
}
