//! Sessions of TLS that go on: with clients over reloads and other instances, and with endpoints.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::Method;
use rustls::{ClientConfig, HandshakeKind, client::Tls12Resumption};
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_rustls::client::TlsStream;

use super::harness::{
    Ca, Certificate, Client, Endpoint, Raw, Setup,
    TimeFromNow::{Ago, In},
    Weir, empty, eventually, get, request, soon, until,
};

fn text(tls: &str, body: &str) -> String {
    format!(
        "[listeners.secure]\naddress = \"127.0.0.1:0\"\n[listeners.secure.tls]\n\
         certificates = [{{ cert = \"a.pem\", key = \"a.key\" }}]\n{tls}\n\
         [[routes]]\nname = \"all\"\nrespond = {{ body = \"{body}\" }}\n"
    )
}

fn setup(certificate: &Certificate, tls: &str) -> Setup {
    Setup::new(&text(tls, "ok")).certificate("a", certificate)
}

/// One exchange by this client; whether it went on with a session of its.
async fn resumes(weir: &Weir, client: &Arc<ClientConfig>) -> bool {
    let stream = Client::handshake(weir.listener("secure"), Arc::clone(client), "a.test").await.unwrap();
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    assert!(Client::over(stream).await.get("/").await.text().starts_with("ok"));
    kind == HandshakeKind::Resumed
}

const KEY: &str = "d2VpcndlaXJ3ZWlyd2VpcndlaXJ3ZWlyd2VpcndlaXJ3ZWlyd2VpcndlaXJ3ZWly\n";
const OTHER: &str = "d2VpcldFSVJ3ZWlyd2VpcndlaXJ3ZWlyd2VpcndlaXJ3ZWlyd2VpcndlaXJ3ZWly\n";

#[tokio::test]
async fn a_client_comes_back_also_after_a_reload() {
    let ca = Ca::new();
    let mut weir = setup(&ca.issue(&["a.test"]), "").start().await;
    let client = ca.client(&["http/1.1"]);
    assert!(!resumes(&weir, &client).await && resumes(&weir, &client).await);
    weir.reload(&text("", "ok again")).await.unwrap();
    assert!(resumes(&weir, &client).await);
    assert!(!resumes(&weir, &ca.client(&["http/1.1"])).await);
    let handshakes = |kind| format!("weir_tls_handshakes_total{{listener=\"secure\",kind=\"{kind}\"}}");
    assert_eq!(weir.metric(&handshakes("full")).await, 2.0);
    assert_eq!(weir.metric(&handshakes("resumed")).await, 2.0);
}

#[tokio::test]
async fn instances_with_the_same_keys_take_each_others_sessions() {
    let ca = Ca::new();
    let certificate = ca.issue(&["a.test"]);
    let keyed = |keys: &str| setup(&certificate, "ticket-keys = \"tickets.key\"").file("tickets.key", keys).start();
    let (one, other, stranger) = (keyed(KEY).await, keyed(KEY).await, keyed(OTHER).await);
    let client = ca.client(&["http/1.1"]);
    assert!(!resumes(&one, &client).await);
    assert!(resumes(&other, &client).await);
    assert!(!resumes(&stranger, &client).await);
}

#[tokio::test]
async fn keys_are_rotated_while_sessions_go_on() {
    let ca = Ca::new();
    let setup = setup(&ca.issue(&["a.test"]), "ticket-keys = \"tickets.key\"").file("tickets.key", KEY);
    let weir = setup.start().await;
    let client = ca.client(&["http/1.1"]);
    assert!(!resumes(&weir, &client).await);
    let before = weir.snapshot().await;
    weir.write("tickets.key", format!("{OTHER}{KEY}"));
    weir.after(before).await;
    assert!(resumes(&weir, &client).await, "the former key still decrypts");
    let before = weir.snapshot().await;
    weir.write("tickets.key", OTHER);
    weir.after(before).await;
    assert!(resumes(&weir, &client).await, "the ticket of the last time is by the key that stays");
    weir.write("tickets.key", "no key");
    let faults = weir.said("configuration refused, the former one goes on").await;
    assert!(faults["faults"].as_str().unwrap().contains("tickets.key: line 1 is no key"), "{faults}");
    assert!(resumes(&weir, &client).await);
}

