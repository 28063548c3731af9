//! TLS on either side.

use http::Version;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::harness::{Ca, Certificate, Client, Endpoint, Setup, Weir, get};

const BOTH: &[&str] = &["h2", "http/1.1"];

fn der(certificate: &Certificate) -> Vec<u8> {
    CertificateDer::from_pem_slice(certificate.cert.as_bytes()).unwrap().to_vec()
}

fn secure(tls: &str, cluster: &str) -> String {
    format!(
        r#"
        [listeners.secure]
        address = "127.0.0.1:0"
        tls = {{ {tls} }}
        [[routes]]
        name = "all"
        cluster = "web"
        [clusters.web]
        {cluster}
        "#
    )
}

const TWO: &str = r#"certificates = [{ cert = "a.pem", key = "a.key" }, { cert = "b.pem", key = "b.key" }]"#;

#[tokio::test]
async fn the_server_name_picks_the_certificate() {
    let (ca, endpoint) = (Ca::new(), Endpoint::start("one").await);
    let (a, b) = (ca.issue(&["a.test", "127.0.0.1"]), ca.issue(&["b.test", "*.c.test"]));
    let text = secure(TWO, &format!("endpoints = [\"{}\"]", endpoint.address));
    let weir = Setup::new(&text).certificate("a", &a).certificate("b", &b).start().await;
    for (name, expected) in [("a.test", &a), ("b.test", &b), ("x.c.test", &b), ("127.0.0.1", &a)] {
        let mut client = Client::tls(weir.listener("secure"), &ca, name, BOTH).await;
        assert_eq!(client.certificate.as_deref(), Some(&*der(expected)), "{name}");
        assert_eq!(client.get("/").await.text(), "one");
    }
    assert_eq!(endpoint.last().values("x-forwarded-proto"), ["https"]);
}

#[tokio::test]
async fn alpn_agrees_on_the_protocol() {
    let (ca, endpoint) = (Ca::new(), Endpoint::start("one").await);
    let one = ca.issue(&["a.test"]);
    let text = secure(TWO, &format!("endpoints = [\"{}\"]", endpoint.address));
    let weir = Setup::new(&text).certificate("a", &one).certificate("b", &one).start().await;
    for (offered, expected) in [
        (BOTH, Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&["h2"], Version::HTTP_2),
        (&[], Version::HTTP_11),
    ] {
        let mut client = Client::tls(weir.listener("secure"), &ca, "a.test", offered).await;
        assert_eq!(client.get("/").await.version, expected, "{offered:?}");
    }
}

#[tokio::test]
async fn http2_can_be_left_out() {
    let (ca, endpoint) = (Ca::new(), Endpoint::start("one").await);
    let tls = r#"certificates = [{ cert = "a.pem", key = "a.key" }], http2 = false"#;
    let text = secure(tls, &format!("endpoints = [\"{}\"]", endpoint.address));
    let weir = Setup::new(&text).certificate("a", &ca.issue(&["a.test"])).start().await;
    let mut client = Client::tls(weir.listener("secure"), &ca, "a.test", BOTH).await;
    assert_eq!(client.get("/").await.version, Version::HTTP_11);
}

#[tokio::test]
async fn plain_octets_at_a_tls_listener_end_there() {
    let (ca, endpoint) = (Ca::new(), Endpoint::start("one").await);
    let one = ca.issue(&["a.test"]);
    let text = secure(TWO, &format!("endpoints = [\"{}\"]", endpoint.address));
    let weir = Setup::new(&text).certificate("a", &one).certificate("b", &one).start().await;
    let mut raw = super::harness::Raw::connect(weir.listener("secure")).await;
    raw.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(raw.rest().await.starts_with("HTTP/1.1 400 "));
    let mut other = super::harness::Raw::connect(weir.listener("secure")).await;
    other.send("\0\0 is no TLS").await;
    assert!(!other.rest().await.contains("HTTP/"));
    assert_eq!(endpoint.requests(), 0);
}

