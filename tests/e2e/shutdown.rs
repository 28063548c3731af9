//! The end of the process: what is in flight finishes, nothing else begins.

use std::time::{Duration, Instant};

use http::Method;
use nix::sys::signal::Signal::{SIGINT, SIGTERM};
use tokio::net::TcpStream;

use super::harness::{Client, Endpoint, Raw, Reply, Weir, empty, eventually, get, request, until};

/// Idle connections are not waited for.
const AT_ONCE: &str = "drain-idle = \"0s\"\n";

fn text(endpoint: &Endpoint, grace: &str) -> String {
    format!(
        "[process]\nworkers = 2\nshutdown-grace = \"{grace}\"\n{AT_ONCE}[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"web\"\ncluster = \"web\"\n[clusters.web]\nendpoints = [\"{}\"]\n",
        endpoint.address
    )
}

/// Waits until nothing is accepted any more.
pub(super) async fn is_draining(weir: &Weir) {
    eventually("readiness to fail", || async {
        let reply = weir.command(Method::GET, "/readyz", "").await;
        (reply.status == 503).then(|| assert!(reply.text().contains("draining")))
    })
    .await;
    eventually("connections to be refused", || async { TcpStream::connect(weir.web()).await.is_err().then_some(()) })
        .await;
}

#[tokio::test]
async fn a_slow_response_is_finished() {
    for http2 in [false, true] {
        for signal in [SIGTERM, SIGINT] {
            let endpoint = Endpoint::start("a").await;
            let mut weir = Weir::start(&text(&endpoint, "30s")).await;
            assert_eq!(weir.command(Method::GET, "/readyz", "").await.status, 200);
            let mut client = if http2 { Client::http2(weir.web()).await } else { Client::http1(weir.web()).await };
            let response = client.send(request(Method::GET, "/half").body(empty()).unwrap()).await.unwrap();
            weir.signal(signal);
            is_draining(&weir).await;
            assert_eq!(weir.command(Method::GET, "/healthz", "").await.status, 200);
            endpoint.open();
            assert_eq!(Reply::read(response).await.unwrap().text(), "first last");
            assert_eq!(weir.ended().await.code(), Some(0));
            assert_eq!(weir.logged("/half").await["status"], 200, "the log is written to its end");
            assert_eq!(weir.said("ended").await["clean"], true);
        }
    }
}

#[tokio::test]
async fn an_exchange_without_a_response_yet_is_finished_and_says_close() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = Weir::start(&text(&endpoint, "30s")).await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("GET /late HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    until("the request to arrive", || endpoint.requests() == 1).await;
    weir.signal(SIGTERM);
    is_draining(&weir).await;
    endpoint.open();
    let (head, body) = raw.response().await;
    assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
    assert_eq!(body, "late");
    raw.closed().await;
    drop(raw);
    assert!(weir.ended().await.success());
}

#[tokio::test]
async fn an_idle_connection_is_answered_once_more() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = Weir::start(&text(&endpoint, "30s").replace(AT_ONCE, "")).await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    assert_eq!(raw.response().await.1, "a");
    let idle = Instant::now();
    weir.signal(SIGTERM);
    is_draining(&weir).await;
    until("it to have idled for longer than a moment", || idle.elapsed() > Duration::from_millis(1500)).await;
    raw.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    let (head, body) = raw.response().await;
    assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
    assert_eq!(body, "a");
    raw.closed().await;
    assert!(weir.ended().await.success());
    assert_eq!(weir.said("ended").await["clean"], true);
}

#[tokio::test]
async fn idle_connections_end_within_the_grace() {
    let endpoint = Endpoint::start("a").await;
    let long = "drain-idle = \"1h\"\n";
    let mut weir = Weir::start(&text(&endpoint, "4s").replace(AT_ONCE, long)).await;
    let mut client = Client::http1(weir.web()).await;
    client.get("/").await;
    weir.signal(SIGTERM);
    assert!(weir.ended().await.success());
    until("it to be closed", || client.is_closed()).await;
    assert_eq!(weir.said("ended").await["clean"], true, "closed before the grace is over");
}

#[tokio::test]
async fn idle_connections_end_soon() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = Weir::start(&text(&endpoint, "30s")).await;
    let (mut one, mut two) = (Client::http1(weir.web()).await, Client::http2(weir.web()).await);
    one.get("/").await;
    two.get("/").await;
    weir.signal(SIGTERM);
    assert!(weir.ended().await.success());
    until("both to be closed", || one.is_closed() && two.is_closed()).await;
}

#[tokio::test]
async fn what_outlasts_the_grace_is_cut() {
    for http2 in [false, true] {
        let endpoint = Endpoint::start("a").await;
        let mut weir = Weir::start(&text(&endpoint, "200ms")).await;
        let mut client = if http2 { Client::http2(weir.web()).await } else { Client::http1(weir.web()).await };
        let response = client.send(request(Method::GET, "/half").body(empty()).unwrap()).await.unwrap();
        weir.signal(SIGTERM);
        assert!(Reply::read(response).await.is_err());
        assert_eq!(weir.ended().await.code(), Some(0));
        assert_eq!(weir.said("ended").await["clean"], false);
        let line = weir.logged("/half").await;
        assert_eq!((&line["status"], &line["error"]), (&200.into(), &"cut at shutdown".into()));
    }
}

#[tokio::test]
async fn readiness_fails_first_and_clients_are_served_for_the_delay() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&text(&endpoint, "30s\"\ndrain-delay = \"1h")).await;
    let mut kept = Client::http1(weir.web()).await;
    kept.get("/").await;
    weir.signal(SIGTERM);
    eventually("readiness to fail", || async {
        (weir.command(Method::GET, "/readyz", "").await.status == 503).then_some(())
    })
    .await;
    for _ in 0..3 {
        assert_eq!(get(weir.web(), "/").await.text(), "a");
        let reply = kept.get("/").await;
        assert_eq!((reply.text(), reply.header("connection")), ("a", ""));
    }
}

#[tokio::test]
async fn the_drain_begins_after_the_delay() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = Weir::start(&text(&endpoint, "30s\"\ndrain-delay = \"200ms")).await;
    let begun = Instant::now();
    weir.signal(SIGTERM);
    is_draining(&weir).await;
    assert!(weir.ended().await.success());
    assert!(begun.elapsed() >= Duration::from_millis(200));
}
