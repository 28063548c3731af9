//! Endpoints and clusters that take so many requests at once, and the queue of those they keep out.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use http::Method;
use tokio::task::JoinHandle;

use super::{
    super::harness::{Client, Endpoint, RawEndpoint, Reply, Weir, empty, get, plain_of, request, until},
    waiting,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const LONG: &str = "queue = { timeout = \"20s\" }";

/// A request on a connection of its own, and when it is known to have arrived.
async fn asked(weir: &Weir, endpoint: &Endpoint, path: &'static str) -> JoinHandle<Reply> {
    let (address, before) = (weir.web(), endpoint.requests());
    let reply = tokio::spawn(async move { get(address, path).await });
    until("a request to arrive", || endpoint.requests() > before).await;
    reply
}

/// A request on a connection of its own.
fn asking(address: SocketAddr, path: String) -> JoinHandle<Reply> {
    tokio::spawn(async move { get(address, &path).await })
}

#[tokio::test]
async fn a_full_endpoint_is_passed_over() {
    let (full, free) = (Endpoint::start("full").await, Endpoint::start("free").await);
    let limited = format!("{{ address = \"{}\", max-requests = 1, weight = 1000 }}", full.address);
    let endpoints = format!("[{limited}, \"{}\"]", free.address);
    let weir = Weir::start(&plain_of(&endpoints, "balance = \"random\"")).await;
    let held = asked(&weir, &full, "/late").await;
    for number in 0..10 {
        assert_eq!(get(weir.web(), &format!("/{number}")).await.text(), "free");
    }
    assert_eq!(full.requests(), 1);
    assert!(weir.metric("weir_endpoint_full_total{cluster=\"web\"}").await >= 1.0);
    let status = weir.endpoint("web", full.address).await;
    assert_eq!((&status["max_requests"], &status["in_flight"]), (&1.into(), &1.into()));
    full.open();
    assert_eq!(held.await.unwrap().text(), "late");
}

#[tokio::test]
async fn requests_wait_until_there_is_room() {
    for http2 in ["", "http2 = true"] {
        let endpoint = Endpoint::start("a").await;
        let text = format!("limits = {{ endpoint-requests = 1 }}\n{LONG}\n{http2}");
        let weir = Weir::before_with(&[endpoint.address], &text).await;
        let held = asked(&weir, &endpoint, "/late").await;
        let others: Vec<_> = (0..6).map(|number| asking(weir.web(), format!("/{number}"))).collect();
        waiting(&weir, 6.0).await;
        assert_eq!(endpoint.requests(), 1);
        endpoint.open();
        assert_eq!(held.await.unwrap().text(), "late");
        for other in others {
            assert_eq!(other.await.unwrap().text(), "a");
        }
        assert_eq!(endpoint.requests(), 7);
        waiting(&weir, 0.0).await;
        let line = weir.logged("/3").await;
        assert!(line["queue_us"].as_u64().unwrap() > 0, "{line}");
        assert_eq!(weir.logged("/late").await["queue_us"], 0);
        assert_eq!(weir.metric("weir_queued_total{cluster=\"web\"}").await, 6.0);
    }
}

#[tokio::test]
async fn a_queue_that_is_full_is_503_at_once() {
    let endpoint = Endpoint::start("a").await;
    let text = "limits = { endpoint-requests = 1 }\nqueue = { length = 1, timeout = \"20s\" }";
    let weir = Weir::before_with(&[endpoint.address], text).await;
    let held = asked(&weir, &endpoint, "/late").await;
    let waits = asking(weir.web(), "/waits".into());
    waiting(&weir, 1.0).await;
    let reply = get(weir.web(), "/refused").await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"));
    let line = weir.logged("/refused").await;
    assert_eq!((&line["error"], &line["attempts"]), (&"endpoints and queue are full".into(), &0.into()));
    assert_eq!(weir.metric("weir_queue_refused_total{cluster=\"web\",reason=\"full\"}").await, 1.0);
    endpoint.open();
    assert_eq!((held.await.unwrap().text(), waits.await.unwrap().text()), ("late", "a"));
}

#[tokio::test]
async fn who_has_waited_for_too_long_gets_503() {
    let endpoint = Endpoint::start("a").await;
    let text = "limits = { endpoint-requests = 1 }\nqueue = { timeout = \"100ms\" }";
    let weir = Weir::before_with(&[endpoint.address], text).await;
    let held = asked(&weir, &endpoint, "/late").await;
    let mut client = Client::http1(weir.web()).await;
    let reply = client.get("/refused").await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"));
    let line = weir.logged("/refused").await;
    assert_eq!(line["error"], "waited too long in the queue");
    assert!(line["queue_us"].as_u64().unwrap() >= 100_000, "{line}");
    assert_eq!(weir.metric("weir_queue_refused_total{cluster=\"web\",reason=\"timeout\"}").await, 1.0);
    endpoint.open();
    held.await.unwrap();
    assert_eq!(client.get("/").await.text(), "a", "the connection goes on");
}

#[tokio::test]
async fn without_a_queue_nobody_waits() {
    let endpoint = Endpoint::start("a").await;
    let text = "limits = { requests = 1 }\nqueue = { length = 0 }";
    let weir = Weir::before_with(&[endpoint.address], text).await;
    let _held = asked(&weir, &endpoint, "/hang").await;
    assert_eq!(get(weir.web(), "/refused").await.status, 503);
    let status = weir.status().await;
    let limits = &status["clusters"][0]["limits"];
    assert_eq!((&limits["requests"]["most"], &limits["requests"]["under_way"]), (&1.into(), &1.into()));
    assert_eq!((&limits["queue"]["most"], &limits["queue"]["waiting"]), (&0.into(), &0.into()));
}

#[tokio::test]
async fn a_client_that_leaves_gives_up_its_place() {
    let endpoint = Endpoint::start("a").await;
    let text = format!("limits = {{ endpoint-requests = 1 }}\n{LONG}");
    let weir = Weir::before_with(&[endpoint.address], &text).await;
    let _held = asked(&weir, &endpoint, "/hang").await;
    let leaves = asking(weir.web(), "/leaves".into());
    waiting(&weir, 1.0).await;
    leaves.abort();
    waiting(&weir, 0.0).await;
    assert_eq!(weir.logged("/leaves").await["status"], 499);
}

#[tokio::test]
async fn who_waits_for_a_particular_endpoint_holds_up_nobody() {
    let (one, other) = (Endpoint::start("one").await, Endpoint::start("other").await);
    let text = format!(
        "limits = {{ endpoint-requests = 1 }}\n{LONG}\nbalance = \"first\"\n\
         affinity = {{ cookie = {{ name = \"stick\" }} }}"
    );
    let weir = Weir::before_with(&[one.address, other.address], &text).await;
    let mut client = Client::http1(weir.web()).await;
    let held = client.send(request(Method::GET, "/half").body(empty()).unwrap()).await.unwrap();
    let set = held.headers()["set-cookie"].to_str().unwrap();
    let cookie = set.split(';').next().unwrap().to_owned();
    let mut client = Client::http1(weir.web()).await;
    let sticky = tokio::spawn(async move {
        let bound = request(Method::GET, "/bound").header("cookie", cookie);
        client.ask(bound.body(empty()).unwrap()).await
    });
    waiting(&weir, 1.0).await;
    assert_eq!(get(weir.web(), "/passes").await.text(), "other", "who comes finds room");
    let last = asked(&weir, &other, "/late").await;
    let behind = asking(weir.web(), "/behind".into());
    waiting(&weir, 2.0).await;
    other.open();
    assert_eq!((last.await.unwrap().text(), behind.await.unwrap().text()), ("late", "other"));
    waiting(&weir, 1.0).await;
    assert_eq!(one.requests(), 1);
    one.open();
    assert_eq!(Reply::read(held).await.unwrap().text(), "first last");
    assert_eq!(sticky.await.unwrap().text(), "one");
}

#[tokio::test]
async fn a_limit_is_never_exceeded_and_everybody_is_served() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, highest) = (Arc::clone(&now), Arc::clone(&most));
    let endpoint = RawEndpoint::start(move |mut raw, _| {
        let (count, highest) = (Arc::clone(&count), Arc::clone(&highest));
        async move {
            loop {
                raw.head().await;
                highest.fetch_max(count.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::task::yield_now().await;
                count.fetch_sub(1, SeqCst);
                raw.send(OK).await;
            }
        }
    })
    .await;
    let text = format!("limits = {{ requests = 3, endpoint-requests = 2 }}\n{LONG}");
    let weir = Weir::before_with(&[endpoint.address], &text).await;
    let clients: Vec<_> = (0..12)
        .map(|_| {
            let address = weir.web();
            tokio::spawn(async move {
                let mut client = Client::http1(address).await;
                for _ in 0..25 {
                    assert_eq!(client.get("/").await.text(), "ok");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert!((1..=2).contains(&most.load(SeqCst)), "{most:?}");
    assert!(endpoint.connections() <= 4, "{} connections", endpoint.connections());
}
