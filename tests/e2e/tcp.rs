//! Connections that pass as they are, and TLS that begins or ends on the way.

use std::net::SocketAddr;

use nix::sys::signal::Signal::SIGTERM;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use weir_preamble::{Header, proxy};

use super::harness::{Ca, Client, Raw, RawEndpoint, Reserved, Setup, Weir, eventually, soon};

/// Says its name, then gives back what it is given until the client has said all.
async fn echo(name: &'static str) -> RawEndpoint {
    RawEndpoint::start(move |raw, _| async move {
        let (mut read, mut write) = raw.stream.into_split();
        if write.write_all(name.as_bytes()).await.is_ok() && tokio::io::copy(&mut read, &mut write).await.is_ok() {
            let _ = write.shutdown().await;
        }
    })
    .await
}

/// A listener `tcp` with more to say, before a cluster with more to say.
fn text(listener: &str, endpoints: &[SocketAddr], cluster: &str) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    format!(
        r#"
        [listeners.tcp]
        address = "127.0.0.1:0"
        {listener}
        [clusters.db]
        endpoints = {endpoints:?}
        {cluster}
        "#
    )
}

const PLAIN: &str = "protocol = \"tcp\"\ncluster = \"db\"";

async fn connect(weir: &Weir) -> Raw {
    Raw::connect(weir.listener("tcp")).await
}

#[tokio::test]
async fn octets_pass_both_ways_and_make_one_line() {
    let endpoint = echo("a").await;
    let weir = Weir::start(&text(PLAIN, &[endpoint.address], "")).await;
    let mut raw = connect(&weir).await;
    let client = raw.stream.local_addr().unwrap().to_string();
    raw.until("a").await;
    raw.send("once").await;
    raw.until("once").await;
    raw.send("and again").await;
    raw.finish().await;
    assert_eq!(raw.rest().await, "and again");
    let line = weir.logged_where("the connection", |line| line["protocol"] == "tcp").await;
    assert_eq!((&line["client"], &line["listener"], &line["cluster"]), (&client.into(), &"tcp".into(), &"db".into()));
    assert_eq!((&line["bytes_in"], &line["bytes_out"], &line["status"]), (&13.into(), &14.into(), &200.into()));
    assert_eq!(line["endpoint"], endpoint.address.to_string());
    assert_eq!((&line["attempts"], line.get("error")), (&1.into(), None));
    assert!(line["first_byte_us"].as_u64() <= line["total_us"].as_u64());
    let series = "weir_requests_total{listener=\"tcp\",route=\"\",cluster=\"db\",status_class=\"2xx\"}";
    assert_eq!(weir.metric(series).await, 1.0);
    assert_eq!(
        weir.metric("weir_bytes_total{listener=\"tcp\",route=\"\",cluster=\"db\",direction=\"out\"}").await,
        14.0
    );
}

#[tokio::test]
async fn much_passes_whole_both_ways_at_once() {
    let endpoint = echo("").await;
    let weir = Weir::start(&text(PLAIN, &[endpoint.address], "")).await;
    let octets: Vec<u8> = (0..20_000_000_u32).map(|number| (number % 251) as u8).collect();
    let (mut read, mut write) = connect(&weir).await.stream.into_split();
    let mut got = Vec::new();
    let sending = async {
        write.write_all(&octets).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let (received, ()) = soon("it all", async { tokio::join!(read.read_to_end(&mut got), sending) }).await;
    received.unwrap();
    assert!(got == octets);
    let line = weir.logged_where("the connection", |line| line["protocol"] == "tcp").await;
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&20_000_000.into(), &20_000_000.into()));
}

