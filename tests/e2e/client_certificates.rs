//! Clients that prove who they are by a certificate, and who is told.

use std::{net::SocketAddr, process::Command, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{TE, TRAILER},
};
use rcgen::{DnType, SanType};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::harness::{
    Ca, Certificate, Client, Endpoint, RawEndpoint, Reply, Setup, empty, eventually, get, guest, request, soon,
    with_trailers,
};

/// A listener `secure` where clients show certificates, a plain one `web`, and an endpoint behind both.
fn text(endpoint: SocketAddr, auth: &str, more: &str) -> String {
    format!(
        r#"
        [listeners.secure]
        address = "127.0.0.1:0"
        [listeners.secure.tls]
        certificates = [{{ cert = "a.pem", key = "a.key" }}]
        client-auth = {{ {auth} }}
        [listeners.web]
        address = "127.0.0.1:0"
        {more}
        [[routes]]
        name = "all"
        cluster = "web"
        [clusters.web]
        endpoints = ["{endpoint}"]
        "#
    )
}

const HEADERS: &str = r#"ca = "clients.pem", headers = { subject = "x-subject", common-name = "x-name", issuer = "x-issuer", serial = "x-serial", names = "x-names", fingerprint = "x-sha256" }"#;

fn setup(ca: &Ca, text: &str) -> Setup {
    Setup::new(text).certificate("a", &ca.issue(&["a.test"])).file("clients.pem", ca.pem())
}

fn billing(ca: &Ca) -> Certificate {
    let names = vec![
        SanType::DnsName("billing.test".try_into().unwrap()),
        SanType::URI("spiffe://test/billing, DNS:admin".try_into().unwrap()),
        SanType::IpAddress("192.0.2.7".parse().unwrap()),
    ];
    ca.issue_client(&[(DnType::OrganizationName, "J\u{fc}rgen, Inc"), (DnType::CommonName, "billing")], names, 7)
}

/// One request, or why there was no response.
async fn ask(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    path: &str,
    fields: &[(&str, &str)],
) -> Result<Reply, String> {
    let stream = Client::handshake(address, config, "a.test").await.map_err(|error| error.to_string())?;
    let asked = fields.iter().fold(request(Method::GET, path), |asked, (name, value)| asked.header(*name, *value));
    Client::over(stream).await.try_ask(asked.body(empty()).unwrap()).await.map_err(|error| format!("{error:?}"))
}

#[tokio::test]
async fn endpoints_and_log_are_told_who_the_client_is() {
    let (ca, endpoint) = (Ca::new(), Endpoint::start("one").await);
    let weir = setup(&ca, &text(endpoint.address, HEADERS, "")).start().await;
    let client = billing(&ca);
    for alpn in ["h2", "http/1.1"] {
        let forged = [("x-subject", "CN=admin"), ("x_names", "DNS:admin")];
        let reply = ask(weir.listener("secure"), ca.client_with(&[alpn], &client), "/one", &forged).await.unwrap();
        assert_eq!(reply.text(), "one");
        let seen = endpoint.last();
        assert_eq!(seen.values("x-subject"), ["CN=billing,O=J\\c3\\bcrgen\\, Inc"]);
        assert_eq!(seen.values("x-name"), ["billing"]);
        assert_eq!(seen.values("x-issuer"), ["CN=weir.test authority"]);
        assert_eq!(seen.values("x-serial"), ["07"]);
        assert_eq!(seen.values("x-names"), ["DNS:billing.test,URI:spiffe://test/billing%2c%20DNS:admin,IP:192.0.2.7"]);
        assert!(seen.values("x_names").is_empty(), "{seen:?}");
        let line = weir.logged_where("the request", |line| line["path"] == "/one").await;
        assert_eq!(line["client_subject"], seen.values("x-subject")[0]);
        assert_eq!(line["client_names"], seen.values("x-names")[0]);
        assert_eq!(line["client_sha256"], seen.values("x-sha256")[0]);
    }
}

#[tokio::test]
async fn without_a_certificate_that_can_be_verified_nobody_comes_in() {
    let (ca, stranger, endpoint) = (Ca::new(), Ca::new(), Endpoint::start("one").await);
    let weir = setup(&ca, &text(endpoint.address, HEADERS, "")).start().await;
    for config in [ca.client(&[]), ca.client_with(&[], &billing(&stranger))] {
        let refused = ask(weir.listener("secure"), config, "/", &[]).await;
        assert!(refused.is_err(), "{refused:?}");
    }
    assert_eq!(endpoint.requests(), 0);
    assert_eq!(ask(weir.listener("secure"), ca.client_with(&[], &billing(&ca)), "/", &[]).await.unwrap().status, 200);
}