async fn upstream(certificate: &Certificate, ca: &Ca, tls: &str, http2: bool) -> (Endpoint, Weir) {
    let alpn: &[&str] = if http2 { &["h2"] } else { &["http/1.1"] };
    let endpoint = Endpoint::start_tls("one", certificate, alpn).await;
    let text = format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"all\"\ncluster = \"web\"\n\
         [clusters.web]\nendpoints = [\"{}\"]\nhttp2 = {http2}\ntls = {{ {tls} }}\n",
        endpoint.address
    );
    let weir = Setup::new(&text).file("ca.pem", ca.pem()).start().await;
    (endpoint, weir)
}

#[tokio::test]
async fn an_endpoint_is_verified_by_its_authority() {
    let ca = Ca::new();
    let certificate = ca.issue(&["endpoint.test"]);
    for http2 in [false, true] {
        let (endpoint, weir) = upstream(&certificate, &ca, r#"ca = "ca.pem", sni = "endpoint.test""#, http2).await;
        let reply = get(weir.web(), "/seen").await;
        assert_eq!((reply.status.as_u16(), reply.header("x-endpoint")), (200, "one"));
        assert_eq!(endpoint.last().version == Version::HTTP_2, http2);
        let line = weir.logged("/seen").await;
        assert!(line["tls_us"].as_u64().unwrap() > 0, "{line}");
    }
}

#[tokio::test]
async fn an_endpoint_is_known_by_its_address_unless_a_name_is_given() {
    let ca = Ca::new();
    let (_endpoint, weir) = upstream(&ca.issue(&["127.0.0.1"]), &ca, r#"ca = "ca.pem""#, false).await;
    assert_eq!(get(weir.web(), "/").await.text(), "one");
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_verified_gets_nothing() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let certificate = ca.issue(&["endpoint.test"]);
    for (trusted, tls) in [
        (&stranger, r#"ca = "ca.pem", sni = "endpoint.test""#),
        (&ca, r#"ca = "ca.pem", sni = "other.test""#),
        (&ca, r#"ca = "ca.pem""#),
        (&ca, r#"sni = "endpoint.test""#),
    ] {
        let (endpoint, weir) = upstream(&certificate, trusted, tls, false).await;
        assert_eq!(get(weir.web(), "/").await.status, 502, "{tls}");
        assert_eq!(endpoint.requests(), 0, "{tls}");
        let line = weir.logged("/").await;
        assert!(line["error"].as_str().unwrap().to_lowercase().contains("certificate"), "{line}");
    }
}

#[tokio::test]
async fn verification_can_be_left_out() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let (_endpoint, weir) = upstream(&stranger.issue(&["endpoint.test"]), &ca, "verify = false", false).await;
    assert_eq!(get(weir.web(), "/").await.text(), "one");
}

#[tokio::test]
async fn plain_http_on_a_port_of_tls_is_told_so() {
    let (ca, endpoint) = (Ca::new(), Endpoint::start("one").await);
    let a = ca.issue(&["a.test"]);
    let one = r#"certificates = [{ cert = "a.pem", key = "a.key" }]"#;
    let text = secure(one, &format!("endpoints = [\"{}\"]", endpoint.address));
    let weir = Setup::new(&text).certificate("a", &a).start().await;
    let reply = get(weir.listener("secure"), "/").await;
    assert_eq!((reply.status.as_u16(), reply.header("connection")), (400, "close"));
    assert!(reply.text().contains("https://"), "{reply:?}");
    let mut client = Client::http1(weir.listener("secure")).await;
    assert_eq!(client.post("/", "x".repeat(20_000)).await.status.as_u16(), 400);
    assert_eq!(endpoint.requests(), 0);
    assert_eq!(Client::tls(weir.listener("secure"), &ca, "a.test", BOTH).await.get("/").await.text(), "one");
}
