//! What is sent again, to whom, and what the client gets in the end.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

use http::Method;

use super::super::harness::{Client, Endpoint, RawEndpoint, Reply, Weir, channel, full, get, octets, request, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BAD: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nbad";

/// Waits of no length, so that nobody waits for them.
const AT_ONCE: &str = "backoff = { base = \"0s\", max = \"0s\" }";

async fn weir(endpoints: &[SocketAddr], retries: &str) -> Weir {
    Weir::before_with(endpoints, &format!("retries = {{ {retries}, {AT_ONCE} }}")).await
}

/// Answers every request with 503, once it has all of a body of this length.
async fn failing(body: usize) -> (RawEndpoint, Arc<AtomicUsize>) {
    counted(BAD, body).await
}

async fn counted(answer: &'static str, body: usize) -> (RawEndpoint, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let endpoint = RawEndpoint::start(move |mut raw, _| {
        let count = Arc::clone(&count);
        async move {
            loop {
                raw.head().await;
                raw.exactly(body).await;
                count.fetch_add(1, SeqCst);
                raw.send(answer).await;
            }
        }
    })
    .await;
    (endpoint, requests)
}

/// Requests until the endpoint that fails was met first for one of them.
async fn ask_until_retried(
    weir: &Weir,
    mut ask: impl AsyncFnMut(&mut Client, &str) -> Reply,
) -> (Reply, serde_json::Value) {
    let mut client = Client::http1(weir.web()).await;
    for number in 0..4 {
        let path = format!("/echo/{number}");
        let reply = ask(&mut client, &path).await;
        let line = weir.logged(&path).await;
        if line["attempts"] == 2 {
            return (reply, line);
        }
    }
    panic!("the failing endpoint was never asked");
}

#[tokio::test]
async fn a_status_is_retried_on_another_endpoint() {
    let ((failing, refused), endpoint) = (failing(0).await, Endpoint::start("a").await);
    let weir = weir(&[failing.address, endpoint.address], "on = [\"5xx\"]").await;
    let mut client = Client::http1(weir.web()).await;
    for number in 0..4 {
        assert_eq!(client.get(&format!("/{number}")).await.text(), "a");
    }
    let line = weir.logged_where("a second attempt", |line| line["attempts"] == 2).await;
    assert_eq!((&line["status"], &line["retries"]), (&200.into(), &"503".into()));
    assert_eq!(line["endpoint"], endpoint.address.to_string());
    assert!(refused.load(SeqCst) >= 1);
    assert_eq!(failing.connections(), 1, "a response that was read to its end leaves its connection usable");
    assert!(weir.metric("weir_retries_total{cluster=\"web\",reason=\"status\"}").await >= 1.0);
}

#[tokio::test]
async fn the_response_of_the_last_attempt_is_passed_on() {
    let ((one, _), (two, _)) = (failing(0).await, failing(0).await);
    let weir = weir(&[one.address, two.address], "attempts = 3, on = [\"gateway-error\"]").await;
    let reply = get(weir.web(), "/all-bad").await;
    assert_eq!((reply.status.as_u16(), reply.text()), (503, "bad"));
    let line = weir.logged("/all-bad").await;
    assert_eq!((&line["attempts"], &line["retries"]), (&3.into(), &"503,503".into()));
    assert!(line.get("error").is_none(), "{line}");
}

#[tokio::test]
async fn a_status_that_is_not_named_is_passed_on_at_once() {
    let ((failing, requests), endpoint) = (failing(0).await, Endpoint::start("a").await);
    let weir = weir(&[failing.address, endpoint.address], "on = [500, \"connect\"]").await;
    let mut client = Client::http1(weir.web()).await;
    let mut statuses = [client.get("/1").await.status.as_u16(), client.get("/2").await.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!((statuses, requests.load(SeqCst)), ([200, 503], 1));
}

#[tokio::test]
async fn a_post_is_sent_again_only_when_it_says_that_it_may_be() {
    let ((one, ones), (two, twos)) = (failing(4).await, failing(4).await);
    let weir = weir(&[one.address, two.address], "on = [\"5xx\"]").await;
    let asked = || ones.load(SeqCst) + twos.load(SeqCst);
    let mut client = Client::http1(weir.web()).await;
    assert_eq!(client.post("/order", "body").await.status, 503);
    assert_eq!(asked(), 1);
    let keyed = request(Method::POST, "/keyed").header("idempotency-key", "8e03978e").body(full("body"));
    assert_eq!(client.ask(keyed.unwrap()).await.status, 503);
    assert_eq!((ones.load(SeqCst) >= 1, twos.load(SeqCst) >= 1, asked()), (true, true, 3));
}

#[tokio::test]
async fn a_listed_method_is_sent_again() {
    let ((failing, _), endpoint) = (failing(3).await, Endpoint::start("a").await);
    let weir = weir(&[failing.address, endpoint.address], "on = [503], methods = [\"POST\"]").await;
    let (reply, _) = ask_until_retried(&weir, async |client, path| client.post(path, "all").await).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "all"));
}

