//! What a client is told when an exchange fails, and what the log says of it.

use std::{net::SocketAddr, time::Duration};

use http::Method;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

use super::harness::{
    Body, Client, Endpoint, Raw, RawEndpoint, Reserved, Weir, empty, get, octets, request, soon, until,
};

const QUICK_CHECKS: &str =
    r#"health = { http = { path = "/health" }, interval = "20ms", timeout = "5s", fall = 1, rise = 1 }"#;

#[tokio::test]
async fn no_route_is_404() {
    let weir = Weir::start(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "ping"
        match = { path = "/ping" }
        respond = { body = "pong" }
        "#,
    )
    .await;
    let reply = get(weir.web(), "/nowhere").await;
    assert_eq!((reply.status.as_u16(), reply.text()), (404, "404 Not Found\n"));
    let line = weir.logged("/nowhere").await;
    assert_eq!((&line["status"], &line["route"], &line["error"]), (&404.into(), &"".into(), &"no route".into()));
}

#[tokio::test]
async fn no_eligible_endpoint_is_503_and_the_log_says_so() {
    let endpoint = Endpoint::start("a").await;
    endpoint.set_healthy(false);
    let weir = Weir::before_with(&[endpoint.address], QUICK_CHECKS).await;
    weir.endpoint_is("web", endpoint.address, "unhealthy").await;
    let reply = get(weir.web(), "/none").await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"));
    let line = weir.logged("/none").await;
    assert_eq!((&line["status"], &line["cluster"], &line["attempts"]), (&503.into(), &"web".into(), &0.into()));
    assert_eq!(line["error"], "no eligible endpoint");
    weir.said_where("endpoint down", |line| line["endpoint"] == endpoint.address.to_string()).await;
    weir.said_where("cluster has no endpoint left", |line| line["cluster"] == "web").await;
    assert_eq!(endpoint.requests(), 0);
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_is_502() {
    let reserved = Reserved::new();
    let weir = Weir::before(&[reserved.address]).await;
    assert_eq!(get(weir.web(), "/refused").await.status, 502);
    let line = weir.logged("/refused").await;
    assert_eq!((&line["status"], &line["endpoint"]), (&502.into(), &reserved.address.to_string().into()));
    assert!(line["error"].as_str().unwrap().contains("refused"), "{line}");
}

#[tokio::test]
async fn an_endpoint_that_breaks_the_protocol_is_502() {
    for answer in [
        "SMTP ready\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\nbad header: x\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ] {
        let endpoint = RawEndpoint::answering(answer).await;
        let weir = Weir::before(&[endpoint.address]).await;
        assert_eq!(get(weir.web(), "/broken").await.status, 502, "{answer:?}");
        assert_eq!(weir.logged("/broken").await["status"], 502, "{answer:?}");
    }
}

#[tokio::test]
async fn a_silent_endpoint_is_504() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before_with(&[endpoint.address], "response-timeout = \"100ms\"").await;
    assert_eq!(get(weir.web(), "/hang").await.status, 504);
    let line = weir.logged("/hang").await;
    assert_eq!((&line["status"], &line["error"]), (&504.into(), &"endpoint timed out".into()));
    assert_eq!(get(weir.web(), "/").await.text(), "a", "the next request is served");
}

#[tokio::test]
async fn a_route_timeout_is_504() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "short"
        cluster = "web"
        timeout = "100ms"
        [clusters.web]
        endpoints = ["{}"]
        "#,
        endpoint.address
    ))
    .await;
    assert_eq!(get(weir.web(), "/hang").await.status, 504);
    assert_eq!(weir.logged("/hang").await["error"], "route timed out");
}

#[tokio::test]
async fn a_route_timeout_also_ends_a_response_that_goes_on_and_on() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        raw.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while raw.try_send("1\r\nx\r\n").await.is_ok() {
            ticks.tick().await;
        }
    })
    .await;
    let weir = Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "short"
        cluster = "web"
        timeout = "200ms"
        [clusters.web]
        endpoints = ["{}"]
        "#,
        endpoint.address
    ))
    .await;
    let mut client = Client::http1(weir.web()).await;
    assert!(client.try_ask(request(Method::GET, "/on").body(empty()).unwrap()).await.is_err());
    assert_eq!(weir.logged("/on").await["error"], "route timed out");
}

#[tokio::test]
async fn a_client_that_leaves_is_499_in_the_log_and_its_endpoint_is_told() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let endpoint = RawEndpoint::start(move |mut raw, _| {
        let told = told.clone();
        async move {
            raw.head().await;
            told.send("asked").unwrap();
            raw.closed().await;
            told.send("closed").unwrap();
        }
    })
    .await;
    let weir = Weir::before(&[endpoint.address]).await;
    let mut client = Raw::connect(weir.web()).await;
    client.send("GET /left HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    assert_eq!(soon("the request", heard.recv()).await, Some("asked"));
    drop(client);
    assert_eq!(soon("the endpoint to be told", heard.recv()).await, Some("closed"));
    let line = weir.logged("/left").await;
    assert_eq!((&line["status"], &line["error"]), (&499.into(), &"client left".into()));
}