#[tokio::test]
async fn a_silent_connection_ends_after_its_idle_timeout() {
    let endpoint = echo("a").await;
    let listener = format!("{PLAIN}\nlimits = {{ idle-timeout = \"200ms\" }}");
    let weir = Weir::start(&text(&listener, &[endpoint.address], "")).await;
    let mut raw = connect(&weir).await;
    assert_eq!(raw.rest().await, "a");
    let line = weir.logged_where("the connection", |line| line["protocol"] == "tcp").await;
    assert_eq!((&line["status"], &line["error"]), (&408.into(), &"idle for too long".into()));
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_passed_over() {
    let (refusing, endpoint) = (Reserved::new(), echo("a").await);
    let weir = Weir::start(&text(PLAIN, &[refusing.address, endpoint.address], "")).await;
    for _ in 0..4 {
        connect(&weir).await.until("a").await;
    }
    let line = weir.logged_where("two attempts", |line| line["attempts"] == 2).await;
    assert_eq!(line["endpoint"], endpoint.address.to_string());
    assert!(weir.metric("weir_retries_total{cluster=\"db\",reason=\"connect\"}").await >= 1.0);
}

#[tokio::test]
async fn a_connection_that_leads_nowhere_is_closed() {
    let refusing = Reserved::new();
    let weir = Weir::start(&text(PLAIN, &[refusing.address], "")).await;
    connect(&weir).await.closed().await;
    let line = weir.logged_where("the connection", |line| line["protocol"] == "tcp").await;
    assert_eq!(line["status"], 502);
    assert!(line["error"].as_str().unwrap().starts_with("connect: "), "{line}");
    let weir = Weir::start(&text("protocol = \"tcp\"", &[refusing.address], "")).await;
    connect(&weir).await.closed().await;
    let line = weir.logged_where("the connection", |line| line["protocol"] == "tcp").await;
    assert_eq!((&line["status"], &line["error"]), (&404.into(), &"no route".into()));
}

#[tokio::test]
async fn routes_tell_listeners_and_networks_apart() {
    let [a, b] = [echo("a").await, echo("b").await];
    let weir = Weir::start(&format!(
        r#"
        [listeners.one]
        address = "127.0.0.1:0"
        protocol = "tcp"
        [listeners.other]
        address = "127.0.0.1:0"
        protocol = "tcp"
        proxy-protocol = {{ accept = "optional", trusted = ["127.0.0.0/8"] }}
        [[routes]]
        name = "one"
        match = {{ listener = "one" }}
        cluster = "a"
        [[routes]]
        name = "near"
        match = {{ client = ["10.0.0.0/8", "127.0.0.0/8"] }}
        cluster = "b"
        [[routes]]
        name = "named"
        match = {{ sni = "a.test", alpn = "h2" }}
        cluster = "a"
        [clusters.a]
        endpoints = ["{}"]
        [clusters.b]
        endpoints = ["{}"]
        "#,
        a.address, b.address
    ))
    .await;
    Raw::connect(weir.listener("one")).await.until("a").await;
    let said = |header: Vec<u8>| async {
        let mut raw = Raw::connect(weir.listener("other")).await;
        raw.send([header, b"?".to_vec()].concat()).await;
        raw.finish().await;
        raw.rest().await
    };
    assert_eq!(said(Vec::new()).await, "b?");
    assert_eq!(said(b"PROXY TCP4 10.1.2.3 10.1.2.4 1 2\r\n".to_vec()).await, "b?");
    assert_eq!(said(b"PROXY TCP4 192.0.2.3 10.1.2.4 1 2\r\n".to_vec()).await, "");
    let addresses = proxy::Addresses {
        transport: proxy::Transport::Stream,
        source: "192.0.2.3:1".parse().unwrap(),
        destination: "192.0.2.4:2".parse().unwrap(),
    };
    let tlvs = proxy::Tlvs { authority: Some("a.test".into()), alpn: Some(b"h2".to_vec()), ..Default::default() };
    assert_eq!(said(Header::of(proxy::Version::V2, addresses, tlvs).octets()).await, "a?");
    let line = weir.logged_where("the name", |line| line["route"] == "named").await;
    assert_eq!((&line["client"], &line["host"]), (&"192.0.2.3:1".into(), &"a.test".into()));
}

#[tokio::test]
async fn an_endpoint_is_told_of_the_client() {
    let endpoint = echo("").await;
    let weir = Weir::start(&text(PLAIN, &[endpoint.address], "send-proxy-protocol = \"v1\"")).await;
    let mut raw = connect(&weir).await;
    let (client, own) = (raw.stream.local_addr().unwrap(), raw.stream.peer_addr().unwrap());
    let header = raw.until("\r\n").await;
    assert_eq!(header, format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", client.port(), own.port()));
}

#[tokio::test]
async fn a_reset_of_either_side_reaches_the_other() {
    let endpoint = RawEndpoint::start(|mut raw, number| async move {
        raw.send("a").await;
        if number == 0 {
            raw.until("!").await;
            raw.stream.set_zero_linger().unwrap();
        } else {
            assert_eq!(raw.rest().await, "");
        }
    })
    .await;
    let weir = Weir::start(&text(PLAIN, &[endpoint.address], "")).await;
    let mut raw = connect(&weir).await;
    raw.until("a").await;
    raw.send("!").await;
    assert_eq!(raw.rest().await, "");
    weir.logged_where("the endpoint's reset", |line| line["status"] == 502).await;
    let mut raw = connect(&weir).await;
    raw.until("a").await;
    raw.stream.set_zero_linger().unwrap();
    drop(raw);
    weir.logged_where("the client's reset", |line| line["status"] == 499).await;
}

#[tokio::test]
async fn a_connection_survives_a_reload_that_takes_its_listener_away() {
    let endpoint = echo("a").await;
    let mut weir = Weir::start(&text(PLAIN, &[endpoint.address], "")).await;
    let mut raw = connect(&weir).await;
    raw.until("a").await;
    let other = text(PLAIN, &[endpoint.address], "").replace("listeners.tcp", "listeners.renamed");
    weir.reload(&other).await.unwrap();
    Raw::connect(weir.listener("renamed")).await.until("a").await;
    raw.send("still").await;
    raw.until("still").await;
}

#[tokio::test]
async fn a_connection_goes_on_through_a_drain_until_it_is_cut() {
    let endpoint = echo("a").await;
    let grace = "[process]\nworkers = 2\nshutdown-grace = \"500ms\"";
    let mut weir = Weir::start(&format!("{grace}\n{}", text(PLAIN, &[endpoint.address], ""))).await;
    let mut raw = connect(&weir).await;
    raw.until("a").await;
    weir.signal(SIGTERM);
    weir.said("draining").await;
    raw.send("still").await;
    raw.until("still").await;
    assert_eq!(raw.rest().await, "");
    assert_eq!(weir.ended().await.code(), Some(0));
    assert_eq!(weir.said("ended").await["clean"], false);
    let line = weir.logged_where("the connection", |line| line["protocol"] == "tcp").await;
    assert_eq!((&line["error"], &line["bytes_in"]), (&"cut at shutdown".into(), &5.into()));
}

#[tokio::test]
async fn a_drain_waits_for_a_connection_that_ends() {
    let endpoint = echo("a").await;
    let mut weir = Weir::start(&text(PLAIN, &[endpoint.address], "")).await;
    let mut raw = connect(&weir).await;
    raw.until("a").await;
    weir.signal(SIGTERM);
    weir.said("draining").await;
    raw.send("last").await;
    raw.finish().await;
    assert_eq!(raw.rest().await, "last");
    assert_eq!(weir.ended().await.code(), Some(0));
    assert_eq!(weir.said("ended").await["clean"], true);
}

#[tokio::test]
async fn a_tunnel_counts_as_load_of_its_endpoint() {
    let [a, b] = [echo("a").await, echo("b").await];
    let weir = Weir::start(&text(PLAIN, &[a.address, b.address], "balance = \"least-request\"")).await;
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(connect(&weir).await);
        open.last_mut().unwrap().exactly(1).await;
    }
    assert_eq!((a.connections(), b.connections()), (10, 10));
    let of = |address: SocketAddr| format!("weir_endpoint_in_flight{{cluster=\"db\",endpoint=\"{address}\"}}");
    assert_eq!(weir.metric(&of(a.address)).await, 10.0);
    drop(open);
    eventually("the load to end", || async { (weir.metric(&of(a.address)).await == 0.0).then_some(()) }).await;
}

#[tokio::test]
async fn tls_ends_before_the_endpoint() {
    let (ca, endpoint) = (Ca::new(), echo("a").await);
    let listener = "protocol = \"tls\"\ncluster = \"db\"\n\
                    tls = { certificates = [{ cert = \"a.pem\", key = \"a.key\" }], alpn = [\"echo\"] }";
    let setup = Setup::new(&text(listener, &[endpoint.address], "")).certificate("a", &ca.issue(&["a.test"]));
    let weir = setup.start().await;
    let mut stream = Client::handshake(weir.listener("tcp"), ca.client(&["other", "echo"]), "a.test").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"echo"[..]));
    let octets = vec![7; 1_000_000];
    stream.write_all(&octets).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut got = Vec::new();
    soon("it all", stream.read_to_end(&mut got)).await.unwrap();
    assert!(got == [b"a".to_vec(), octets].concat());
    let line = weir.logged_where("the connection", |line| line["protocol"] == "tls").await;
    assert_eq!((&line["host"], &line["bytes_in"]), (&"a.test".into(), &1_000_000.into()));
    let mut plain = connect(&weir).await;
    plain.send("GET / HTTP/1.1\r\n\r\n").await;
    assert!(!plain.rest().await.contains('a'));
    weir.logged_where("the handshake", |line| line["error"] == "TLS handshake failed" && line["status"] == 400).await;
}