#[tokio::test]
async fn a_body_is_sent_again_whole() {
    let body = 48 * 1024;
    let ((failing, _), endpoint) = (failing(body).await, Endpoint::start("a").await);
    let weir = weir(&[failing.address, endpoint.address], "on = [\"5xx\"]").await;
    let put = async |client: &mut Client, path: &str| {
        client.ask(request(Method::PUT, path).body(octets(body as u64, true)).unwrap()).await
    };
    let (reply, line) = ask_until_retried(&weir, put).await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (200, body));
    assert_eq!(line["bytes_in"], body);
}

#[tokio::test]
async fn a_body_that_is_still_coming_goes_on_after_what_was_kept() {
    let failing = RawEndpoint::start(|mut raw, _| async move {
        raw.until("first").await;
        raw.send(BAD).await;
        raw.rest().await;
    })
    .await;
    let endpoint = Endpoint::start("a").await;
    for http2 in [false, true] {
        let weir = weir(&[failing.address, endpoint.address], "on = [\"5xx\"]").await;
        let mut client = if http2 { Client::http2(weir.web()).await } else { Client::http1(weir.web()).await };
        for number in 0..2 {
            let (sender, body) = channel();
            sender.data("first ");
            let put = request(Method::PUT, &format!("/echo/{number}")).body(body).unwrap();
            let response = client.send(put).await.unwrap();
            sender.data("and last");
            drop(sender);
            assert_eq!(Reply::read(response).await.unwrap().text(), "first and last");
        }
        weir.logged_where("a second attempt", |line| line["attempts"] == 2).await;
    }
}

#[tokio::test]
async fn a_body_past_the_buffer_is_not_sent_again() {
    let ((one, ones), (two, twos)) = (failing(2_000).await, failing(2_000).await);
    let weir = weir(&[one.address, two.address], "on = [\"5xx\"], buffer = \"1000B\"").await;
    for (told, asked) in [(true, 1), (false, 2)] {
        let put = request(Method::PUT, &format!("/large/{told}")).body(octets(2_000, told)).unwrap();
        assert_eq!(Client::http1(weir.web()).await.ask(put).await.status, 503);
        assert_eq!(ones.load(SeqCst) + twos.load(SeqCst), asked);
        assert_eq!(weir.logged(&format!("/large/{told}")).await["attempts"], 1);
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_the_response_is_retried_when_that_is_asked_for() {
    let closing = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
    })
    .await;
    let endpoint = Endpoint::start("a").await;
    let weir = weir(&[closing.address, endpoint.address], "on = [\"reset\"]").await;
    let (reply, line) = ask_until_retried(&weir, async |client, path| client.get(path).await).await;
    assert_eq!((reply.status.as_u16(), &line["retries"]), (200, &"reset".into()));
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_followed_by_another() {
    let (slow, endpoint) = (Endpoint::start("slow").await, RawEndpoint::answering(OK).await);
    for http2 in ["", "http2 = true"] {
        let two = Endpoint::start("b").await;
        let other = if http2.is_empty() { endpoint.address } else { two.address };
        let text = format!("attempt-timeout = \"150ms\"\nretries = {{ on = [\"timeout\"], {AT_ONCE} }}\n{http2}");
        let weir = Weir::before_with(&[slow.address, other], &text).await;
        two.open();
        let mut client = Client::http1(weir.web()).await;
        for number in 0..2 {
            assert_eq!(client.get(&format!("/late/{number}")).await.status, 200);
        }
        let line = weir.logged_where("a second attempt", |line| line["attempts"] == 2).await;
        assert_eq!(line["retries"], "timeout");
        assert!(line["total_us"].as_u64().unwrap() >= 150_000, "{line}");
    }
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_504_where_no_other_follows() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before_with(&[endpoint.address], "attempt-timeout = \"50ms\"").await;
    let mut client = Client::http1(weir.web()).await;
    assert_eq!(client.get("/hang").await.status, 504);
    assert_eq!(weir.logged("/hang").await["error"], "attempt timed out");
    assert_eq!(client.get("/").await.text(), "a", "the connection goes on");
    assert_eq!(endpoint.requests(), 2);
}

#[tokio::test]
async fn a_body_that_takes_its_time_is_no_slow_attempt() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before_with(&[endpoint.address], "attempt-timeout = \"1s\"\nresponse-timeout = \"20s\"").await;
    let mut client = Client::http1(weir.web()).await;
    let (sender, body) = channel();
    sender.data("first ");
    let post = request(Method::POST, "/count").body(body).unwrap();
    let asked = tokio::spawn(async move { client.ask(post).await });
    until("the request to arrive", || endpoint.requests() == 1).await;
    assert_eq!(get(weir.web(), "/hang").await.status, 504, "so much time has passed");
    sender.data("last");
    drop(sender);
    assert_eq!(asked.await.unwrap().text(), "10");
}

