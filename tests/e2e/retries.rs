//! When a request is sent again, and when it must not be.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use http::Method;

use super::harness::{Client, Endpoint, Raw, RawEndpoint, Reserved, Weir, empty, full, get, plain, request};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// One worker, so that requests meet the same pool of connections.
fn config(endpoints: &[std::net::SocketAddr]) -> String {
    plain(endpoints, "[process]\nworkers = 1")
}

#[tokio::test]
async fn a_refused_connection_is_tried_once_on_another_endpoint() {
    let (refusing, endpoint) = (Reserved::new(), Endpoint::start("a").await);
    let weir = Weir::start(&config(&[refusing.address, endpoint.address])).await;
    let mut client = Client::http1(weir.web()).await;
    for number in 0..4 {
        assert_eq!(client.get(&format!("/{number}")).await.text(), "a");
    }
    let retried = weir.logged_where("a second attempt", |line| line["attempts"] == 2).await;
    assert_eq!((&retried["status"], &retried["endpoint"]), (&200.into(), &endpoint.address.to_string().into()));
    assert!(weir.metric("weir_retries_total{cluster=\"web\",reason=\"connect\"}").await >= 2.0);
}

#[tokio::test]
async fn a_body_that_nobody_has_seen_goes_to_the_other_endpoint_whole() {
    let (refusing, endpoint) = (Reserved::new(), Endpoint::start("a").await);
    let weir = Weir::start(&config(&[refusing.address, endpoint.address])).await;
    let mut client = Client::http1(weir.web()).await;
    for _ in 0..4 {
        assert_eq!(client.post("/echo", "all of it").await.text(), "all of it");
    }
    assert_eq!(endpoint.requests(), 4);
}

#[tokio::test]
async fn there_is_no_third_attempt() {
    let refusing = [Reserved::new(), Reserved::new(), Reserved::new()];
    let addresses: Vec<_> = refusing.iter().map(|one| one.address).collect();
    let weir = Weir::start(&config(&addresses)).await;
    assert_eq!(get(weir.web(), "/refused").await.status, 502);
    assert_eq!(weir.logged("/refused").await["attempts"], 2);
}