#[tokio::test]
async fn tls_may_begin_before_the_endpoint() {
    let ca = Ca::new();
    let acceptor = TlsAcceptor::from(ca.issue(&["db.test"]).server(&["postgresql"]));
    let endpoint = RawEndpoint::start(move |raw, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(raw.stream).await else { return };
            assert_eq!(stream.get_ref().1.alpn_protocol(), None);
            let (mut read, mut write) = tokio::io::split(stream);
            drop(tokio::io::copy(&mut read, &mut write).await);
            drop(write.shutdown().await);
        }
    })
    .await;
    let setup = Setup::new(&text(PLAIN, &[endpoint.address], "tls = { ca = \"ca.pem\", sni = \"db.test\" }"));
    let weir = setup.file("ca.pem", ca.pem()).start().await;
    let mut raw = connect(&weir).await;
    raw.send("a".repeat(100_000)).await;
    raw.finish().await;
    assert_eq!(raw.rest().await.len(), 100_000);
    let line = weir.logged_where("the connection", |line| line["protocol"] == "tcp").await;
    assert!(line["tls_us"].as_u64().unwrap() > 0, "{line}");
}

#[tokio::test]
async fn an_endpoint_takes_no_more_connections_than_it_may() {
    let endpoint = echo("a").await;
    let cluster = "limits = { endpoint-requests = 1 }\nqueue = { length = 0 }";
    let weir = Weir::start(&text(PLAIN, &[endpoint.address], cluster)).await;
    let mut first = connect(&weir).await;
    first.until("a").await;
    connect(&weir).await.closed().await;
    let line = weir.logged_where("the second", |line| line["status"] == 503).await;
    assert_eq!(line["attempts"], 0);
    drop(first);
    eventually("room again", || async {
        (connect(&weir).await.stream.read_u8().await.ok() == Some(b'a')).then_some(())
    })
    .await;
}