#[tokio::test]
async fn an_http2_client_that_gives_up_is_499_in_the_log() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before(&[endpoint.address]).await;
    let mut client = Client::http2(weir.web()).await;
    let mut other = client.another();
    {
        let asking = client.send(request(Method::GET, "/late").body(empty()).unwrap());
        tokio::pin!(asking);
        until("the request to arrive", || {
            assert!(futures_util::FutureExt::now_or_never(&mut asking).is_none());
            endpoint.requests() == 1
        })
        .await;
    }
    assert_eq!(weir.logged("/late").await["status"], 499);
    assert_eq!(other.get("/").await.text(), "a", "the connection goes on");
}

#[tokio::test]
async fn a_head_that_does_not_come_is_408() {
    let weir = Weir::start(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        limits = { header-timeout = "100ms" }
        [[routes]]
        name = "all"
        respond = { body = "x" }
        "#,
    )
    .await;
    let mut slow = Raw::connect(weir.web()).await;
    slow.send("GET /slow HTTP/1.1\r\nHost: we").await;
    let (head, _) = slow.response().await;
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
    slow.closed().await;
    weir.logged_where("status 408", |line| line["status"] == 408).await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        limits = {{ body-timeout = "100ms" }}
        [[routes]]
        name = "all"
        cluster = "web"
        [clusters.web]
        endpoints = ["{}"]
        "#,
        endpoint.address
    ))
    .await;
    let mut slow = Raw::connect(weir.web()).await;
    slow.send("POST /count HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 10\r\n\r\n123").await;
    let (head, _) = slow.response().await;
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    assert_eq!(weir.logged("/count").await["error"], "client too slow to send");
}

#[tokio::test]
async fn a_large_body_is_nobodys_413() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before(&[endpoint.address]).await;
    let body: Body = octets(8 << 20, true);
    let mut client = Client::http1(weir.web()).await;
    let reply = client.ask(request(Method::POST, "/count").body(body).unwrap()).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "8388608"));
}

#[tokio::test]
async fn a_response_that_breaks_off_breaks_off_for_the_client_too() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        raw.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
    })
    .await;
    let weir = Weir::before(&[endpoint.address]).await;
    for mut client in [Client::http1(weir.web()).await, Client::http2(weir.web()).await] {
        let response = client.try_ask(request(Method::GET, "/broken").body(empty()).unwrap()).await;
        assert!(response.is_err(), "{response:?}");
    }
    assert_eq!(endpoint.connections(), 2, "a response that has begun is not asked for again");
}

#[tokio::test]
async fn a_response_shorter_than_announced_breaks_off() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort").await;
    })
    .await;
    let weir = Weir::before(&[endpoint.address]).await;
    let mut client = Raw::connect(weir.web()).await;
    client.send("GET /short HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    client.head().await;
    assert_eq!(client.rest().await, "short");
}

/// `/404`, `/502` and `/503` end in that; `/ping` is answered.
async fn failing(refusing: &Reserved, sick: &Endpoint) -> Weir {
    sick.set_healthy(false);
    let weir = Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "ping"
        match = {{ path = "/ping" }}
        respond = {{ body = "pong" }}
        [[routes]]
        name = "refused"
        match = {{ path = "/502" }}
        cluster = "refusing"
        [[routes]]
        name = "none"
        match = {{ path = "/503" }}
        cluster = "sick"
        [clusters.refusing]
        endpoints = ["{}"]
        [clusters.sick]
        endpoints = ["{}"]
        {QUICK_CHECKS}
        "#,
        refusing.address, sick.address
    ))
    .await;
    weir.endpoint_is("sick", sick.address, "unhealthy").await;
    weir
}

#[tokio::test]
async fn a_head_that_fails_has_the_length_and_no_body() {
    let (refusing, sick) = (Reserved::new(), Endpoint::start("a").await);
    let weir = failing(&refusing, &sick).await;
    let mut raw = Raw::connect(weir.web()).await;
    for status in [404, 502, 503] {
        raw.send(format!("HEAD /{status} HTTP/1.1\r\nHost: weir.test\r\n\r\n")).await;
        let head = raw.head().await.to_ascii_lowercase();
        assert!(head.starts_with(&format!("http/1.1 {status} ")) && head.contains("content-length: "), "{head}");
        raw.send("GET /ping HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
        let (head, body) = raw.response().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "a body after {status}? {head}");
        assert_eq!(body, "pong");
    }
}

#[tokio::test]
async fn a_head_that_fails_is_no_error_of_its_http2_stream() {
    let (refusing, sick) = (Reserved::new(), Endpoint::start("a").await);
    let weir = failing(&refusing, &sick).await;
    let mut client = Client::http2(weir.web()).await;
    for status in [404, 502, 503] {
        let asked = request(Method::HEAD, &format!("/{status}")).body(empty()).unwrap();
        let reply = client.ask(asked).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (status, ""));
        assert_eq!(client.get("/ping").await.text(), "pong");
    }
}

/// An address that leaves further connections waiting: its queue is short, and full.
async fn full_queue() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let (address, mut waiting) = (listener.local_addr().unwrap(), Vec::new());
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (listener, waiting, address)
}

#[tokio::test]
async fn a_route_timeout_also_ends_connecting() {
    let (_listener, _waiting, address) = full_queue().await;
    let weir = Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "short"
        cluster = "web"
        timeout = "200ms"
        [clusters.web]
        endpoints = ["{address}"]
        connect-timeout = "60s"
        "#
    ))
    .await;
    assert_eq!(get(weir.web(), "/queue").await.status, 504);
    assert_eq!(weir.logged("/queue").await["error"], "route timed out");
}
