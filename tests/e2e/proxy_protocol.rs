//! PROXY headers that come, and PROXY headers that are sent.

use std::net::SocketAddr;

use weir_preamble::{
    Header, proxy,
    proxy::{Addresses, Tlvs, Transport, Version},
};

use super::harness::{Ca, Client, Endpoint, PATIENCE, Raw, RawEndpoint, Setup, Weir, eventually, get, soon};

/// A plain listener `web` that takes PROXY headers this way, before one cluster.
fn behind(accept: &str, endpoint: SocketAddr) -> String {
    format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        proxy-protocol = {{ {accept} }}
        limits = {{ header-timeout = "1s" }}
        [[routes]]
        name = "web"
        cluster = "web"
        [clusters.web]
        endpoints = ["{endpoint}"]
        "#
    )
}

const REQUIRED: &str = r#"accept = "required", trusted = ["127.0.0.0/8"]"#;
const OPTIONAL: &str = r#"accept = "optional", trusted = ["127.0.0.0/8"]"#;

fn header(version: Version, source: &str) -> Vec<u8> {
    let (source, destination) = (source.parse().unwrap(), "198.51.100.1:443".parse().unwrap());
    let addresses = Addresses { transport: Transport::Stream, source, destination };
    Header::of(version, addresses, Tlvs::default()).octets()
}

const GET: &str = "GET / HTTP/1.1\r\nhost: weir.test\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn the_address_of_a_header_is_the_client_everywhere() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&behind(REQUIRED, endpoint.address)).await;
    for (version, source) in [(Version::V1, "192.0.2.7:4711"), (Version::V2, "[2001:db8::7]:4712")] {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send([header(version, source), GET.into()].concat()).await;
        assert!(raw.rest().await.starts_with("HTTP/1.1 200"), "{source}");
        let ip = source.parse::<SocketAddr>().unwrap().ip().to_string();
        assert_eq!(endpoint.last().values("x-forwarded-for"), [ip]);
        weir.logged_where(source, |line| line["client"] == source && line["status"] == 200).await;
    }
}

#[tokio::test]
async fn a_client_has_one_address_however_a_header_writes_it() {
    let endpoint = introduced().await;
    let cluster = "send-proxy-protocol = \"v1\"";
    let weir = Weir::start(&format!("{}{cluster}", behind(REQUIRED, endpoint.address))).await;
    for (destination, wanted) in [
        ("::ffff:198.51.100.1", "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443"),
        ("2001:db8::1", "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 4711 443"),
    ] {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(format!("PROXY TCP6 ::ffff:192.0.2.7 {destination} 4711 443\r\n{GET}")).await;
        let said = raw.rest().await;
        assert!(said.ends_with(wanted), "{said}");
        weir.logged_where("the client", |line| line["client"] == "192.0.2.7:4711").await;
    }
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&behind(REQUIRED, endpoint.address)).await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send([header(Version::V2, "[::ffff:192.0.2.7]:1"), GET.into()].concat()).await;
    assert!(raw.rest().await.starts_with("HTTP/1.1 200"));
    assert_eq!(endpoint.last().values("x-forwarded-for"), ["192.0.2.7"]);
}

#[tokio::test]
async fn an_authority_is_a_server_name_however_it_is_written() {
    let weir = Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        proxy-protocol = {{ {REQUIRED} }}
        [tenants.shop]
        match = {{ sni = ["shop.test"] }}
        [[routes]]
        name = "shop"
        match = {{ sni = "shop.test", tenant = "shop" }}
        respond = {{ body = "shop" }}
        [[routes]]
        name = "others"
        respond = {{ body = "others" }}
        "#
    ))
    .await;
    let ends = Addresses {
        transport: Transport::Stream,
        source: "192.0.2.7:1".parse().unwrap(),
        destination: "198.51.100.1:443".parse().unwrap(),
    };
    for (sent, wanted) in [
        ("shop.test", "shop"),
        ("SHOP.test", "shop"),
        ("shop.test.", "shop"),
        ("shop.test\0", "others"),
        ("shop.test\r\n", "others"),
        ("", "others"),
    ] {
        let tlvs = Tlvs { authority: Some(sent.to_owned()), ..Tlvs::default() };
        let mut raw = Raw::connect(weir.web()).await;
        raw.send([Header::of(Version::V2, ends, tlvs).octets(), GET.into()].concat()).await;
        let said = raw.rest().await;
        assert!(said.starts_with("HTTP/1.1 200") && said.ends_with(&format!("\r\n{wanted}")), "{sent:?}: {said}");
    }
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&behind(REQUIRED, endpoint.address)).await;
    for version in [Version::V1, Version::V2] {
        let mut raw = Raw::connect(weir.web()).await;
        for octet in [header(version, "192.0.2.7:1"), GET.into()].concat() {
            raw.send([octet]).await;
            tokio::task::yield_now().await;
        }
        assert!(raw.rest().await.starts_with("HTTP/1.1 200"));
        assert_eq!(endpoint.last().values("x-forwarded-for"), ["192.0.2.7"]);
    }
}

