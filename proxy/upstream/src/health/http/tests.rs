use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use weir_config::{Health, HealthKind, UpstreamTls};

use super::*;
use crate::{cluster::Cluster, fixture, health::probe, standing::State};

fn config(address: SocketAddr) -> weir_config::Cluster {
    let mut config = fixture::cluster(&[1]);
    config.endpoints[0].address = address;
    config.health = Some(Health::new(HealthKind::Http(HttpCheck {
        path: "/healthz?full".to_owned(),
        host: Some("api.example.com".to_owned()),
        method: "HEAD".to_owned(),
        expect: vec![(200, 399), (404, 404)],
        ..HttpCheck::default()
    })));
    config
}

async fn check(config: &weir_config::Cluster) -> Verdict {
    let cluster = Cluster::build(config, None);
    let probe = probe(config).unwrap().unwrap();
    probe.check(&cluster.endpoints()[0]).await.unwrap()
}

/// Answers one connection with these bytes; gives what it was sent.
async fn answering(answer: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4_096];
        let len = stream.read(&mut request).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..len]).into_owned()
    });
    (address, asked)
}

#[tokio::test]
async fn asks_as_configured_and_takes_an_expected_status() {
    let (address, asked) = answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
    let verdict = check(&config(address)).await;
    assert_eq!(verdict, Verdict::healthy("status 404"));
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("HEAD /healthz?full HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("host: api.example.com\r\n"), "{asked}");
}

#[tokio::test]
async fn says_which_status_it_expected() {
    let (address, _asked) = answering("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n").await;
    let verdict = check(&config(address)).await;
    assert_eq!(verdict.state, State::Unhealthy);
    assert_eq!(verdict.why, "status 500, expected 200 to 399 or 404");
}

/// The verdict on this body where text and pattern are expected in it.
async fn judged(body: &str, text: Option<&str>, pattern: Option<&str>) -> Verdict {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (address, asked) = answering(answer.leak()).await;
    let mut config = config(address);
    let (body, body_regex) = (text.map(str::to_owned), pattern.map(str::to_owned));
    let headers = vec![("x-probe".to_owned(), "weir".to_owned())];
    let kind = HealthKind::Http(HttpCheck { body, body_regex, headers, ..HttpCheck::default() });
    config.health = Some(Health::new(kind));
    let verdict = check(&config).await;
    assert!(asked.await.unwrap().contains("x-probe: weir\r\n"));
    verdict
}

#[tokio::test]
async fn looks_into_the_body_where_that_is_asked() {
    assert_eq!(judged("all is well", Some("well"), None).await, Verdict::healthy("status 200"));
    assert_eq!(judged("all is well", None, Some("^all .* well$")).await, Verdict::healthy("status 200"));
    let missing = judged("out of disk", Some("well"), None).await;
    assert_eq!(missing, Verdict::unhealthy("status 200, body without \"well\""));
    let other = judged("all is not well", Some("well"), Some("^all is w")).await;
    assert_eq!(other, Verdict::unhealthy("status 200, body does not match \"^all is w\""));
    let late = "x".repeat(MOST_BODY) + "well";
    assert_eq!(judged(&late, Some("well"), None).await.state, State::Unhealthy);
}

#[tokio::test]
async fn another_port_may_be_asked() {
    let (address, asked) = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut config = config(SocketAddr::new(address.ip(), 1));
    let kind = HealthKind::Http(HttpCheck::default());
    config.health = Some(Health { port: Some(address.port()), ..Health::new(kind) });
    assert_eq!(check(&config).await, Verdict::healthy("status 200"));
    assert!(asked.await.unwrap().contains(&format!("host: {address}\r\n")));
}

#[tokio::test]
async fn says_that_nothing_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(check(&config(address)).await.why, "connect: connection refused");
}

#[tokio::test]
async fn says_that_the_answer_is_not_http() {
    let (address, _asked) = answering("SSH-2.0-OpenSSH\r\n\r\n").await;
    let verdict = check(&config(address)).await;
    assert!(verdict.why.starts_with("request: "), "{}", verdict.why);
}

#[tokio::test]
async fn speaks_http2_over_tls_and_verifies() {
    let made = rcgen::generate_simple_self_signed(vec!["api.example.com".to_owned()]).unwrap();
    let (address, _server) = secure_http2(&made).await;
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), made.cert.pem()).unwrap();
    let mut config = config(address);
    let tls = |ca, verify| {
        let sni = Some("api.example.com".to_owned());
        Some(UpstreamTls { ca, sni, verify, identity: None })
    };
    let mut asked = |with| {
        let health = config.health.as_mut().unwrap();
        let HealthKind::Http(check) = &mut health.kind else { panic!("an HTTP check") };
        check.http2 = true;
        health.tls = with;
        config.clone()
    };
    let trusting = asked(tls(Some(ca.path().to_owned()), true));
    assert_eq!(check(&trusting).await, Verdict::healthy("status 200"));
    assert_eq!(check(&asked(tls(None, false))).await, Verdict::healthy("status 200"));
    let stranger = rcgen::generate_simple_self_signed(vec!["api.example.com".to_owned()]).unwrap();
    std::fs::write(ca.path(), stranger.cert.pem()).unwrap();
    let why = check(&trusting).await.why;
    assert!(why.starts_with("tls: invalid peer certificate"), "{why}");
}

/// An HTTP/2 server that answers 200 to whatever names the host in its authority.
async fn secure_http2(made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let service = hyper::service::service_fn(async |request: Request<_>| {
                let _: &hyper::body::Incoming = request.body();
                let known = request.uri().host() == Some("api.example.com");
                let status = if known { 200 } else { 421 };
                let response = http::Response::builder().status(status);
                response.body(Full::<Bytes>::default())
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(server.serve_connection(TokioIo::new(stream), service).await);
        }
    };
    (address, tokio::spawn(serve))
}
