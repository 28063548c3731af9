//! What becomes of sessions when the configuration changes.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};
use tokio::{net::UdpSocket, task::JoinHandle};

use super::{
    super::harness::{Weir, eventually, until},
    Echo, ask, client, receive,
};

/// Says something again and again to whoever has ever sent it anything.
struct Talker {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Talker {
    async fn start() -> Talker {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (mut listeners, mut octets) = (Vec::new(), [0; 100]);
            loop {
                if let Ok(Ok((_, from))) =
                    tokio::time::timeout(Duration::from_millis(20), socket.recv_from(&mut octets)).await
                {
                    listeners.push(from);
                }
                for to in &listeners {
                    let _ = socket.send_to(b"tick", to).await;
                }
            }
        });
        Talker { address, task }
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn free() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A listener before a cluster of one endpoint.
fn text(at: SocketAddr, listener: &str, endpoint: SocketAddr, rest: &str) -> String {
    format!(
        "[process]\nworkers = 2\nshutdown-grace = \"2s\"\n\
         [listeners.udp]\naddress = \"{at}\"\nprotocol = \"udp\"\n{listener}\n\
         [clusters.c]\nendpoints = [\"{endpoint}\"]\n{rest}\n"
    )
}

fn without_listener(endpoint: SocketAddr) -> String {
    format!(
        "[process]\nworkers = 2\nshutdown-grace = \"2s\"\n\
         [clusters.c]\nendpoints = [\"{endpoint}\"]\n"
    )
}

/// Waits until a socket hears nothing any more.
async fn silence(socket: &UdpSocket) {
    let mut octets = [0; 100];
    let quiet = Duration::from_millis(300);
    eventually("silence", || async { tokio::time::timeout(quiet, socket.recv(&mut [0; 100])).await.err().map(drop) })
        .await;
    assert!(socket.try_recv(&mut octets).is_err());
}

#[tokio::test]
async fn a_listener_that_is_gone_ends_and_may_come_back() {
    let (at, talker) = (free().await, Talker::start().await);
    let with = text(at, "cluster = \"c\"", talker.address, "");
    let mut weir = Weir::start(&with).await;
    let socket = client(&weir).await;
    assert_eq!(ask(&socket, "x").await, "tick");
    weir.reload(&without_listener(talker.address)).await.unwrap();
    weir.reload(&with).await.expect("its sessions do not keep the address from it");
    assert_eq!(ask(&client(&weir).await, "x").await, "tick", "whoever comes now is heard");
    weir.reload(&without_listener(talker.address)).await.unwrap();
    silence(&socket).await;
    until("the address to be free", || std::net::UdpSocket::bind(at).is_ok()).await;
}

#[tokio::test]
async fn a_listener_that_comes_back_is_heard_by_every_client() {
    let (at, endpoint) = (free().await, Echo::start("a").await);
    let with = text(at, "cluster = \"c\"", endpoint.address, "");
    let mut weir = Weir::start(&with).await;
    let sockets = [client(&weir).await, client(&weir).await, client(&weir).await, client(&weir).await];
    for _ in 0..3 {
        for socket in &sockets {
            socket.send(b"x").await.unwrap();
            assert_eq!(receive(socket).await, b"ax");
        }
        weir.reload(&without_listener(endpoint.address)).await.unwrap();
        weir.reload(&with).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_leaves_a_cluster_that_is_gone() {
    let [a, b] = [Echo::start("a").await, Echo::start("b").await];
    let at = free().await;
    for (drain, stays) in [("0s", false), ("1h", true)] {
        let drain = format!("drain = \"{drain}\"");
        let mut weir = Weir::start(&text(at, "cluster = \"c\"", a.address, &drain)).await;
        let socket = client(&weir).await;
        assert_eq!(ask(&socket, "").await, "a");
        let next = text(at, "cluster = \"c\"", b.address, &drain).replace("\"c\"", "\"d\"").replace(".c]", ".d]");
        weir.reload(&next).await.unwrap();
        socket.send(b"").await.unwrap();
        assert_eq!(receive(&socket).await, if stays { b"a" } else { b"b" }, "{drain}");
        assert_eq!(ask(&client(&weir).await, "").await, "b");
        // A listed endpoint of the same address is another one.
        let back = text(at, "cluster = \"c\"", a.address, &drain);
        weir.reload(&back).await.unwrap();
        socket.send(b"").await.unwrap();
        assert_eq!(receive(&socket).await, b"a", "{drain}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_no_longer_listed_keeps_sessions_for_its_drain() {
    let (at, a, b) = (free().await, Echo::start("a").await, Echo::start("b").await);
    let listed = |endpoint| text(at, "cluster = \"c\"", endpoint, "drain = \"1s\"");
    let mut weir = Weir::start(&listed(a.address)).await;
    let socket = client(&weir).await;
    assert_eq!(ask(&socket, "").await, "a");
    weir.reload(&listed(b.address)).await.unwrap();
    socket.send(b"").await.unwrap();
    assert_eq!(receive(&socket).await, b"a");
    eventually("the other endpoint", || async { (ask(&socket, "").await == "b").then_some(()) }).await;
}

#[tokio::test]
async fn what_is_said_of_an_endpoint_after_a_reload_counts_for_sessions_from_before() {
    let (at, a, b) = (free().await, Echo::start("a").await, Echo::start("b").await);
    let both = format!("endpoints = [\"{}\", ", a.address);
    let cluster = |more: &str| {
        text(at, "cluster = \"c\"", b.address, &format!("balance = \"first\"\n{more}")).replace("endpoints = [", &both)
    };
    let mut weir = Weir::start(&cluster("")).await;
    let socket = client(&weir).await;
    assert_eq!(ask(&socket, "").await, "a");
    weir.reload(&cluster("drain = \"1h\"")).await.unwrap();
    assert_eq!(ask(&socket, "").await, "a");
    let order = format!("/v1/clusters/c/endpoints/{}/maintenance", a.address);
    assert_eq!(weir.command(Method::POST, &order, "").await.status, StatusCode::OK);
    socket.send(b"x").await.unwrap();
    assert_eq!(receive(&socket).await, b"bx");
}

#[tokio::test]
async fn a_cluster_that_is_gone_keeps_sessions_no_longer_than_its_drain() {
    let (at, talker, b) = (free().await, Talker::start().await, Echo::start("b").await);
    let drain = "drain = \"500ms\"";
    let mut weir = Weir::start(&text(at, "cluster = \"c\"", talker.address, drain)).await;
    let socket = client(&weir).await;
    assert_eq!(ask(&socket, "").await, "tick");
    let next = text(at, "cluster = \"c\"", b.address, drain).replace("\"c\"", "\"d\"").replace(".c]", ".d]");
    weir.reload(&next).await.unwrap();
    silence(&socket).await;
    socket.send(b"x").await.unwrap();
    assert_eq!(receive(&socket).await, b"bx");
}

#[tokio::test]
async fn a_changed_list_of_networks_counts_for_sessions() {
    let (at, endpoint) = (free().await, Echo::start("a").await);
    let route = |more: &str| format!("[[routes]]\nname = \"r\"\ncluster = \"c\"\n{more}\n");
    let denied = "deny = [\"127.0.0.0/8\"]";
    let open = text(at, "", endpoint.address, &route(""));
    let by_listener = text(at, denied, endpoint.address, &route(""));
    let by_route = text(at, "", endpoint.address, &route(denied));
    let mut weir = Weir::start(&open).await;
    let socket = client(&weir).await;
    for closed in [by_listener, by_route] {
        assert_eq!(ask(&socket, "x").await, "ax");
        weir.reload(&closed).await.unwrap();
        let own = socket.local_addr().unwrap().to_string();
        socket.send(b"y").await.unwrap();
        let series = "weir_connections{listener=\"udp\"}";
        eventually("the end of the session", || async { (weir.metric(series).await == 0.0).then_some(()) }).await;
        assert_eq!(weir.logged_where("the session", |line| line["client"] == own.as_str()).await["status"], 200);
        assert!(socket.try_recv(&mut [0; 9]).is_err(), "it was dropped");
        weir.reload(&open).await.unwrap();
    }
    assert_eq!(endpoint.sessions(), 2);
}

#[tokio::test]
async fn who_is_denied_hears_nothing_more() {
    let (at, talker) = (free().await, Talker::start().await);
    let mut weir = Weir::start(&text(at, "cluster = \"c\"", talker.address, "")).await;
    let socket = client(&weir).await;
    assert_eq!(ask(&socket, "x").await, "tick");
    weir.reload(&text(at, "cluster = \"c\"\ndeny = [\"127.0.0.1\"]", talker.address, "")).await.unwrap();
    silence(&socket).await;
    assert_eq!(weir.metric("weir_connections{listener=\"udp\"}").await, 0.0);
}

#[tokio::test]
async fn a_session_that_has_moved_stays_beyond_the_drain_of_its_former_cluster() {
    let (at, a, b) = (free().await, Echo::start("a").await, Echo::start("b").await);
    let drain = "drain = \"1s\"";
    let mut weir = Weir::start(&text(at, "cluster = \"c\"", a.address, drain)).await;
    let socket = client(&weir).await;
    assert_eq!(ask(&socket, "").await, "a");
    let next = text(at, "cluster = \"c\"", b.address, drain).replace("\"c\"", "\"d\"").replace(".c]", ".d]");
    weir.reload(&next).await.unwrap();
    let over = Instant::now() + Duration::from_millis(1500);
    socket.send(b"").await.unwrap();
    assert_eq!(receive(&socket).await, b"a");
    let gone = a.address;
    drop(a);
    eventually("the socket to close", || async { UdpSocket::bind(gone).await.ok().map(drop) }).await;
    eventually("the other endpoint", || async { (ask(&socket, "").await == "b").then_some(()) }).await;
    while Instant::now() < over {
        assert_eq!(ask(&socket, "").await, "b");
    }
    assert_eq!(b.sessions(), 1, "it is the same session all the time");
}

/// Octets that wait in the sockets of a port.
fn waiting(at: SocketAddr) -> Option<u64> {
    let port = format!(":{:04X}", at.port());
    let sockets = std::fs::read_to_string("/proc/net/udp").unwrap();
    let fields = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let queues = fields.filter(|fields| fields[1].ends_with(&port)).map(|fields| {
        let (_, received) = fields[4].split_once(':').unwrap();
        u64::from_str_radix(received, 16).unwrap()
    });
    queues.reduce(|one, other| one + other)
}

#[tokio::test]
async fn what_comes_while_a_listener_is_gone_is_not_for_the_one_that_comes_back() {
    let (at, talker) = (free().await, Talker::start().await);
    let of_long = |text: String| text.replace("shutdown-grace = \"2s\"", "shutdown-grace = \"1h\"");
    let with = of_long(text(at, "cluster = \"c\"", talker.address, ""));
    let without = of_long(without_listener(talker.address));
    let mut weir = Weir::start(&with).await;
    let socket = client(&weir).await;
    assert_eq!(ask(&socket, "x").await, "tick");
    for _ in 0..2 {
        weir.reload(&without).await.unwrap();
        // Workers hear of it a moment later.
        let unheard = eventually("a client that is not heard", || async {
            let late = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            late.connect(at).await.unwrap();
            late.send(b"x").await.unwrap();
            let heard = tokio::time::timeout(Duration::from_millis(300), late.recv(&mut [0; 9])).await;
            heard.err().map(|_| late)
        });
        let unheard = unheard.await;
        until("what nobody hears to be dropped", || waiting(at) == Some(0)).await;
        weir.reload(&with).await.unwrap();
        assert_eq!(ask(&client(&weir).await, "x").await, "tick");
        assert!(unheard.try_recv(&mut [0; 9]).is_err());
    }
}