#[tokio::test]
async fn a_connection_without_the_header_it_needs_is_closed() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&behind(REQUIRED, endpoint.address)).await;
    let damaged = "PROXY TCP4 192.0.2.7 198.51.100.1 99999 443\r\n";
    let endless = format!("PROXY TCP4 {}", "1".repeat(200));
    for said in [GET, damaged, &endless, "\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c"] {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(said).await;
        assert_eq!(raw.rest().await, "", "{said:?}");
    }
    let mut silent = Raw::connect(weir.web()).await;
    silent.send("PROXY TCP4 192.0.2.7").await;
    silent.closed().await;
    assert_eq!(endpoint.requests(), 0);
    eventually("five refusals", || async {
        (weir.metric(r#"weir_connections_refused_total{listener="web",reason="proxy-header"}"#).await == 5.0)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_is_not_trusted_is_not_believed() {
    let endpoint = Endpoint::start("a").await;
    let elsewhere = |accept: &str| format!(r#"accept = "{accept}", trusted = ["192.0.2.0/24"]"#);
    let weir = Weir::start(&behind(&elsewhere("required"), endpoint.address)).await;
    let mut raw = Raw::connect(weir.web()).await;
    let _ = raw.try_send([header(Version::V1, "192.0.2.7:1"), GET.into()].concat()).await;
    assert_eq!(raw.rest().await, "");
    let weir = Weir::start(&behind(&elsewhere("optional"), endpoint.address)).await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send([header(Version::V1, "192.0.2.7:1"), GET.into()].concat()).await;
    assert!(raw.rest().await.starts_with("HTTP/1.1 400"));
    assert_eq!(endpoint.requests(), 0);
    assert_eq!(get(weir.web(), "/").await.text(), "a");
}

#[tokio::test]
async fn a_header_can_be_left_out_where_it_is_optional() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&behind(OPTIONAL, endpoint.address)).await;
    for (said, client) in [
        (Vec::new(), "127.0.0.1"),
        (header(Version::V2, "192.0.2.7:1"), "192.0.2.7"),
        (Header::local(Version::V1).octets(), "127.0.0.1"),
        (Header::local(Version::V2).octets(), "127.0.0.1"),
    ] {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send([said, GET.into()].concat()).await;
        assert!(raw.rest().await.starts_with("HTTP/1.1 200"));
        assert_eq!(endpoint.last().values("x-forwarded-for"), [client]);
    }
    assert_eq!(Client::http2(weir.web()).await.get("/").await.text(), "a");
}

/// A listener `web` and a TLS listener `secure`, before a cluster that is told of its clients.
async fn before(endpoint: SocketAddr, cluster: &str, ca: &Ca) -> Weir {
    let text = format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        forwarded = {{ trusted = ["127.0.0.0/8"] }}
        [listeners.secure]
        address = "127.0.0.1:0"
        tls = {{ certificates = [{{ cert = "a.pem", key = "a.key" }}] }}
        [[routes]]
        name = "web"
        cluster = "web"
        [clusters.web]
        endpoints = ["{endpoint}"]
        {cluster}
        "#
    );
    Setup::new(&text).certificate("a", &ca.issue(&["a.test"])).start().await
}

/// Answers each request with its connection's number, and which client it is told of.
async fn introduced() -> RawEndpoint {
    RawEndpoint::start(|mut raw, number| async move {
        let header = raw.until("\r\n").await;
        loop {
            raw.head().await;
            let body = format!("{number} {}", header.trim_end());
            raw.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
        }
    })
    .await
}

#[tokio::test]
async fn each_client_has_connections_of_its_own() {
    let (ca, endpoint) = (Ca::new(), introduced().await);
    let weir = before(endpoint.address, "send-proxy-protocol = \"v1\"", &ca).await;
    let (mut one, mut other) = (Client::http1(weir.web()).await, Client::http1(weir.web()).await);
    let first = one.get("/").await.text().to_owned();
    let second = other.get("/").await.text().to_owned();
    assert!(first.starts_with("0 PROXY TCP4 127.0.0.1 127.0.0.1 "), "{first}");
    assert!(first.ends_with(&format!(" {}", weir.web().port())), "{first}");
    assert!(second.starts_with("1 PROXY TCP4 "), "{second}");
    assert_eq!(one.get("/").await.text(), first, "kept for its client");
    assert_eq!(other.get("/").await.text(), second);
    assert_eq!(endpoint.connections(), 2);
}

#[tokio::test]
async fn a_client_that_a_field_names_is_told_of() {
    let (ca, endpoint) = (Ca::new(), introduced().await);
    let weir = before(endpoint.address, "send-proxy-protocol = \"v1\"", &ca).await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("GET / HTTP/1.1\r\nhost: weir.test\r\nx-forwarded-for: 192.0.2.9\r\nconnection: close\r\n\r\n").await;
    let said = raw.rest().await;
    assert!(said.contains("PROXY TCP4 192.0.2.9 127.0.0.1 0 "), "{said}");
}

#[tokio::test]
async fn a_connection_to_an_endpoint_ends_with_its_client() {
    let ca = Ca::new();
    let ended = std::sync::Arc::new(tokio::sync::Notify::new());
    let told = ended.clone();
    let endpoint = RawEndpoint::start(move |mut raw, _| {
        let told = told.clone();
        async move {
            raw.until("\r\n").await;
            raw.head().await;
            raw.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            raw.closed().await;
            told.notify_one();
        }
    })
    .await;
    let weir = before(endpoint.address, "send-proxy-protocol = \"v1\"\nidle-timeout = \"1d\"", &ca).await;
    let mut client = Client::http1(weir.web()).await;
    assert_eq!(client.get("/").await.status, 200);
    drop(client);
    soon("the endpoint's connection to end", ended.notified()).await;
}

#[tokio::test]
async fn version_2_tells_of_the_clients_tls() {
    let ca = Ca::new();
    let (sender, mut headers) = tokio::sync::mpsc::unbounded_channel();
    let endpoint = RawEndpoint::start(move |mut raw, _| {
        let sender = sender.clone();
        async move {
            let mut said = raw.exactly(16).await;
            let length = u16::from_be_bytes([said[14], said[15]]);
            said.extend(raw.exactly(length.into()).await);
            let _ = sender.send(proxy::read(&said).unwrap().unwrap().0);
            raw.head().await;
            raw.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    let weir = before(endpoint.address, "send-proxy-protocol = \"v2\"", &ca).await;
    let mut client = Client::tls(weir.listener("secure"), &ca, "a.test", &["http/1.1"]).await;
    assert_eq!(client.get("/").await.status, 200);
    let header = headers.recv().await.unwrap();
    assert_eq!(header.addresses.unwrap().destination, weir.listener("secure"));
    let Tlvs { alpn, authority, unique_id, ssl, .. } = header.tlvs;
    assert_eq!((alpn.as_deref(), authority.as_deref()), (Some(&b"http/1.1"[..]), Some("a.test")));
    assert_eq!(unique_id.unwrap().len(), 32);
    let ssl = ssl.unwrap();
    assert_eq!((ssl.client, ssl.version.as_deref()), (1, Some("TLSv1.3")));
    assert_eq!(get(weir.web(), "/").await.status, 200);
    assert_eq!(headers.recv().await.unwrap().tlvs.ssl, None);
}

#[tokio::test]
async fn health_checks_speak_for_themselves() {
    for (version, own) in [("v1", Header::local(Version::V1)), ("v2", Header::local(Version::V2))] {
        let ca = Ca::new();
        let (sender, mut said) = tokio::sync::mpsc::unbounded_channel();
        let endpoint = RawEndpoint::start(move |mut raw, _| {
            let sender = sender.clone();
            async move {
                let _ = sender.send(raw.until("GET ").await);
                raw.head().await;
                raw.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            }
        })
        .await;
        let health = format!("send-proxy-protocol = \"{version}\"\nhealth = {{ http = {{}}, interval = \"50ms\" }}");
        let weir = before(endpoint.address, &health, &ca).await;
        let said = tokio::time::timeout(PATIENCE, said.recv()).await.unwrap().unwrap();
        assert_eq!(said.into_bytes(), [own.octets(), b"GET ".to_vec()].concat());
        weir.endpoint_is("web", endpoint.address, "healthy").await;
    }
}
