//! Requests in flight at a time, by key.

use http::Method;

use super::{another, to};
use crate::e2e::{
    harness::{Client, Endpoint, Weir, empty, eventually, request},
    websocket,
};

/// Waits until so many requests are at the endpoint.
async fn arrived(endpoint: &Endpoint, number: usize) {
    eventually("requests at the endpoint", || async { (endpoint.requests() == number).then_some(()) }).await;
}

#[tokio::test]
async fn a_key_with_as_many_in_flight_as_may_be_is_refused_while_others_are_served() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&to(&endpoint, "", "rate-limits = { max-in-flight = 2 }")).await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let mut client = Client::http1(weir.web()).await;
        waiting.spawn(async move { client.get("/late").await });
    }
    arrived(&endpoint, 2).await;
    let mut client = Client::http1(weir.web()).await;
    let refused = client.get("/refused").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "1"));
    assert_eq!(refused.header("ratelimit-policy"), "\"route:all:in-flight\";q=2;qu=\"concurrent-requests\"");
    assert_eq!(refused.header("ratelimit"), "\"route:all:in-flight\";r=0");
    assert_eq!(weir.logged("/refused").await["error"], "rate limit route:all has as many in flight as may be");
    assert_eq!(another(weir.web()).await.get("/").await.status, 200);
    endpoint.open();
    for reply in waiting.join_all().await {
        assert_eq!(reply.status, 200);
    }
    eventually("room", || async { (Client::http1(weir.web()).await.get("/").await.status == 200).then_some(()) }).await;
    assert!(weir.metric("weir_rate_limit_requests_total{limit=\"route:all\",result=\"busy\"}").await >= 1.0);
    assert_eq!(weir.metric("weir_rate_limit_requests_total{limit=\"route:all\",result=\"limited\"}").await, 0.0);
}

#[tokio::test]
async fn streams_of_one_connection_count_each() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&to(&endpoint, "", "rate-limits = { max-in-flight = 1 }")).await;
    let mut client = Client::http2(weir.web()).await;
    let mut other = client.another();
    let waiting = tokio::spawn(async move { other.get("/late").await });
    arrived(&endpoint, 1).await;
    assert_eq!(client.get("/").await.status, 429);
    endpoint.open();
    assert_eq!(waiting.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_counts_no_more() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&to(&endpoint, "", "rate-limits = { max-in-flight = 1 }")).await;
    let mut client = Client::http1(weir.web()).await;
    let asked = tokio::spawn(async move { client.send(request(Method::GET, "/late").body(empty()).unwrap()).await });
    arrived(&endpoint, 1).await;
    assert_eq!(Client::http1(weir.web()).await.get("/").await.status, 429);
    asked.abort();
    eventually("room", || async { (Client::http1(weir.web()).await.get("/").await.status == 200).then_some(()) }).await;
}

#[tokio::test]
async fn a_tunnel_counts_as_long_as_it_is_open() {
    let endpoint = websocket::echo().await;
    let weir = Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"chat\"\nmatch = {{ path = \"/chat\" }}\ncluster = \"a\"\nrate-limits = \"busy\"\n\
         [[routes]]\nname = \"rest\"\nrespond = {{}}\nrate-limits = \"busy\"\n\
         [rate-limits.busy]\nmax-in-flight = 1\n\
         [clusters.a]\nendpoints = [\"{}\"]\n",
        endpoint.address
    ))
    .await;
    let socket = websocket::connect(&weir).await;
    assert_eq!(Client::http1(weir.web()).await.get("/").await.status, 429);
    drop(socket);
    eventually("room", || async { (Client::http1(weir.web()).await.get("/").await.status == 200).then_some(()) }).await;
}
