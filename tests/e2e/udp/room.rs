//! Who holds a place, and who gives it up.

use std::{
    cell::RefCell,
    collections::HashSet,
    net::{IpAddr, SocketAddr},
};

use tokio::net::UdpSocket;

use super::{
    super::harness::{Raw, Setup, Weir, eventually, get, soon, weir_with_files},
    Echo, ask, client, receive, text,
};

const SESSIONS: &str = "weir_connections{listener=\"udp\"}";
const WEB: &str = "[listeners.web]\naddress = \"127.0.0.1:0\"\n\
    [[routes]]\nname = \"all\"\nmatch = { listener = \"web\" }\nrespond = { body = \"ok\" }\n";

/// From another address than the rest.
async fn client_from(ip: [u8; 4], weir: &Weir) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(IpAddr::from(ip), 0)).await.unwrap();
    socket.connect(weir.listener("udp")).await.unwrap();
    socket
}

#[tokio::test]
async fn sessions_that_idle_make_room_for_connections() {
    let endpoint = Echo::start("a").await;
    let process = "[process]\nworkers = 2\nmax-connections = 20\n";
    let weir = Weir::start(&format!("{process}{}{WEB}", text("", &[endpoint.address], ""))).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let socket = client(&weir).await;
        assert_eq!(ask(&socket, "x").await, "ax");
        clients.push(socket);
    }
    let talking = clients.pop().unwrap();
    let talk = tokio::spawn(async move {
        loop {
            assert_eq!(ask(&talking, "y").await, "ay");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    assert_eq!(soon("a response", get(weir.web(), "/")).await.text(), "ok");
    assert!(!talk.is_finished());
    talk.abort();
    assert_eq!(endpoint.sessions(), 20, "who talks has stayed");
    let left = weir.metric(SESSIONS).await;
    assert!((10.0..20.0).contains(&left), "one needs no more than one place: {left} are left");
}

#[tokio::test]
async fn sessions_that_idle_make_room_for_another() {
    let endpoint = Echo::start("a").await;
    let process = "[process]\nworkers = 1\nmax-connections = 2\n";
    let weir = Weir::start(&format!("{process}{}", text("", &[endpoint.address], ""))).await;
    let [longest, other, third] = [client(&weir).await, client(&weir).await, client(&weir).await];
    assert_eq!(ask(&longest, "x").await, "ax");
    assert_eq!(ask(&other, "x").await, "ax");
    assert_eq!(ask(&third, "x").await, "ax");
    let own = longest.local_addr().unwrap().to_string();
    assert_eq!(weir.logged_where("the session", |line| line["protocol"] == "udp").await["client"], own.as_str());
    assert_eq!(weir.metric(SESSIONS).await, 2.0);
}

const SHORT: &str = "weir_short_of{resource=\"descriptors\"}";
const DROPPED: &str = "weir_datagrams_dropped_total{listener=\"udp\"}";

/// One worker that may have so many files, with a listener of each kind.
async fn with_files(most: u32, endpoint: &Echo) -> Weir {
    let text = format!("[process]\nworkers = 1\n{}{WEB}", text("", &[endpoint.address], ""));
    Setup::new(&text).launch(weir_with_files(most, &["run", "--config", "weir.toml"])).begun().await
}

#[tokio::test]
async fn sessions_leave_descriptors_to_connections() {
    let endpoint = Echo::start("a").await;
    let weir = with_files(160, &endpoint).await;
    let mut clients = Vec::new();
    for _ in 0..160 {
        let socket = client(&weir).await;
        socket.send(b"x").await.unwrap();
        clients.push(socket);
    }
    eventually("the end of descriptors", || async { (weir.metric(DROPPED).await >= 1.0).then_some(()) }).await;
    let mut connection = Raw::connect(weir.web()).await;
    for _ in 0..2 {
        connection.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
        let (head, body) = connection.response().await;
        assert!(body == "ok" && !head.to_lowercase().contains("connection: close"), "{head}");
    }
    assert_eq!(weir.metric(SHORT).await, 0.0, "sessions have what they may have, and connections have more");
    let left = weir.metric(SESSIONS).await;
    assert_eq!(ask(&client(&weir).await, "y").await, "ay", "once one that idles has made room");
    // A few at most: descriptors of other kinds, such as those of connections that ask for metrics, are counted once a
    // second only, and take the places of some.
    let now = weir.metric(SESSIONS).await;
    assert!((left - 8.0..=left).contains(&now), "few for one: {now} of {left}");
}

/// Connections may have descriptors that sessions may not: that these have none is no shortage of those.
#[tokio::test]
async fn a_datagram_closes_no_connection_while_connections_have_descriptors() {
    let endpoint = Echo::start("a").await;
    let weir = with_files(256, &endpoint).await;
    let mut connections = Vec::new();
    while weir.metric("process_open_fds").await < 205.0 {
        let mut connection = Raw::connect(weir.web()).await;
        connection.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
        assert_eq!(connection.response().await.1, "ok");
        connections.push(connection);
    }
    let socket = client(&weir).await;
    eventually("a datagram to be dropped", || async {
        socket.send(b"x").await.unwrap();
        (weir.metric(DROPPED).await >= 1.0).then_some(())
    })
    .await;
    assert_eq!(weir.metric(SHORT).await, 0.0);
    for connection in &mut connections {
        connection.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
        let (head, body) = connection.response().await;
        assert!(body == "ok" && !head.to_lowercase().contains("connection: close"), "{head}");
    }
    connections.truncate(100);
    assert_eq!(ask(&socket, "y").await, "ay", "once there are descriptors for sessions");
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

/// Refusals that are too many to be remembered have no line; what has been a session has one.
#[tokio::test]
async fn sessions_have_their_lines_however_many_lose_their_endpoint_at_once() {
    const MANY: usize = 1200;
    let endpoint = Echo::start("a").await;
    let process = "[process]\nworkers = 1\n";
    let weir =
        Weir::start(&format!("{process}{}", text("limits = { idle-timeout = \"3s\" }", &[endpoint.address], ""))).await;
    let mut clients = Vec::new();
    while clients.len() < MANY {
        let socket = client(&weir).await;
        assert_eq!(ask(&socket, "x").await, "ax");
        clients.push(socket);
    }
    let gone = endpoint.address;
    drop(endpoint);
    eventually("the socket to close", || async { UdpSocket::bind(gone).await.ok().map(drop) }).await;
    // The first is answered by ICMP, with the second nothing is left to be tried.
    for _ in 0..2 {
        for socket in &clients {
            socket.send(b"y").await.unwrap();
        }
    }
    let logged = RefCell::new(HashSet::new());
    let is_last = |line: &serde_json::Value| {
        let mut logged = logged.borrow_mut();
        if line["bytes_out"].as_u64().is_some_and(|octets| octets > 0) {
            logged.insert(line["client"].as_str().unwrap().to_owned());
        }
        logged.len() == MANY
    };
    weir.logged_where("every session", is_last).await;
}
