//! Datagrams: sessions by the client's address, where they lead, and how they end.

mod reloads;
mod room;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use nix::sys::signal::Signal::SIGTERM;
use tokio::{net::UdpSocket, task::JoinHandle};
use weir_preamble::proxy;

use super::harness::{Raw, Weir, eventually, soon};

/// Senders, each with its first datagram.
type Heard = Vec<(SocketAddr, Vec<u8>)>;

/// Gives back each datagram behind its name, and keeps the first of each sender.
struct Echo {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

impl Echo {
    async fn start(name: &'static str) -> Echo {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, heard) = (socket.local_addr().unwrap(), Arc::<Mutex<Heard>>::default());
        let kept = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            let mut octets = vec![0; 65_536];
            while let Ok((length, from)) = socket.recv_from(&mut octets).await {
                if !kept.lock().unwrap().iter().any(|(known, _)| *known == from) {
                    kept.lock().unwrap().push((from, octets[..length].to_vec()));
                }
                let _ = socket.send_to(&[name.as_bytes(), &octets[..length]].concat(), from).await;
            }
        });
        Echo { address, heard, task }
    }

    fn sessions(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn text(listener: &str, endpoints: &[SocketAddr], cluster: &str) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    format!(
        r#"
        [listeners.udp]
        address = "127.0.0.1:0"
        protocol = "udp"
        cluster = "c"
        {listener}
        [clusters.c]
        endpoints = {endpoints:?}
        {cluster}
        "#
    )
}

async fn client(weir: &Weir) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(weir.listener("udp")).await.unwrap();
    socket
}

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut octets = vec![0; 65_536];
    let length = soon("a datagram", socket.recv(&mut octets)).await.unwrap();
    octets.truncate(length);
    octets
}

/// Sends until something comes back: a datagram may get lost.
async fn ask(socket: &UdpSocket, said: &str) -> String {
    let answer = eventually("an answer", || async {
        let _ = socket.send(said.as_bytes()).await;
        let mut octets = vec![0; 65_536];
        let length = tokio::time::timeout(Duration::from_millis(500), socket.recv(&mut octets)).await.ok()?.ok()?;
        octets.truncate(length);
        Some(octets)
    });
    String::from_utf8(answer.await).unwrap()
}

#[tokio::test]
async fn a_session_is_one_clients_and_makes_one_line() {
    let endpoint = Echo::start("a").await;
    let weir = Weir::start(&text("limits = { idle-timeout = \"500ms\" }", &[endpoint.address], "")).await;
    let socket = client(&weir).await;
    for number in 0..5 {
        socket.send(format!("{number}").as_bytes()).await.unwrap();
        assert_eq!(receive(&socket).await, format!("a{number}").into_bytes());
    }
    socket.send(b"").await.unwrap();
    assert_eq!(receive(&socket).await, b"a");
    assert_eq!(endpoint.sessions(), 1);
    assert_eq!(weir.metric("weir_connections{listener=\"udp\"}").await, 1.0);
    let line = weir.logged_where("the session", |line| line["protocol"] == "udp").await;
    assert_eq!(line["client"], socket.local_addr().unwrap().to_string());
    assert_eq!((&line["bytes_in"], &line["bytes_out"], &line["status"]), (&5.into(), &11.into(), &200.into()));
    assert_eq!((&line["endpoint"], &line["cluster"]), (&endpoint.address.to_string().into(), &"c".into()));
    assert!(line.get("error").is_none(), "{line}");
    assert_eq!(weir.metric("weir_connections{listener=\"udp\"}").await, 0.0);
    // The same client again is another session.
    socket.send(b"x").await.unwrap();
    assert_eq!(receive(&socket).await, b"ax");
    assert_eq!(endpoint.sessions(), 2);
}

#[tokio::test]
async fn sessions_are_spread_and_stay() {
    let [a, b] = [Echo::start("a").await, Echo::start("b").await];
    let one_worker = "[process]\nworkers = 1\n";
    let weir = Weir::start(&format!("{one_worker}{}", text("", &[a.address, b.address], ""))).await;
    let mut names = Vec::new();
    for _ in 0..10 {
        let socket = client(&weir).await;
        let name = ask(&socket, "").await;
        for _ in 0..3 {
            assert_eq!(ask(&socket, "").await, name);
        }
        names.push(name);
    }
    assert_eq!(names.iter().filter(|name| *name == "a").count(), 5, "{names:?}");
}