/// Answers the first request of its first connection, and drops that connection on the second.
async fn forgetful(bodies: Arc<AtomicUsize>) -> RawEndpoint {
    RawEndpoint::start(move |mut raw, number| {
        let bodies = Arc::clone(&bodies);
        async move {
            raw.head().await;
            raw.send(OK).await;
            if number > 0 {
                return raw.closed().await;
            }
            if raw.head().await.starts_with("POST") {
                bodies.fetch_add(1, SeqCst);
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_kept_connection_that_had_closed_is_replaced_by_a_fresh_one() {
    let endpoint = forgetful(Arc::default()).await;
    let weir = Weir::start(&config(&[endpoint.address])).await;
    assert_eq!(get(weir.web(), "/first").await.text(), "ok");
    assert_eq!(get(weir.web(), "/second").await.text(), "ok");
    let line = weir.logged("/second").await;
    assert_eq!((&line["attempts"], &line["reused"]), (&2.into(), &false.into()));
    assert_eq!(endpoint.connections(), 2);
}

#[tokio::test]
async fn a_post_that_may_have_been_seen_is_not_sent_again() {
    let bodies = Arc::new(AtomicUsize::new(0));
    let endpoint = forgetful(Arc::clone(&bodies)).await;
    let weir = Weir::start(&config(&[endpoint.address])).await;
    let mut client = Client::http1(weir.web()).await;
    assert_eq!(client.get("/first").await.text(), "ok");
    assert_eq!(client.post("/order", "one").await.status, 502);
    assert_eq!((bodies.load(SeqCst), endpoint.connections()), (1, 1));
    assert_eq!(weir.logged("/order").await["attempts"], 1);
}

#[tokio::test]
async fn a_post_without_a_body_is_not_sent_again_either() {
    let endpoint = forgetful(Arc::default()).await;
    let weir = Weir::start(&config(&[endpoint.address])).await;
    let mut client = Client::http1(weir.web()).await;
    client.get("/first").await;
    assert_eq!(client.ask(request(Method::POST, "/order").body(empty()).unwrap()).await.status, 502);
    assert_eq!(endpoint.connections(), 1);
}

#[tokio::test]
async fn a_put_that_meets_a_closed_connection_is_sent_again_whole() {
    let endpoint = RawEndpoint::start(|mut raw, number| async move {
        raw.head().await;
        if number > 0 {
            raw.until("all of it").await;
        }
        raw.send(OK).await;
        // The connection ends as the next request is on its way.
        if number == 0 {
            raw.head().await;
        } else {
            raw.closed().await;
        }
    })
    .await;
    let weir = Weir::start(&config(&[endpoint.address])).await;
    let mut client = Client::http1(weir.web()).await;
    client.get("/first").await;
    assert_eq!(client.ask(request(Method::PUT, "/thing").body(full("all of it")).unwrap()).await.text(), "ok");
    let line = weir.logged("/thing").await;
    assert_eq!((&line["attempts"], &line["retries"], &line["bytes_in"]), (&2.into(), &"stale".into(), &9.into()));
    assert_eq!(endpoint.connections(), 2);
}

/// Closes every connection when it has the head of a request.
async fn resetting() -> RawEndpoint {
    RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
    })
    .await
}

#[tokio::test]
async fn a_get_that_meets_a_reset_goes_to_another_endpoint() {
    let (resets, endpoint) = (resetting().await, Endpoint::start("a").await);
    let weir = Weir::start(&config(&[resets.address, endpoint.address])).await;
    let mut client = Client::http1(weir.web()).await;
    for number in 0..4 {
        assert_eq!(client.get(&format!("/{number}")).await.text(), "a");
    }
    let line = weir.logged_where("a second attempt", |line| line["attempts"] == 2).await;
    assert_eq!((&line["status"], &line["retries"]), (&200.into(), &"reset".into()));
    assert!(weir.metric("weir_retries_total{cluster=\"web\",reason=\"reset\"}").await >= 1.0);
}

#[tokio::test]
async fn a_get_that_meets_a_reset_of_the_only_endpoint_is_repeated_there_once() {
    let endpoint = resetting().await;
    let weir = Weir::start(&config(&[endpoint.address])).await;
    assert_eq!(get(weir.web(), "/").await.status, 502);
    assert_eq!(endpoint.connections(), 2);
    let line = weir.logged("/").await;
    assert_eq!((&line["attempts"], &line["retries"]), (&2.into(), &"reset".into()));
}

#[tokio::test]
async fn a_reset_is_not_repeated_where_that_is_off() {
    for off in ["retries = { attempts = 1 }", "retry-budget = { percent = 0, min-per-second = 0 }"] {
        let endpoint = resetting().await;
        let weir = Weir::before_with(&[endpoint.address], off).await;
        assert_eq!(get(weir.web(), "/").await.status, 502, "{off}");
        assert_eq!(endpoint.connections(), 1, "{off}");
        assert!(weir.logged("/").await["retries"].is_null(), "{off}");
    }
}

#[tokio::test]
async fn a_post_that_meets_a_reset_is_not_sent_again() {
    let (first, second) = (resetting().await, resetting().await);
    let weir = Weir::start(&config(&[first.address, second.address])).await;
    let mut client = Client::http1(weir.web()).await;
    assert_eq!(client.post("/order", "one").await.status, 502);
    assert_eq!(first.connections() + second.connections(), 1);
}

#[tokio::test]
async fn a_session_that_meets_a_reset_stays_where_it_is() {
    let endpoint = RawEndpoint::start(|mut raw, number| async move {
        raw.head().await;
        // The second request of the session is lost with its connection.
        if number != 1 {
            raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
        }
    })
    .await;
    let other = Endpoint::start("other").await;
    let more = "balance = \"first\"\naffinity = { header = \"x-user\" }\n[process]\nworkers = 1";
    let weir = Weir::start(&plain(&[endpoint.address, other.address], more)).await;
    let mut client = Client::http1(weir.web()).await;
    for path in ["/begin", "/again"] {
        let ask = request(Method::GET, path).header("x-user", "ann").body(empty()).unwrap();
        assert_eq!(client.ask(ask).await.text(), "ok", "{path}");
    }
    let line = weir.logged("/again").await;
    assert_eq!((&line["attempts"], &line["affinity"]), (&2.into(), &"hit".into()));
}

#[tokio::test]
async fn a_retry_that_finds_no_endpoint_is_not_told_of() {
    let refusing = Reserved::new();
    let weir = Weir::start(&config(&[refusing.address])).await;
    assert_eq!(get(weir.web(), "/").await.status, 502);
    let line = weir.logged("/").await;
    assert!(line["attempts"] == 1 && line["retries"].is_null(), "{line}");
    assert_eq!(weir.metric("weir_retries_total{cluster=\"web\",reason=\"connect\"}").await, 0.0);
}

#[tokio::test]
async fn an_endpoint_that_closes_after_every_response_fails_nobody() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
    })
    .await;
    let weir = Weir::start(&config(&[endpoint.address])).await;
    let mut client = Client::http1(weir.web()).await;
    for _ in 0..20 {
        assert_eq!(client.post("/order", "one").await.text(), "ok");
    }
    assert_eq!(endpoint.connections(), 20);
}

#[tokio::test]
async fn connections_to_endpoints_are_kept() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&config(&[endpoint.address])).await;
    for number in 0..5 {
        get(weir.web(), &format!("/{number}")).await;
    }
    assert_eq!((endpoint.requests(), endpoint.connections()), (5, 1));
    assert_eq!(weir.logged("/4").await["reused"], true);
}

#[tokio::test]
async fn a_put_of_no_chunk_is_sent_again_to_its_end() {
    let endpoint = RawEndpoint::start(|mut raw, number| async move {
        let mut head = raw.head().await;
        if number == 0 {
            raw.send(OK).await;
            raw.head().await;
            return;
        }
        head.make_ascii_lowercase();
        if head.contains("transfer-encoding: chunked") {
            raw.until("0\r\n\r\n").await;
        } else {
            assert!(head.contains("content-length: 0\r\n"), "{head}");
        }
        raw.send(OK).await;
        raw.closed().await;
    })
    .await;
    let weir = Weir::start(&config(&[endpoint.address])).await;
    assert_eq!(get(weir.web(), "/first").await.text(), "ok");
    let mut client = Raw::connect(weir.web()).await;
    client.send("PUT /empty HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    let (head, body) = client.response().await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body == "ok", "{head}");
    assert_eq!(weir.logged("/empty").await["attempts"], 2);
}