#[tokio::test]
async fn the_route_has_the_word_before_its_cluster() {
    let ((failing, requests), endpoint) = (failing(0).await, Endpoint::start("a").await);
    let weir = Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "once"
        match = {{ path-prefix = "/once" }}
        cluster = "web"
        retries = {{ attempts = 1 }}
        [[routes]]
        name = "hurried"
        match = {{ path-prefix = "/hang" }}
        cluster = "idle"
        [[routes]]
        name = "rest"
        cluster = "web"
        [clusters.web]
        endpoints = ["{}"]
        retries = {{ attempts = 4, on = ["5xx"], {AT_ONCE} }}
        [clusters.idle]
        endpoints = ["{}"]
        timeout = "50ms"
        "#,
        failing.address, endpoint.address
    ))
    .await;
    assert_eq!((get(weir.web(), "/once").await.status.as_u16(), requests.load(SeqCst)), (503, 1));
    assert_eq!((get(weir.web(), "/more").await.status.as_u16(), requests.load(SeqCst)), (503, 5));
    assert_eq!(get(weir.web(), "/hang").await.status, 504);
    assert_eq!(weir.logged("/hang").await["error"], "route timed out");
}

#[tokio::test]
async fn a_storm_of_retries_stays_inside_the_budget() {
    let ((one, ones), (two, twos)) = (failing(0).await, failing(0).await);
    let text = format!(
        "retries = {{ attempts = 5, on = [\"5xx\"], {AT_ONCE} }}\nretry-budget = {{ percent = 20, min-per-second = 1 }}"
    );
    let weir = Weir::before_with(&[one.address, two.address], &text).await;
    let begun = Instant::now();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let address = weir.web();
            tokio::spawn(async move {
                let mut client = Client::http1(address).await;
                for _ in 0..50 {
                    assert_eq!(client.get("/storm").await.status, 503);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let retries = ones.load(SeqCst) + twos.load(SeqCst) - 400;
    assert!(retries > 0, "some are allowed");
    let windows = 1 + begun.elapsed().as_secs() as usize / 10;
    assert!(retries <= windows * (400 * 20 / 100 + 10), "{retries} retries of 400 requests");
    assert!(weir.metric("weir_retries_denied_total{cluster=\"web\"}").await > 0.0);
    assert_eq!(weir.metric("weir_retries_total{cluster=\"web\",reason=\"status\"}").await, retries as f64);
}

#[tokio::test]
async fn an_endpoint_that_restarts_costs_no_request() {
    let (first, second) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let weir = Weir::before(&[first.address, second.address]).await;
    let mut client = Client::http1(weir.web()).await;
    for number in 0..6 {
        client.get(&format!("/{number}")).await;
    }
    let _reserved = first.stop().await;
    for number in 6..12 {
        assert_eq!(client.get(&format!("/{number}")).await.text(), "b");
    }
}

#[tokio::test]
async fn a_status_of_an_http2_endpoint_may_be_followed_by_another_attempt() {
    let (failing, good) = (Endpoint::start("a").await, Endpoint::start("b").await);
    failing.set_healthy(false);
    let text = "http2 = true\nbalance = \"first\"\nretries = { on = [503] }";
    let weir = Weir::before_with(&[failing.address, good.address], text).await;
    for number in 1..=3 {
        assert_eq!(get(weir.web(), "/health").await.status, 200);
        assert_eq!((failing.checks(), good.checks()), (number, number));
    }
    let line = weir.logged("/health").await;
    assert_eq!((&line["retries"], &line["attempts"]), (&"503".into(), &2.into()));
    assert!(failing.connections() <= 2, "{} connections for two workers", failing.connections());
}