async fn waiting(weir: &Weir, number: f64) {
    let found = || async { (weir.metric("weir_queue_waiting{cluster=\"db\"}").await == number).then_some(()) };
    eventually(&format!("{number} connections to wait"), found).await;
}

#[tokio::test]
async fn a_connection_waits_for_room() {
    let endpoint = echo("a").await;
    let cluster = "limits = { endpoint-connections = 1 }\nqueue = { timeout = \"20s\" }";
    let weir = Weir::start(&text(PLAIN, &[endpoint.address], cluster)).await;
    let mut first = connect(&weir).await;
    first.until("a").await;
    let mut second = connect(&weir).await;
    waiting(&weir, 1.0).await;
    let leaves = connect(&weir).await;
    waiting(&weir, 2.0).await;
    leaves.stream.set_zero_linger().unwrap();
    drop(leaves);
    waiting(&weir, 1.0).await;
    assert_eq!(endpoint.connections(), 1);
    drop(first);
    second.until("a").await;
    second.send("still here").await;
    second.until("still here").await;
    drop(second);
    let line = weir.logged_where("the one that waited", |line| line["status"] == 200 && line["queue_us"] != 0).await;
    assert_eq!(line["bytes_in"], 10);
    assert_eq!(weir.logged_where("the one that left", |line| line["status"] == 499).await["error"], "client left");
}

