//! A second attempt beside one that is slow.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use super::super::harness::{Client, Endpoint, RawEndpoint, Weir, get, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Never answers, and counts the connections that were closed on it.
async fn deaf(closed: &Arc<AtomicUsize>) -> RawEndpoint {
    let closed = Arc::clone(closed);
    RawEndpoint::start(move |mut raw, _| {
        let closed = Arc::clone(&closed);
        async move {
            raw.head().await;
            raw.closed().await;
            closed.fetch_add(1, SeqCst);
        }
    })
    .await
}

#[tokio::test]
async fn the_first_answer_wins_and_the_other_is_cancelled() {
    let closed = Arc::default();
    let (deaf, quick) = (deaf(&closed).await, RawEndpoint::answering(OK).await);
    let weir = Weir::before_with(&[deaf.address, quick.address], "hedge = { after = \"50ms\" }").await;
    let mut client = Client::http1(weir.web()).await;
    for number in 0..4 {
        assert_eq!(client.get(&format!("/{number}")).await.text(), "ok");
    }
    let line = weir.logged_where("a hedge", |line| line["hedge"] == "won").await;
    assert_eq!((&line["attempts"], &line["endpoint"]), (&2.into(), &quick.address.to_string().into()));
    assert!(weir.metric("weir_hedges_total{cluster=\"web\",result=\"won\"}").await >= 1.0);
    assert!(deaf.connections() >= 1);
    until("the slow connections to be closed", || closed.load(SeqCst) == deaf.connections()).await;
}

#[tokio::test]
async fn a_stream_that_lost_is_reset_and_its_connection_goes_on() {
    let (slow, quick) = (Endpoint::start("slow").await, Endpoint::start("quick").await);
    quick.open();
    let text =
        "http2 = true\nhedge = { after = \"50ms\" }\nlimits = { endpoint-requests = 1 }\nqueue = { timeout = \"20s\" }";
    let weir = Weir::before_with(&[slow.address, quick.address], text).await;
    let mut client = Client::http1(weir.web()).await;
    for number in 0..6 {
        assert_eq!(client.get(&format!("/late/{number}")).await.text(), "late");
    }
    assert!(slow.requests() >= 2, "it was asked again after its stream was given up");
    assert!(slow.connections() <= 2, "{} connections for two workers", slow.connections());
}

#[tokio::test]
async fn what_is_not_safe_to_repeat_is_not_hedged() {
    let (one, two) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let text = "hedge = { after = \"1ms\" }\nattempt-timeout = \"2s\"";
    let weir = Weir::before_with(&[one.address, two.address], text).await;
    let mut client = Client::http1(weir.web()).await;
    assert_eq!(client.post("/hang", "order").await.status, 504);
    assert_eq!(one.requests() + two.requests(), 1);
    assert_eq!(client.get("/hang").await.status, 504);
    assert_eq!(one.requests() + two.requests(), 3);
    let line = weir.logged_where("both", |line| line["method"] == "GET").await;
    assert_eq!((&line["error"], &line["attempts"]), (&"attempt timed out".into(), &2.into()));
}

#[tokio::test]
async fn an_attempt_that_fails_leaves_the_other_to_answer() {
    let slow = Endpoint::start("slow").await;
    let failing = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
    })
    .await;
    let weir = Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "web"
        cluster = "web"
        [clusters.web]
        endpoints = [{{ address = "{}", weight = 1000 }}, "{}"]
        hedge = {{ after = "50ms" }}
        "#,
        slow.address, failing.address
    ))
    .await;
    let address = weir.web();
    let asked = tokio::spawn(async move { get(address, "/late").await });
    until("the failing endpoint to be asked", || failing.connections() >= 1).await;
    slow.open();
    assert_eq!(asked.await.unwrap().text(), "late");
    let line = weir.logged_where("a hedge", |line| line["hedge"] == "lost").await;
    assert_eq!((&line["status"], &line["endpoint"]), (&200.into(), &slow.address.to_string().into()));
}

#[tokio::test]
async fn hedges_stay_inside_the_budget() {
    let closed = Arc::default();
    let (one, two) = (deaf(&closed).await, deaf(&closed).await);
    let text =
        "hedge = { after = \"1ms\" }\nattempt-timeout = \"100ms\"\nretry-budget = { percent = 0, min-per-second = 0 }";
    let weir = Weir::before_with(&[one.address, two.address], text).await;
    assert_eq!(get(weir.web(), "/").await.status, 504);
    assert_eq!(one.connections() + two.connections(), 1);
    assert_eq!(weir.metric("weir_retries_denied_total{cluster=\"web\"}").await, 1.0);
}