#[tokio::test]
async fn a_session_is_not_a_way_around_other_authorities() {
    let (ca, other) = (Ca::new(), Ca::new());
    let server = ca.issue(&["a.test"]);
    let auth = |clients: &Ca| {
        let tls = "ticket-keys = \"tickets.key\"\nclient-auth = { ca = \"clients.pem\" }";
        setup(&server, tls).file("tickets.key", KEY).file("clients.pem", clients.pem()).start()
    };
    let (one, same, strict) = (auth(&ca).await, auth(&ca).await, auth(&other).await);
    let client = ca.client_with(&["http/1.1"], &ca.issue_client(&[], vec![], 7));
    assert!(!resumes(&one, &client).await && resumes(&same, &client).await);
    let stream = Client::handshake(strict.listener("secure"), client, "a.test").await;
    if let Ok(stream) = stream {
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert!(is_cut(stream).await);
    }
    let refused = "weir_tls_handshake_failures_total{listener=\"secure\",reason=\"bad-certificate\"}";
    eventually("the refusal", || async { (strict.metric(refused).await == 1.0).then_some(()) }).await;
}

/// Whether a client gets an answer.
async fn gets_in(address: SocketAddr, client: &Arc<ClientConfig>) -> bool {
    let Ok(stream) = Client::handshake(address, Arc::clone(client), "a.test").await else { return false };
    Client::over(stream).await.try_ask(request(Method::GET, "/").body(empty()).unwrap()).await.is_ok()
}

#[tokio::test]
async fn a_session_ends_with_the_certificate_of_its_client() {
    let ca = Ca::new();
    let tls = "ticket-keys = \"tickets.key\"\nclient-auth = { ca = \"clients.pem\" }";
    let setup = setup(&ca.issue(&["a.test"]), tls).file("tickets.key", KEY).file("clients.pem", ca.pem());
    let weir = setup.start().await;
    let span = Duration::from_secs(6);
    let shown = ca.issue_valid(&["client.test"], Ago(span), In(span));
    // Times of certificates are whole seconds, of which the last one still counts.
    let end = SystemTime::now() + span + Duration::from_secs(1);
    let clients = [
        ca.client_with(&["http/1.1"], &shown),
        ca.old_client_with(&shown, Tls12Resumption::SessionIdOrTickets),
        ca.old_client_with(&shown, Tls12Resumption::SessionIdOnly),
    ];
    for client in &clients {
        assert!(!resumes(&weir, client).await && resumes(&weir, client).await && resumes(&weir, client).await);
    }
    until("the end of the certificate", || SystemTime::now() > end).await;
    for client in &clients {
        assert!(!gets_in(weir.listener("secure"), client).await && !gets_in(weir.listener("secure"), client).await);
    }
    let refused = "weir_tls_handshake_failures_total{listener=\"secure\",reason=\"bad-certificate\"}";
    eventually("the refusals", || async { (weir.metric(refused).await == 6.0).then_some(()) }).await;
}

#[tokio::test]
async fn handshakes_that_fail_are_counted_by_reason() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let tls = "client-auth = { ca = \"clients.pem\" }\nmin-version = \"1.3\"";
    let limits = "[listeners.secure.limits]\nheader-timeout = \"300ms\"\n[[routes]]";
    let text = text(tls, "ok").replace("[[routes]]", limits);
    let setup = Setup::new(&text).certificate("a", &ca.issue(&["a.test"])).file("clients.pem", ca.pem());
    let weir = setup.start().await;
    let address = weir.listener("secure");
    let shown = ca.issue_client(&[], vec![], 7);
    let unverified = stranger.issue_client(&[], vec![], 7);
    let silent = Raw::connect(address).await;
    drop(Raw::connect(address).await);
    Raw::connect(address).await.send("GET / HTTP/1.1\r\n\r\n").await;
    for config in [ca.client(&[]), ca.client_with(&[], &unverified), stranger.client_with(&[], &shown), ca.old_client()]
    {
        if let Ok(stream) = Client::handshake(address, config, "a.test").await {
            assert!(is_cut(stream).await);
        }
    }
    for reason in ["timeout", "closed", "malformed", "no-certificate", "bad-certificate", "refused", "incompatible"] {
        let series = format!("weir_tls_handshake_failures_total{{listener=\"secure\",reason=\"{reason}\"}}");
        eventually(reason, || async { (weir.metric(&series).await == 1.0).then_some(()) }).await;
    }
    drop(silent);
}

#[tokio::test]
async fn clients_without_a_common_protocol_are_incompatible() {
    let ca = Ca::new();
    let weir = setup(&ca.issue(&["a.test"]), "").start().await;
    assert!(Client::handshake(weir.listener("secure"), ca.client(&["smtp"]), "a.test").await.is_err());
    let series = "weir_tls_handshake_failures_total{listener=\"secure\",reason=\"incompatible\"}";
    eventually("the count", || async { (weir.metric(series).await == 1.0).then_some(()) }).await;
}

/// Whether the other side ends what it has agreed on, as it does with a client that has to prove more in TLS 1.3.
async fn is_cut(mut stream: TlsStream<TcpStream>) -> bool {
    soon("the end", stream.read(&mut [0])).await.map_or(true, |octets| octets == 0)
}

