//! What failures tell of an endpoint, and what they only tell of a page or a client.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use tokio::io::AsyncReadExt;

use super::super::harness::{Client, Endpoint, Raw, RawEndpoint, Weir, empty, eventually, get, request};

const BAD: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn ejections(weir: &Weir) -> f64 {
    let mut all = 0.0;
    for reason in ["connect-failures", "gateway-errors", "5xx", "success-rate", "latency"] {
        all += weir.metric(&format!("weir_ejections_total{{cluster=\"web\",reason=\"{reason}\"}}")).await;
    }
    all
}

/// Answers pages below `/broken` in one way and all others in another.
async fn with_a_broken_page(broken: &'static str) -> RawEndpoint {
    RawEndpoint::start(move |mut raw, _| async move {
        loop {
            let head = raw.head().await;
            match (head.contains(" /broken"), broken.is_empty()) {
                (true, true) => return,
                (true, false) => raw.send(broken).await,
                (false, _) => raw.send(OK).await,
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_broken_page_takes_no_endpoint_out() {
    for broken in [BAD, ""] {
        let endpoints = [with_a_broken_page(broken).await, with_a_broken_page(broken).await];
        let addresses = endpoints.each_ref().map(|endpoint| endpoint.address);
        let detection = "outlier-detection = { consecutive-5xx = 5, max-ejected = 100 }";
        let weir = Weir::before_with(&addresses, detection).await;
        let mut client = Client::http1(weir.web()).await;
        for round in 0..60 {
            client.get("/broken").await;
            if round % 7 == 0 {
                assert_eq!(get(weir.web(), "/").await.text(), "ok");
            }
        }
        assert_eq!(ejections(&weir).await, 0.0, "{broken}");
        assert_eq!(get(weir.web(), "/").await.text(), "ok");
    }
}

#[tokio::test]
async fn an_endpoint_that_fails_at_everything_is_out_within_ten_requests() {
    for others in [1, 2] {
        let bad = RawEndpoint::answering(BAD).await;
        let good = [Endpoint::start("a").await, Endpoint::start("b").await];
        let mut addresses = vec![bad.address];
        addresses.extend(good.iter().take(others).map(|endpoint| endpoint.address));
        let weir = Weir::before_with(&addresses, "outlier-detection = { ejection = \"1h\" }").await;
        let mut failed = 0;
        for _ in 0..40 {
            failed += usize::from(get(weir.web(), "/").await.status == 503);
        }
        assert_eq!(weir.endpoint("web", bad.address).await["state"], "ejected");
        assert!((5..=10).contains(&failed), "{failed} failed");
    }
}

#[tokio::test]
async fn a_check_that_succeeds_leaves_an_ejection_as_it_is() {
    let sick = RawEndpoint::start(|mut raw, _| async move {
        loop {
            let head = raw.head().await;
            raw.send(if head.contains(" /health") { OK } else { BAD }).await;
        }
    })
    .await;
    let good = Endpoint::start("good").await;
    let cluster = "health = { http = { path = \"/health\" }, interval = \"20ms\", timeout = \"10s\" }\n\
                   outlier-detection = { ejection = \"1h\" }";
    let weir = Weir::before_with(&[sick.address, good.address], cluster).await;
    eventually("an ejection", || async {
        get(weir.web(), "/").await;
        (weir.endpoint("web", sick.address).await["state"] == "ejected").then_some(())
    })
    .await;
    let checks = sick.connections();
    eventually("further checks", || async { (sick.connections() > checks + 5).then_some(()) }).await;
    for _ in 0..10 {
        assert_eq!(get(weir.web(), "/").await.status, 200);
    }
    let status = weir.endpoint("web", sick.address).await;
    assert_eq!((&status["state"], &status["check"]["ok"]), (&"ejected".into(), &true.into()), "{status}");
    assert_eq!(ejections(&weir).await, 1.0);
}

/// Answers with its name until it is told to fail.
async fn failing(name: &'static str, fails: &Arc<AtomicBool>) -> RawEndpoint {
    let fails = Arc::clone(fails);
    RawEndpoint::start(move |mut raw, _| {
        let fails = Arc::clone(&fails);
        async move {
            loop {
                raw.head().await;
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
                raw.send(if fails.load(SeqCst) { BAD.to_owned() } else { answer }).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_session_stays_on_an_endpoint_that_is_out_for_its_own_statuses() {
    let fails = Arc::new(AtomicBool::new(false));
    let (sick, good) = (failing("sick", &fails).await, Endpoint::start("good").await);
    let cluster = "affinity = { header = \"x-session\", on-lost = \"reject\" }\n\
                   outlier-detection = { ejection = \"1h\" }";
    let weir = Weir::before_with(&[sick.address, good.address], cluster).await;
    let ask = async |session: &str| {
        let asked = request(http::Method::GET, "/").header("x-session", session).body(empty()).unwrap();
        Client::http1(weir.web()).await.ask(asked).await
    };
    let mut session = String::new();
    for number in 0..4 {
        let name = format!("s{number}");
        if ask(&name).await.text() == "sick" {
            session = name;
        }
    }
    fails.store(true, SeqCst);
    eventually("an ejection", || async {
        get(weir.web(), "/").await;
        (weir.endpoint("web", sick.address).await["state"] == "ejected").then_some(())
    })
    .await;
    assert_eq!(ask("new").await.text(), "good");
    fails.store(false, SeqCst);
    assert_eq!(ask(&session).await.text(), "sick", "its state is there");
    assert_eq!(weir.endpoint("web", sick.address).await["state"], "ejected");
}

/// A listener `tcp` before a cluster `web`.
fn passing(endpoints: &[SocketAddr]) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    format!(
        "[process]\nworkers = 1\n[listeners.tcp]\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\ncluster = \"web\"\n\
         [clusters.web]\nendpoints = {endpoints:?}\noutlier-detection = {{ ejection = \"1h\" }}\n"
    )
}

/// Accepts, reads once and resets.
async fn resetting() -> RawEndpoint {
    RawEndpoint::start(|mut raw, _| async move {
        let _ = raw.stream.read(&mut [0; 16]).await;
        let _ = raw.stream.set_zero_linger();
    })
    .await
}

/// Gives back what it is given, but resets at a word.
async fn picky() -> RawEndpoint {
    RawEndpoint::start(|mut raw, _| async move {
        let mut octets = [0; 16];
        while let Ok(length @ 1..) = raw.stream.read(&mut octets).await {
            if octets.starts_with(b"garbage") {
                let _ = raw.stream.set_zero_linger();
                return;
            }
            if raw.try_send(&octets[..length]).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// What comes back for a word.
async fn said(weir: &Weir, word: &str) -> usize {
    let mut raw = Raw::connect(weir.listener("tcp")).await;
    let _ = raw.try_send(word).await;
    raw.stream.read(&mut [0; 16]).await.unwrap_or(0)
}

#[tokio::test]
async fn an_endpoint_that_accepts_and_resets_is_ejected() {
    let (bad, good) = (resetting().await, picky().await);
    let weir = Weir::start(&passing(&[bad.address, good.address])).await;
    let mut failed = 0;
    for _ in 0..40 {
        failed += usize::from(said(&weir, "hello").await == 0);
    }
    assert_eq!(weir.endpoint("web", bad.address).await["state"], "ejected");
    assert!((5..=10).contains(&failed), "{failed} failed");
    assert_eq!(weir.metric("weir_ejections_total{cluster=\"web\",reason=\"gateway-errors\"}").await, 1.0);
}

#[tokio::test]
async fn a_client_cannot_have_endpoints_ejected_by_what_it_says_or_by_leaving() {
    let endpoints = [picky().await, picky().await];
    let weir = Weir::start(&passing(&endpoints.each_ref().map(|endpoint| endpoint.address))).await;
    for _ in 0..30 {
        assert_eq!(said(&weir, "garbage").await, 0);
        let raw = Raw::connect(weir.listener("tcp")).await;
        raw.stream.set_zero_linger().unwrap();
    }
    assert_eq!(said(&weir, "hello").await, 5);
    assert_eq!(ejections(&weir).await, 0.0);
}

#[tokio::test]
async fn an_endpoint_that_breaks_its_responses_off_is_ejected() {
    let bad = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        raw.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    })
    .await;
    let good = Endpoint::start("good").await;
    let weir = Weir::before_with(&[bad.address, good.address], "outlier-detection = { ejection = \"1h\" }").await;
    let mut failed = 0;
    for _ in 0..40 {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        failed += usize::from(raw.rest().await.ends_with("half"));
    }
    assert_eq!(weir.endpoint("web", bad.address).await["state"], "ejected");
    assert!((5..=10).contains(&failed), "{failed} failed");
    let down = weir.said_where("endpoint down", |line| line["to"] == "ejected").await;
    assert!(down["why"].as_str().unwrap().contains("responses broken off in a row"), "{down}");
}
