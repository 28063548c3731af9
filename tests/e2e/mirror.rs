//! Routes whose requests are copied to another cluster.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use http::{HeaderMap, Method};
use tokio::sync::watch;

use super::harness::{
    Client, Endpoint, Raw, RawEndpoint, Weir, channel, empty, eventually, full, octets, request, until, with_trailers,
};

async fn weir(endpoint: &Endpoint, shadow: std::net::SocketAddr, mirror: &str, cluster: &str) -> Weir {
    Weir::start(&format!(
        "[process]\nworkers = 1\nshutdown-grace = \"60s\"\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"r\"\ncluster = \"web\"\nmirror = {{ cluster = \"shadow\"{mirror} }}\n\
         [clusters.web]\nendpoints = [\"{}\"]\n[clusters.shadow]\nendpoints = [\"{shadow}\"]\n{cluster}\n",
        endpoint.address
    ))
    .await
}

fn series(result: &str) -> String {
    format!("weir_mirror_requests_total{{route=\"r\",cluster=\"shadow\",result=\"{result}\"}}")
}

async fn counted(weir: &Weir, result: &str, count: f64) {
    let what = format!("{count} copies with {result}");
    eventually(&what, || async { (weir.metric(&series(result)).await == count).then_some(()) }).await;
}

/// Answers with the number of octets it was sent, and keeps what it saw.
async fn recorder() -> (RawEndpoint, Arc<Mutex<Vec<(String, String)>>>) {
    let seen: Arc<Mutex<Vec<_>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let endpoint = RawEndpoint::start(move |mut raw: Raw, _| {
        let kept = Arc::clone(&kept);
        async move {
            loop {
                let head = raw.head().await.to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let body = match length {
                    Some(length) => raw.exactly(length.parse().unwrap()).await,
                    None if head.contains("transfer-encoding: chunked") => raw.until("\r\n\r\n").await.into_bytes(),
                    None => vec![],
                };
                kept.lock().unwrap().push((head, String::from_utf8(body).unwrap()));
                raw.send("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nignored").await;
            }
        }
    })
    .await;
    (endpoint, seen)
}

#[tokio::test]
async fn copies_are_whole_and_answers_are_dropped() {
    let endpoint = Endpoint::start("one").await;
    let (shadow, seen) = recorder().await;
    let weir = weir(&endpoint, shadow.address, "", "").await;
    let mut client = Client::http1(weir.web()).await;
    assert_eq!(client.post("/echo?a=b", "0123456789").await.text(), "0123456789");
    counted(&weir, "2xx", 1.0).await;
    let (head, body) = seen.lock().unwrap().remove(0);
    assert!(head.starts_with("post /echo?a=b http/1.1\r\n"), "{head}");
    assert!(head.contains("host: weir.test\r\n") && head.contains("x-weir-mirror: r\r\n"), "{head}");
    assert!(head.contains("x-forwarded-for: 127.0.0.1\r\n"), "{head}");
    assert_eq!(body, "0123456789");
    assert!(endpoint.last().values("x-weir-mirror").is_empty());

    let sum = HeaderMap::from_iter([("x-sum".parse().unwrap(), "4".parse().unwrap())]);
    let asked = request(Method::POST, "/echo").header("trailer", "x-sum").body(with_trailers("body", sum)).unwrap();
    assert_eq!(client.ask(asked).await.text(), "body");
    counted(&weir, "2xx", 2.0).await;
    let (_, body) = seen.lock().unwrap().remove(0);
    assert_eq!(body, "4\r\nbody\r\n0\r\nx-sum: 4\r\n\r\n");

    assert_eq!(client.get("/").await.text(), "one");
    counted(&weir, "2xx", 3.0).await;
    assert_eq!(shadow.connections(), 1, "the connection to the other cluster is kept");
    assert_eq!(weir.metric("weir_mirror_in_flight{route=\"r\",cluster=\"shadow\"}").await, 0.0);
    let exchanges = "weir_requests_total{listener=\"web\",route=\"r\",cluster=\"shadow\",status_class=\"2xx\"}";
    assert_eq!(weir.metric(exchanges).await, 0.0, "copies are no exchanges of clients");
}

#[tokio::test]
async fn copies_reach_http2_endpoints_whole() {
    let (endpoint, shadow) = (Endpoint::start("one").await, Endpoint::start("shadow").await);
    let limits = ", max-body = \"1MiB\"";
    let weir = weir(&endpoint, shadow.address, limits, "http2 = true").await;
    let mut client = Client::http2(weir.web()).await;
    let asked = request(Method::POST, "/count").body(octets(500_000, false)).unwrap();
    assert_eq!(client.ask(asked).await.text(), "500000");
    counted(&weir, "2xx", 1.0).await;
    assert_eq!(shadow.last().version, http::Version::HTTP_2);
    assert_eq!(shadow.last().values("x-weir-mirror"), ["r"]);
}

