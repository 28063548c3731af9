//! TLS that passes as it is: led by what its first message asks for, ended by the endpoint.

use rustls::{
    ClientConnection,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use weir_preamble::proxy;

use super::harness::{Ca, Certificate, Client, Raw, RawEndpoint, Weir, soon};

/// Ends TLS, and says its name and which protocol was agreed on.
async fn endpoint(name: &'static str, certificate: &Certificate, alpn: &[&str]) -> RawEndpoint {
    let acceptor = TlsAcceptor::from(certificate.server(alpn));
    RawEndpoint::start(move |raw, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(raw.stream).await else { return };
            let alpn = stream.get_ref().1.alpn_protocol().unwrap_or_default().to_vec();
            let _ = stream.write_all(&[name.as_bytes(), b" ", &alpn].concat()).await;
            let _ = stream.shutdown().await;
            let _ = stream.read(&mut [0]).await;
        }
    })
    .await
}

struct Stage {
    ca: Ca,
    certificates: [Certificate; 2],
    _endpoints: [RawEndpoint; 2],
    weir: Weir,
}

async fn stage(limits: &str) -> Stage {
    let ca = Ca::new();
    let certificates = [ca.issue(&["a.test"]), ca.issue(&["*.b.test", "c.test"])];
    let [one, other] = &certificates;
    let endpoints = [endpoint("a", one, &["h2", "http/1.1"]).await, endpoint("b", other, &["special"]).await];
    let weir = Weir::start(&format!(
        r#"
        [listeners.secure]
        address = "127.0.0.1:0"
        protocol = "tls-passthrough"
        {limits}
        [[routes]]
        name = "special"
        match = {{ alpn = "special" }}
        cluster = "b"
        [[routes]]
        name = "a"
        match = {{ sni = "a.test" }}
        cluster = "a"
        [[routes]]
        name = "below"
        match = {{ sni = "*.b.test" }}
        cluster = "b"
        [clusters.a]
        endpoints = ["{}"]
        [clusters.b]
        endpoints = ["{}"]
        "#,
        endpoints[0].address, endpoints[1].address
    ))
    .await;
    Stage { ca, certificates, _endpoints: endpoints, weir }
}

#[tokio::test]
async fn the_server_name_and_protocol_lead() {
    let Stage { ca, certificates: [a, b], weir, _endpoints } = stage("").await;
    for (name, alpn, said, certificate) in
        [("a.test", &["h2"][..], "a h2", &a), ("x.b.test", &[], "b ", &b), ("c.test", &["special"], "b special", &b)]
    {
        let mut stream = Client::handshake(weir.listener("secure"), ca.client(alpn), name).await.unwrap();
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        assert_eq!(shown, CertificateDer::from_pem_slice(certificate.cert.as_bytes()).unwrap().to_vec());
        let mut got = String::new();
        soon("a greeting", stream.read_to_string(&mut got)).await.unwrap();
        assert_eq!(got, said);
        stream.shutdown().await.unwrap();
        drop(stream);
        let line = weir.logged_where(name, |line| line["host"] == name).await;
        assert_eq!((&line["protocol"], &line["status"]), (&"tls-passthrough".into(), &200.into()));
    }
    assert!(Client::handshake(weir.listener("secure"), ca.client(&[]), "elsewhere.test").await.is_err());
    weir.logged_where("no route", |line| line["host"] == "elsewhere.test" && line["status"] == 404).await;
}

/// A ClientHello by rustls.
fn hello(ca: &Ca, name: &'static str) -> Vec<u8> {
    let mut client = ClientConnection::new(ca.client(&["h2"]), ServerName::try_from(name).unwrap()).unwrap();
    let mut octets = Vec::new();
    client.write_tls(&mut octets).unwrap();
    octets
}

#[tokio::test]
async fn a_hello_may_come_in_segments_and_records() {
    let stage = stage("").await;
    let whole = hello(&stage.ca, "a.test");
    // The same message in records of a hundred octets.
    let mut records = Vec::new();
    for part in whole[5..].chunks(100) {
        records.extend_from_slice(&[22, 3, 1, 0, part.len() as u8]);
        records.extend_from_slice(part);
    }
    for octets in [whole, records] {
        let mut raw = Raw::connect(stage.weir.listener("secure")).await;
        for segment in octets.chunks(97) {
            raw.send(segment).await;
            tokio::task::yield_now().await;
        }
        // The endpoint answers with a handshake record of its own.
        assert_eq!(raw.exactly(2).await, [22, 3]);
    }
}

#[tokio::test]
async fn what_is_no_hello_is_closed() {
    let stage = stage("limits = { header-timeout = \"1s\" }").await;
    let oversized = [&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc][..], &[0; 16_380]].concat();
    for (said, why) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "not TLS"),
        (vec![22, 3, 1, 0, 4, 2, 0, 0, 0], "malformed TLS ClientHello"),
        (oversized, "TLS ClientHello too long"),
        (hello(&stage.ca, "a.test")[..50].to_vec(), "client too slow to send"),
    ] {
        let mut raw = Raw::connect(stage.weir.listener("secure")).await;
        let _ = raw.try_send(said).await;
        assert_eq!(raw.rest().await, "", "{why}");
        let line = stage.weir.logged_where(why, |line| line["error"] == why).await;
        assert!(matches!(line["status"].as_u64(), Some(400 | 408)), "{line}");
    }
}

#[tokio::test]
async fn a_proxy_header_may_come_before_the_hello_and_go_on() {
    let ca = Ca::new();
    let (sender, mut said) = tokio::sync::mpsc::unbounded_channel();
    let endpoint = RawEndpoint::start(move |mut raw, _| {
        let sender = sender.clone();
        async move {
            let mut octets = raw.exactly(16).await;
            let length = u16::from_be_bytes([octets[14], octets[15]]);
            octets.extend(raw.exactly(length.into()).await);
            let _ = sender.send((proxy::read(&octets).unwrap().unwrap().0, raw.exactly(5).await));
        }
    })
    .await;
    let weir = Weir::start(&format!(
        r#"
        [listeners.secure]
        address = "127.0.0.1:0"
        protocol = "tls-passthrough"
        proxy-protocol = {{ accept = "required", trusted = ["127.0.0.1"] }}
        [[routes]]
        name = "a"
        match = {{ sni = "a.test", client = "192.0.2.0/24" }}
        cluster = "a"
        [clusters.a]
        endpoints = ["{}"]
        send-proxy-protocol = "v2"
        "#,
        endpoint.address
    ))
    .await;
    let mut raw = Raw::connect(weir.listener("secure")).await;
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n".to_vec();
    raw.send([header, hello(&ca, "a.test")].concat()).await;
    let (header, record) = soon("a connection", said.recv()).await.unwrap();
    let addresses = header.addresses.unwrap();
    assert_eq!(
        (addresses.source.to_string(), addresses.destination.to_string()),
        ("192.0.2.7:4711".into(), "198.51.100.1:443".into())
    );
    assert_eq!((header.tlvs.authority.as_deref(), header.tlvs.ssl), (Some("a.test"), None));
    assert_eq!(record[..2], [22, 3], "the hello itself");
}