#[tokio::test]
async fn a_connection_that_waits_in_vain_is_closed() {
    let endpoint = echo("a").await;
    let cluster = "limits = { connections = 1 }\nqueue = { timeout = \"100ms\" }";
    let weir = Weir::start(&text(PLAIN, &[endpoint.address], cluster)).await;
    let mut first = connect(&weir).await;
    first.until("a").await;
    connect(&weir).await.closed().await;
    let line = weir.logged_where("the second", |line| line["status"] == 503).await;
    assert_eq!((&line["error"], &line["attempts"]), (&"waited too long in the queue".into(), &0.into()));
    first.send("on").await;
    first.until("on").await;
}

#[tokio::test]
async fn a_client_stays_where_it_was() {
    let [a, b] = [echo("a").await, echo("b").await];
    let weir = Weir::start(&text(PLAIN, &[a.address, b.address], "affinity = { source-ip = true }")).await;
    let mut names = Vec::new();
    for _ in 0..6 {
        names.push(connect(&weir).await.exactly(1).await);
    }
    names.dedup();
    assert_eq!(names.len(), 1, "{names:?}");
    weir.logged_where("a session", |line| line["affinity"] == "hit").await;
}

/// A listener and clusters `a` and `b`, with this route between them.
fn shared(protocol: &str, route: &str, endpoints: [SocketAddr; 2]) -> String {
    let [a, b] = endpoints;
    format!(
        "[listeners.tcp]\naddress = \"127.0.0.1:0\"\nprotocol = \"{protocol}\"\n[[routes]]\nname = \"r\"\n{route}\n\
         [clusters.a]\nendpoints = [\"{a}\"]\n[clusters.b]\nendpoints = [\"{b}\"]\n"
    )
}

/// Which endpoints so many connections meet.
async fn met(weir: &Weir, number: usize) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    for _ in 0..number {
        names.push(connect(weir).await.exactly(1).await);
    }
    names.sort();
    names.dedup();
    names
}

#[tokio::test]
async fn clusters_share_connections() {
    let [a, b] = [echo("a").await, echo("b").await];
    let text = |route| shared("tcp", route, [a.address, b.address]);
    let mut weir = Weir::start(&text("split = { a = 1, b = 1 }")).await;
    assert_eq!(met(&weir, 40).await, [b"a", b"b"]);
    weir.reload(&text("split = { a = 1, b = 1 }\nsplit-key = \"source-ip\"")).await.unwrap();
    assert_eq!(met(&weir, 10).await.len(), 1, "one client, one cluster");
    weir.reload(&text("split = { a = 0, b = 1 }")).await.unwrap();
    assert_eq!(met(&weir, 5).await, [b"b"]);
    assert!(
        weir.metric("weir_requests_total{listener=\"tcp\",route=\"r\",cluster=\"b\",status_class=\"2xx\"}").await > 0.0
    );
}

#[tokio::test]
async fn connections_may_move_to_another_cluster_step_by_step() {
    let [a, b] = [echo("a").await, echo("b").await];
    let route = "rollout = { from = \"a\", to = \"b\", steps = [50, 100], interval = \"1h\", min-requests = 10 }";
    let weir = Weir::start(&shared("tcp", route, [a.address, b.address])).await;
    assert_eq!(met(&weir, 40).await, [b"a", b"b"]);
    eventually("connections to be counted", || async {
        let rollouts = weir.command(http::Method::GET, "/v1/rollouts", "").await.json();
        (rollouts["rollouts"][0]["to"]["requests"].as_u64() > Some(0)).then_some(())
    })
    .await;
    assert_eq!(weir.command(http::Method::POST, "/v1/rollouts/r/rollback", "").await.status, 200);
    assert_eq!(met(&weir, 10).await, [b"a"]);
}