#[tokio::test]
async fn a_cluster_that_hangs_is_not_felt_and_holds_few() {
    let endpoint = Endpoint::start("one").await;
    let reached = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reached);
    let shadow = RawEndpoint::start(move |mut raw: Raw, _| {
        let count = Arc::clone(&count);
        async move {
            raw.head().await;
            count.fetch_add(1, SeqCst);
            std::future::pending::<()>().await;
        }
    })
    .await;
    let mut weir = weir(&endpoint, shadow.address, ", max-in-flight = 3", "").await;
    let mut client = Client::http1(weir.web()).await;
    for _ in 0..20 {
        assert_eq!(client.post("/echo", "body").await.text(), "body");
    }
    until("copies to reach the other cluster", || reached.load(SeqCst) == 3).await;
    counted(&weir, "busy", 17.0).await;
    assert_eq!(weir.metric("weir_mirror_in_flight{route=\"r\",cluster=\"shadow\"}").await, 3.0);
    // Nothing that is left of copies holds the end up, though the grace is long.
    drop(client);
    weir.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(weir.ended().await.success());
}

#[tokio::test]
async fn endpoints_get_no_more_copies_than_they_take_requests() {
    let (endpoint, shadow) = (Endpoint::start("one").await, Endpoint::start("shadow").await);
    let weir = weir(&endpoint, shadow.address, "", "limits = { endpoint-requests = 1 }").await;
    endpoint.open();
    let mut client = Client::http1(weir.web()).await;
    assert_eq!(client.get("/late").await.text(), "late");
    until("the copy to be under way", || shadow.requests() == 1).await;
    assert_eq!(client.get("/late").await.text(), "late");
    counted(&weir, "busy", 1.0).await;
    shadow.open();
    counted(&weir, "2xx", 1.0).await;
    assert_eq!(shadow.requests(), 1);
}

#[tokio::test]
async fn a_slow_answer_gives_up_after_the_clusters_timeout() {
    let (endpoint, silent) = (Endpoint::start("one").await, watch::Sender::new(()));
    let shadow = RawEndpoint::start(move |mut raw: Raw, _| {
        let silent = silent.subscribe();
        async move {
            raw.head().await;
            let _silent = silent;
            raw.rest().await;
        }
    })
    .await;
    let weir = weir(&endpoint, shadow.address, "", "response-timeout = \"100ms\"").await;
    assert_eq!(Client::http1(weir.web()).await.get("/").await.text(), "one");
    counted(&weir, "failed", 1.0).await;
    assert_eq!(weir.metric("weir_mirror_in_flight{route=\"r\",cluster=\"shadow\"}").await, 0.0);
}

#[tokio::test]
async fn what_cannot_be_copied_is_counted() {
    let endpoint = Endpoint::start("one").await;
    let (shadow, seen) = recorder().await;
    let weir = weir(&endpoint, shadow.address, ", max-body = \"10B\"", "").await;
    let mut client = Client::http1(weir.web()).await;
    assert_eq!(client.post("/count", "01234567890").await.text(), "11");
    counted(&weir, "too-large", 1.0).await;
    let asked = request(Method::POST, "/count").body(octets(11, false)).unwrap();
    assert_eq!(client.ask(asked).await.text(), "11");
    counted(&weir, "too-large", 2.0).await;

    let (sender, body) = channel();
    let asked = request(Method::POST, "/late").body(body).unwrap();
    sender.data("01");
    let asking = tokio::spawn(async move { client.try_ask(asked).await });
    until("the request to be under way", || endpoint.seen().iter().any(|seen| seen.uri.path() == "/late")).await;
    sender.fail();
    assert!(asking.await.unwrap().is_err());
    counted(&weir, "incomplete", 1.0).await;
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_dead_cluster_is_not_felt() {
    let endpoint = Endpoint::start("one").await;
    let weir = weir(&endpoint, "127.0.0.1:1".parse().unwrap(), "", "").await;
    let mut client = Client::http1(weir.web()).await;
    for _ in 0..5 {
        let asked = request(Method::PUT, "/echo").body(full("x")).unwrap();
        assert_eq!(client.ask(asked).await.text(), "x");
    }
    counted(&weir, "failed", 5.0).await;
}

#[tokio::test]
async fn some_percent_of_requests_are_copied() {
    let endpoint = Endpoint::start("one").await;
    let (shadow, _seen) = recorder().await;
    let weir = weir(&endpoint, shadow.address, ", percent = 30, max-in-flight = 1000", "").await;
    let mut client = Client::http1(weir.web()).await;
    for _ in 0..300 {
        client.ask(request(Method::GET, "/").body(empty()).unwrap()).await;
    }
    eventually("no copy under way", || async {
        (weir.metric("weir_mirror_in_flight{route=\"r\",cluster=\"shadow\"}").await == 0.0).then_some(())
    })
    .await;
    // 90 on average, with a standard deviation of 7.9.
    let copied = weir.metric(&series("2xx")).await;
    assert!((40.0..=140.0).contains(&copied), "{copied} of 300");
}
