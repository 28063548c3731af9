//! Who holds a place, and who gives it up.

use std::net::{IpAddr, SocketAddr};

use tokio::net::UdpSocket;

use super::{super::harness::Weir, Echo, client, receive, text};

const SESSIONS: &str = "weir_connections{listener=\"udp\"}";

/// From another address than the rest.
async fn client_from(ip: [u8; 4], weir: &Weir) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(IpAddr::from(ip), 0)).await.unwrap();
    socket.connect(weir.listener("udp")).await.unwrap();
    socket
}

#[tokio::test]
async fn who_is_refused_holds_no_place() {
    let endpoint = Echo::start("a").await;
    let routed = text("limits = { connections = 1 }", &[endpoint.address], "").replacen("cluster = \"c\"", "", 1);
    let route = "[[routes]]\nname = \"r\"\ncluster = \"c\"\ndeny = [\"127.0.0.2\"]\n";
    let weir = Weir::start(&format!("{routed}{route}")).await;
    for number in 1..=3 {
        let denied = client_from([127, 0, 0, 2], &weir).await;
        let own = denied.local_addr().unwrap().to_string();
        for _ in 0..2 {
            denied.send(b"x").await.unwrap();
        }
        let line = weir.logged_where("the refusal", |line| line["client"] == own.as_str()).await;
        assert_eq!((&line["status"], &line["error"]), (&403.into(), &"client's network is denied".into()), "{number}");
    }
    assert_eq!(weir.metric(SESSIONS).await, 0.0);
    let allowed = client(&weir).await;
    allowed.send(b"x").await.unwrap();
    assert_eq!(receive(&allowed).await, b"ax");
    assert_eq!(endpoint.sessions(), 1);
}
