//! CONNECT, for routes that want it.

use http::{Method, Request};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::harness::{Endpoint, Raw, RawEndpoint, Reserved, Weir, get, soon};

/// Says at the end what it was told.
async fn listener() -> RawEndpoint {
    RawEndpoint::start(|mut raw, _| async move {
        raw.send("hello ").await;
        let rest = raw.rest().await;
        raw.send(format!("heard {rest}")).await;
    })
    .await
}

async fn before(endpoint: std::net::SocketAddr) -> Weir {
    Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "db"
        connect = true
        match = {{ host = "db.test" }}
        cluster = "db"
        response-headers = {{ set = {{ x-route = "{{route}}" }} }}
        [[routes]]
        name = "page"
        match = {{ path-prefix = "/page" }}
        respond = {{ body = "page" }}
        [clusters.db]
        endpoints = ["{endpoint}"]
        "#
    ))
    .await
}

#[tokio::test]
async fn octets_pass_to_an_endpoint_of_the_route() {
    let endpoint = listener().await;
    let weir = before(endpoint.address).await;
    let mut raw = Raw::connect(weir.web()).await;
    // What follows the head at once is the endpoint's already.
    raw.send("CONNECT db.test:5432 HTTP/1.1\r\nHost: other.test\r\n\r\nyou ").await;
    let head = raw.head().await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200 ") && head.contains("x-route: db"), "{head}");
    assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
    raw.until("hello ").await;
    raw.send("and me").await;
    raw.finish().await;
    assert_eq!(raw.rest().await, "heard you and me");
    let line = weir.logged_where("the tunnel", |line| line["method"] == "CONNECT").await;
    assert_eq!((&line["status"], &line["host"], &line["route"]), (&200.into(), &"db.test:5432".into(), &"db".into()));
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&10.into(), &22.into()));
    assert_eq!(weir.metric("weir_tunnels_total{cluster=\"db\",end=\"closed\"}").await, 1.0);
}

#[tokio::test]
async fn so_they_do_over_http2() {
    let endpoint = listener().await;
    let weir = before(endpoint.address).await;
    let stream = TcpStream::connect(weir.web()).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(Method::CONNECT).uri("db.test:5432").body(()).unwrap();
    let (response, mut send) = sender.send_request(request, false).unwrap();
    let response = soon("an answer", response).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["x-route"]), (200, &"db".parse().unwrap()));
    send.send_data("you".into(), true).unwrap();
    let (mut body, mut said) = (response.into_body(), Vec::new());
    while let Some(data) = soon("octets", body.data()).await {
        said.extend_from_slice(&data.unwrap());
    }
    assert_eq!(said, b"hello heard you");
}

#[tokio::test]
async fn it_is_refused_where_no_route_wants_it() {
    let endpoint = listener().await;
    let weir = before(endpoint.address).await;
    for (request, status) in [
        ("CONNECT other.test:5432 HTTP/1.1\r\nHost: other.test\r\n\r\n", "405"),
        ("CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test\r\nContent-Length: 1\r\n\r\nx", "400"),
        ("GET / HTTP/1.1\r\nHost: db.test\r\n\r\n", "404"),
    ] {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(request).await;
        let (head, _) = raw.response().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{head}");
    }
    assert_eq!(endpoint.connections(), 0);
    assert_eq!(get(weir.web(), "/page").await.text(), "page", "other methods go their ways");
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_is_told() {
    let reserved = Reserved::new();
    let weir = before(reserved.address).await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test\r\n\r\n").await;
    let (head, _) = raw.response().await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
}

#[tokio::test]
async fn a_client_may_speak_http_within() {
    let endpoint = Endpoint::start("inner").await;
    let weir = before(endpoint.address).await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("CONNECT db.test:80 HTTP/1.1\r\nHost: db.test:80\r\n\r\n").await;
    raw.head().await;
    for _ in 0..2 {
        raw.send("GET / HTTP/1.1\r\nHost: inner.test\r\n\r\n").await;
        let (head, body) = raw.response().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(body, "inner");
    }
    raw.stream.shutdown().await.unwrap();
    assert!(endpoint.last().values("x-forwarded-for").is_empty(), "nothing is read or added");
}

#[tokio::test]
async fn what_came_for_a_refused_tunnel_is_no_request() {
    let reserved = Reserved::new();
    let weir = Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "denied"
        connect = true
        match = {{ host = "denied.test" }}
        deny = ["127.0.0.0/8"]
        cluster = "dead"
        [[routes]]
        name = "dead"
        connect = true
        match = {{ host = "dead.test" }}
        cluster = "dead"
        [[routes]]
        name = "page"
        respond = {{ body = "page" }}
        [clusters.dead]
        endpoints = ["{}"]
        "#,
        reserved.address
    ))
    .await;
    for (host, status) in [("denied.test", 403), ("dead.test", 502), ("none.test", 405)] {
        let mut raw = Raw::connect(weir.web()).await;
        let inner = "GET /inner HTTP/1.1\r\nHost: weir.test\r\n\r\n";
        raw.send(format!("CONNECT {host}:80 HTTP/1.1\r\nHost: {host}\r\n\r\n{inner}")).await;
        let (head, _) = raw.response().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{head}");
        assert_eq!(raw.rest().await, "", "{host}");
    }
}