#[tokio::test]
async fn where_it_is_optional_nobody_can_say_it_of_himself() {
    let (ca, endpoint) = (Ca::new(), Endpoint::start("one").await);
    let auth = format!("mode = \"optional\", {HEADERS}");
    let weir = setup(&ca, &text(endpoint.address, &auth, "")).start().await;
    let forged = [("x-subject", "CN=admin"), ("x-names", "DNS:admin"), ("X_Sha256", "00")];
    let reply = ask(weir.listener("secure"), ca.client(&[]), "/none", &forged).await.unwrap();
    assert_eq!(reply.status, 200);
    assert!(weir.logged("/none").await.get("client_subject").is_none());
    let fields = |seen: &super::harness::Seen| ["x-subject", "x-names", "x_sha256"].map(|name| seen.values(name).len());
    assert_eq!(fields(&endpoint.last()), [0; 3]);
    let plain = forged.iter().fold(request(Method::GET, "/"), |asked, (name, value)| asked.header(*name, *value));
    Client::http1(weir.web()).await.ask(plain.body(empty()).unwrap()).await;
    assert_eq!(fields(&endpoint.last()), [0; 3], "a listener without TLS passes nothing on either");
    let stranger = billing(&Ca::new());
    assert!(ask(weir.listener("secure"), ca.client_with(&[], &stranger), "/", &[]).await.is_err());
    ask(weir.listener("secure"), ca.client_with(&[], &billing(&ca)), "/", &forged).await.unwrap();
    assert_eq!(endpoint.last().values("x-serial"), ["07"]);
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_once_the_list_says_so() {
    let (ca, endpoint) = (Ca::new(), Endpoint::start("one").await);
    let text = text(endpoint.address, r#"ca = "clients.pem", crl = "revoked.crl""#, "");
    let weir = setup(&ca, &text).file("revoked.crl", ca.revoke(&[8])).start().await;
    let (one, other) = (ca.issue_client(&[], vec![], 7), ca.issue_client(&[], vec![], 8));
    let comes_in = async |certificate: &Certificate| {
        ask(weir.listener("secure"), ca.client_with(&[], certificate), "/", &[]).await.is_ok()
    };
    assert!(comes_in(&one).await && !comes_in(&other).await);
    assert!(weir.metric("weir_crl_expiry_seconds{listener=\"secure\"}").await > 80_000.0);
    weir.write("revoked.crl", ca.revoke(&[7]));
    eventually("the other list", || async { (!comes_in(&one).await).then_some(()) }).await;
    assert!(comes_in(&other).await);
}

#[tokio::test]
async fn routes_and_plugins_know_the_client() {
    let (ca, endpoint) = (Ca::new(), Endpoint::start("one").await);
    let more = format!(
        "[plugins.p]\npath = \"{}\"\n[[routes]]\nname = \"ours\"\nmatch = {{ path = \"/ours\", headers = {{ x-name = \"billing\" }} }}\n\
         respond = {{ body = \"ours\" }}\n[[routes]]\nname = \"plugin\"\nmatch = {{ path = \"/plugin\" }}\n\
         plugins = [{{ plugin = \"p\", settings = {{ do = \"certificate\" }} }}]\nrespond = {{}}\n",
        guest("misbehave").display()
    );
    let weir = setup(&ca, &text(endpoint.address, HEADERS, &more)).start().await;
    let config = ca.client_with(&[], &billing(&ca));
    let asked = async |path: &str| ask(weir.listener("secure"), config.clone(), path, &[]).await.unwrap();
    assert_eq!(asked("/ours").await.text(), "ours");
    let told = asked("/plugin").await;
    assert!(told.text().contains("names: [\"DNS:billing.test\", \"URI:"), "{}", told.text());
    let forged = request(Method::GET, "/ours").header("x-name", "billing").body(empty()).unwrap();
    assert_eq!(Client::http1(weir.web()).await.ask(forged).await.text(), "one");
    assert_eq!(get(weir.web(), "/plugin").await.text(), "None");
}

#[tokio::test]
async fn what_is_not_http_is_told_by_log_and_proxy_header() {
    let ca = Ca::new();
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        let head = raw.exactly(16).await;
        let rest = raw.exactly(u16::from_be_bytes([head[14], head[15]]).into()).await;
        let weir_preamble::proxy::Tlvs { ssl, .. } =
            weir_preamble::proxy::read(&[head, rest].concat()).unwrap().unwrap().0.tlvs;
        let ssl = ssl.unwrap();
        raw.send(format!("{} {} {:?}", ssl.client, ssl.verify, ssl.common_name)).await;
        raw.finish().await;
    })
    .await;
    let text = format!(
        r#"
        [listeners.secure]
        address = "127.0.0.1:0"
        protocol = "tls"
        cluster = "db"
        tls = {{ certificates = [{{ cert = "a.pem", key = "a.key" }}], client-auth = {{ ca = "clients.pem" }} }}
        [clusters.db]
        endpoints = ["{}"]
        send-proxy-protocol = "v2"
        "#,
        endpoint.address
    );
    let weir = setup(&ca, &text).start().await;
    let config = ca.client_with(&[], &billing(&ca));
    let mut stream = Client::handshake(weir.listener("secure"), config, "a.test").await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut told = String::new();
    let _ = soon("what the endpoint was told", stream.read_to_string(&mut told)).await;
    assert_eq!(told, "7 0 Some(\"billing\")");
    drop(stream);
    let line = weir.logged_where("the connection", |line| line["protocol"] == "tls").await;
    assert!(line["client_subject"].as_str().unwrap().starts_with("CN=billing"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_shows_its_certificate() {
    let (ca, endpoint) = (Ca::new(), Endpoint::start("one").await);
    let client = billing(&ca);
    let setup = setup(&ca, &text(endpoint.address, HEADERS, "")).certificate("client", &client);
    let weir = setup.start().await;
    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        curl.current_dir(weir.folder()).args(["-sS", "--max-time", "30", "--cacert", "clients.pem"]).args(arguments);
        let address = weir.listener("secure");
        curl.args(["--connect-to", &format!("a.test:443:{address}"), "https://a.test/"]).output().unwrap()
    };
    for version in ["1.2", "1.3"] {
        let shown = curl(&["--tls-max", version, "--cert", "client.pem", "--key", "client.key"]);
        assert_eq!(String::from_utf8_lossy(&shown.stdout), "one", "{shown:?}");
        assert!(!curl(&["--tls-max", version]).status.success());
    }
    assert_eq!(endpoint.last().values("x-name"), ["billing"]);
}

#[test]
fn check_tells_what_clients_must_show_and_which_file_cannot_be_used() {
    let ca = Ca::new();
    let check = |auth: &str, name: &str, content: &str| {
        let text = text("127.0.0.1:9".parse().unwrap(), auth, "");
        let output = setup(&ca, &text).file(name, content).check();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, said) =
        check(r#"ca = "clients.pem", crl = "r.crl", headers = { subject = "x-s" }"#, "r.crl", &ca.revoke(&[1]));
    assert!(code == Some(0) && said.contains("clients must show a certificate of "), "{said}");
    assert!(said.contains("endpoints are told by x-s"), "{said}");
    for (content, why) in [("nothing", "r.crl: no list of revoked"), ("0nothing", "r.crl: ")] {
        let (code, said) = check(r#"ca = "clients.pem", crl = "r.crl""#, "r.crl", content);
        assert!(code == Some(2) && said.contains(why), "{said}");
    }
    let (code, said) = check(r#"ca = "other.pem""#, "other.pem", "nothing");
    assert!(code == Some(2) && said.contains("other.pem: no certificate in it"), "{said}");
}

#[tokio::test]
async fn trailers_say_nothing_of_who_asks() {
    let (ca, endpoint) = (Ca::new(), Endpoint::start("one").await);
    let weir = setup(&ca, &text(endpoint.address, HEADERS, "")).start().await;
    for mut client in [Client::http1(weir.web()).await, Client::http2(weir.web()).await] {
        let names = ["x-subject", "x_subject", "x-forwarded-for", "x_forwarded_proto", "forwarded", "x-sum"];
        let field = |name: &&str| (name.parse().unwrap(), HeaderValue::from_static("4"));
        let trailers: HeaderMap = names.iter().map(field).collect();
        let asked = request(Method::POST, "/echo").header(TE, "trailers").header(TRAILER, names.join(", "));
        let reply = client.ask(asked.body(with_trailers("body", trailers)).unwrap()).await;
        assert_eq!(reply.text(), "body");
        let passed: Vec<&str> = reply.trailers.as_ref().unwrap().keys().map(HeaderName::as_str).collect();
        assert_eq!(passed, ["x-sum"]);
    }
}