fn cluster(endpoint: SocketAddr, tls: &str, more: &str) -> String {
    format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"web\"\ncluster = \"web\"\n{more}\
         [clusters.web]\nendpoints = [\"{endpoint}\"]\ntls = {{ {tls} }}\n[process]\nworkers = 1\n"
    )
}

const TRUST: &str = r#"ca = "ca.pem", sni = "endpoint.test""#;

#[tokio::test]
async fn endpoints_are_shown_who_we_are() {
    let (ca, clients) = (Ca::new(), Ca::new());
    let server = ca.issue(&["endpoint.test"]);
    let endpoint = Endpoint::start_with("one", server.server_for(&["http/1.1"], &clients)).await;
    let shown = format!("{TRUST}, cert = \"us.pem\", key = \"us.key\"");
    let health = "health = { http = { path = \"/health\" }, interval = \"20ms\", fast-interval = \"20ms\", timeout = \"10s\", initial = \"unhealthy\" }\n";
    let text = cluster(endpoint.address, &shown, "").replace("[process]", &format!("{health}[process]"));
    let us = clients.issue_client(&[], vec![], 1);
    let mut weir = Setup::new(&text).file("ca.pem", ca.pem()).certificate("us", &us).start().await;
    weir.endpoint_is("web", endpoint.address, "healthy").await;
    assert_eq!(get(weir.web(), "/").await.text(), "one");
    weir.reload(&cluster(endpoint.address, TRUST, "")).await.unwrap();
    assert_eq!(get(weir.web(), "/").await.status, 502);
    weir.write("us.key", ca.issue(&["other.test"]).key);
    let why = weir.reload(&text).await.unwrap_err();
    assert!(why.contains("us.key is not the private key of "), "{why}");
    assert!(why.contains("= key: clusters.web.tls.key"), "{why}");
}

#[test]
fn what_is_wrong_with_files_of_a_health_check_is_told_where_they_are_named() {
    let ca = Ca::new();
    let health = "health = { http = { path = \"/\" }, tls = { ca = \"ca.pem\", cert = \"us.pem\", key = \"us.key\" } }";
    let text = cluster("127.0.0.1:9".parse().unwrap(), TRUST, "").replace("[process]", &format!("{health}\n[process]"));
    let strangers = Certificate { key: ca.issue(&["other.test"]).key, ..ca.issue(&["us.test"]) };
    let output = Setup::new(&text).file("ca.pem", ca.pem()).certificate("us", &strangers).check();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("us.key is not the private key of ") && said.contains(&format!("| {health}")), "{said}");
    assert!(said.contains("= key: clusters.web.health.tls.key"), "{said}");
}

#[tokio::test]
async fn sessions_with_endpoints_go_on_and_connections_survive_reloads() {
    let ca = Ca::new();
    let endpoint = Endpoint::start_tls("one", &ca.issue(&["endpoint.test"]), &["http/1.1"]).await;
    let other = Endpoint::start_tls("two", &ca.issue(&["endpoint.test"]), &["http/1.1"]).await;
    let idle = "idle-connections = 0\n[process]";
    let text = cluster(endpoint.address, TRUST, "").replace("[process]", idle);
    let mut weir = Setup::new(&text).file("ca.pem", ca.pem()).start().await;
    for _ in 0..3 {
        assert_eq!(get(weir.web(), "/").await.text(), "one");
    }
    let handshakes = |kind| format!("weir_upstream_tls_handshakes_total{{cluster=\"web\",kind=\"{kind}\"}}");
    assert_eq!((weir.metric(&handshakes("full")).await, weir.metric(&handshakes("resumed")).await), (1.0, 2.0));
    let kept = cluster(endpoint.address, TRUST, "");
    weir.reload(&kept).await.unwrap();
    get(weir.web(), "/").await;
    let open = endpoint.connections();
    let two = kept.replace("\"]\ntls", &format!("\", \"{}\"]\nbalance = \"first\"\ntls", other.address));
    for text in [two, kept + "shutdown-grace = \"1s\"\n"] {
        weir.reload(&text).await.unwrap();
        assert_eq!(get(weir.web(), "/").await.text(), "one");
    }
    assert_eq!(endpoint.connections(), open, "the connection is used again");
}

#[tokio::test]
async fn another_authority_in_the_same_file_counts() {
    let (ca, other) = (Ca::new(), Ca::new());
    let endpoint = Endpoint::start_tls("one", &ca.issue(&["endpoint.test"]), &["http/1.1"]).await;
    let weir = Setup::new(&cluster(endpoint.address, TRUST, "")).file("ca.pem", other.pem()).start().await;
    assert_eq!(get(weir.web(), "/").await.status, 502);
    weir.write("ca.pem", ca.pem());
    eventually("the endpoint to be trusted", || async { (get(weir.web(), "/").await.status == 200).then_some(()) })
        .await;
}