#[tokio::test]
async fn every_length_passes_and_bursts_do() {
    let endpoint = Echo::start("a").await;
    let weir = Weir::start(&text("", &[endpoint.address], "")).await;
    let socket = client(&weir).await;
    for length in [1, 1_400, 1_500, 9_000, 65_506] {
        let octets = vec![7; length];
        socket.send(&octets).await.unwrap();
        assert!(receive(&socket).await == [b"a".to_vec(), octets].concat(), "{length}");
    }
    for round in 0..10_u8 {
        for number in 0..50_u8 {
            socket.send(&[round, number]).await.unwrap();
        }
        for number in 0..50_u8 {
            assert_eq!(receive(&socket).await, [b'a', round, number], "in order");
        }
    }
}

#[tokio::test]
async fn many_clients_at_once_are_told_apart() {
    let endpoint = Echo::start("a").await;
    let weir = Arc::new(Weir::start(&text("", &[endpoint.address], "")).await);
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..100)
        .map(|number| {
            let (weir, answered) = (Arc::clone(&weir), Arc::clone(&answered));
            tokio::spawn(async move {
                let socket = client(&weir).await;
                for turn in 0..5 {
                    let said = format!("{number} {turn}");
                    assert_eq!(ask(&socket, &said).await, format!("a{said}"));
                }
                answered.fetch_add(1, SeqCst);
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(answered.load(SeqCst), 100);
    assert_eq!(endpoint.sessions(), 100);
}

#[tokio::test]
async fn a_session_moves_from_an_endpoint_that_is_gone() {
    let [a, b] = [Echo::start("a").await, Echo::start("b").await];
    let text = text("limits = { idle-timeout = \"1s\" }", &[a.address, b.address], "");
    let weir = Weir::start(&text).await;
    let mut sockets = Vec::new();
    while !sockets.iter().any(|(_, name)| name == "a") {
        let socket = client(&weir).await;
        let name = ask(&socket, "").await;
        sockets.push((socket, name));
    }
    let (socket, _) = sockets.into_iter().find(|(_, name)| name == "a").unwrap();
    let gone = a.address;
    a.task.abort();
    // The system tells of a socket that is closed.
    eventually("the socket to close", || async { UdpSocket::bind(gone).await.ok().map(drop) }).await;
    eventually("the other endpoint", || async { (ask(&socket, "").await == "b").then_some(()) }).await;
    let own = socket.local_addr().unwrap().to_string();
    let line = weir.logged_where("the session", |line| line["client"] == own.as_str()).await;
    assert_eq!((&line["attempts"], &line["endpoint"]), (&2.into(), &b.address.to_string().into()));
}

#[tokio::test]
async fn there_is_room_for_so_many_sessions() {
    let endpoint = Echo::start("a").await;
    let weir =
        Weir::start(&text("limits = { connections = 2, idle-timeout = \"300ms\" }", &[endpoint.address], "")).await;
    let [one, other, third] = [client(&weir).await, client(&weir).await, client(&weir).await];
    assert_eq!((ask(&one, "").await, ask(&other, "").await), ("a".into(), "a".into()));
    third.send(b"x").await.unwrap();
    let dropped =
        || async { (weir.metric("weir_datagrams_dropped_total{listener=\"udp\"}").await >= 1.0).then_some(()) };
    eventually("a datagram to be dropped", dropped).await;
    assert_eq!(ask(&third, "").await, "a", "once another is over");
}

#[tokio::test]
async fn a_session_that_leads_nowhere_says_so() {
    let nowhere = text("limits = { idle-timeout = \"300ms\" }", &["127.0.0.1:9".parse().unwrap()], "");
    let weir = Weir::start(&nowhere.replace("cluster = \"c\"", "")).await;
    client(&weir).await.send(b"x").await.unwrap();
    let line = weir.logged_where("the session", |line| line["protocol"] == "udp").await;
    assert_eq!((&line["status"], &line["error"]), (&404.into(), &"no route".into()));
}

#[tokio::test]
async fn the_first_datagram_names_the_client() {
    let endpoint = Echo::start("").await;
    let weir = Weir::start(&text("", &[endpoint.address], "send-proxy-protocol = \"v2\"")).await;
    let socket = client(&weir).await;
    socket.send(b"first").await.unwrap();
    receive(&socket).await;
    socket.send(b"second").await.unwrap();
    assert_eq!(receive(&socket).await, b"second");
    let first = endpoint.heard.lock().unwrap()[0].1.clone();
    let (header, length) = proxy::read(&first).unwrap().unwrap();
    let addresses = header.addresses.unwrap();
    assert_eq!(addresses.transport, proxy::Transport::Datagram);
    assert_eq!((addresses.source, addresses.destination), (socket.local_addr().unwrap(), weir.listener("udp")));
    assert_eq!(&first[length..], b"first");
}

#[tokio::test]
async fn a_drain_lets_sessions_end() {
    let endpoint = Echo::start("a").await;
    let mut weir = Weir::start(&text("", &[endpoint.address], "")).await;
    let socket = client(&weir).await;
    assert_eq!(ask(&socket, "x").await, "ax");
    weir.signal(SIGTERM);
    assert_eq!(weir.ended().await.code(), Some(0));
    assert_eq!(weir.said("ended").await["clean"], true);
    let line = weir.logged_where("the session", |line| line["protocol"] == "udp").await;
    assert_eq!((&line["status"], &line["bytes_in"]), (&200.into(), &1.into()));
}

#[tokio::test]
async fn a_reload_changes_where_new_sessions_lead() {
    let [a, b] = [Echo::start("a").await, Echo::start("b").await];
    let mut weir = Weir::start(&text("", &[a.address], "")).await;
    let socket = client(&weir).await;
    assert_eq!(ask(&socket, "").await, "a");
    weir.reload(&text("", &[b.address], "")).await.unwrap();
    assert_eq!(ask(&client(&weir).await, "").await, "b");
}

#[tokio::test]
async fn an_address_in_use_is_a_fault() {
    let endpoint = Echo::start("a").await;
    let taken = Echo::start("b").await;
    let text = text("", &[endpoint.address], "").replace("127.0.0.1:0", &taken.address.to_string());
    let ended = super::harness::Setup::new(&text).run();
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ended.stderr).contains(&taken.address.to_string()));
}

#[tokio::test]
async fn sessions_keep_to_the_limits_of_their_cluster() {
    let [one, two] = [Echo::start("a").await, Echo::start("b").await];
    let cluster = "limits = { endpoint-requests = 1 }\nbalance = \"first\"";
    let weir = Weir::start(&text("", &[one.address, two.address], cluster)).await;
    let mut clients = Vec::new();
    for name in ["a", "b"] {
        let socket = client(&weir).await;
        socket.send(b"1").await.unwrap();
        assert_eq!(receive(&socket).await, format!("{name}1").as_bytes());
        clients.push(socket);
    }
    let third = client(&weir).await;
    third.send(b"1").await.unwrap();
    let dropped = "weir_datagrams_dropped_total{listener=\"udp\"}";
    eventually("a drop", || async { (weir.metric(dropped).await == 1.0).then_some(()) }).await;
    assert_eq!((one.sessions(), two.sessions()), (1, 1));
    clients[1].send(b"2").await.unwrap();
    assert_eq!(receive(&clients[1]).await, b"b2");
}

#[tokio::test]
async fn clusters_share_sessions() {
    let [one, two] = [Echo::start("a").await, Echo::start("b").await];
    let weir = Weir::start(&format!(
        "[listeners.udp]\naddress = \"127.0.0.1:0\"\nprotocol = \"udp\"\n\
         [[routes]]\nname = \"r\"\nsplit = {{ one = 1, two = 1 }}\n\
         [clusters.one]\nendpoints = [\"{}\"]\n[clusters.two]\nendpoints = [\"{}\"]\n",
        one.address, two.address
    ))
    .await;
    // They stay open: a port that is given again would be the same client.
    let mut clients = Vec::new();
    for _ in 0..30 {
        let socket = client(&weir).await;
        socket.send(b"1").await.unwrap();
        let first = receive(&socket).await;
        socket.send(b"1").await.unwrap();
        assert_eq!(receive(&socket).await, first, "a session stays where it is");
        clients.push(socket);
    }
    assert!(one.sessions() > 0 && two.sessions() > 0);
    assert_eq!(one.sessions() + two.sessions(), 30);
}

/// Connections that idle make room for a session, as for another connection.
#[tokio::test]
async fn who_idles_makes_room_for_a_session() {
    let endpoint = Echo::start("a").await;
    let weir = Weir::start(&format!(
        "[process]\nworkers = 2\nmax-connections = 1\n{}\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"all\"\nrespond = {{ body = \"ok\" }}\n",
        text("", &[endpoint.address], "")
    ))
    .await;
    let mut idle = Raw::connect(weir.web()).await;
    idle.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    assert_eq!(idle.response().await.1, "ok");
    assert_eq!(ask(&client(&weir).await, "x").await, "ax");
    idle.closed().await;
    assert_eq!(weir.said("running short: connections that idle are closed").await["of"], "connections");
}
