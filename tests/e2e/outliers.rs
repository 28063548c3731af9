//! Endpoints that fail are taken out by what requests meet on them, and come back.

mod fair;
mod last;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::harness::{Client, Endpoint, RawEndpoint, Reserved, Setup, Weir, empty, eventually, get, request, until};

/// An endpoint that is a process of its own.
async fn process(name: &str) -> Weir {
    Weir::start(&format!(
        "[process]\nworkers = 1\n[access-log]\nformat = \"off\"\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"all\"\nrespond = {{ body = \"{name}\" }}\n"
    ))
    .await
}

/// Asks on connections of its own, again and again, until it is told to stop; counts what went wrong.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(clients: usize, address: SocketAddr) -> Load {
        let (stop, done, failed) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let mut load = Load { stop, done, failed, tasks: Vec::new() };
        for _ in 0..clients {
            let (stop, done, failed) = (Arc::clone(&load.stop), Arc::clone(&load.done), Arc::clone(&load.failed));
            load.tasks.push(tokio::spawn(async move {
                let mut client = Client::http1(address).await;
                while !stop.load(SeqCst) {
                    let asked = request(http::Method::GET, "/").body(empty()).unwrap();
                    let well = client.try_ask(asked).await.is_ok_and(|reply| reply.status == 200);
                    if !well {
                        failed.fetch_add(1, SeqCst);
                        client = Client::http1(address).await;
                    }
                    done.fetch_add(1, SeqCst);
                }
            }));
        }
        load
    }

    async fn more(&self, requests: usize) {
        let from = self.done.load(SeqCst);
        until("requests to go on", || self.done.load(SeqCst) >= from + requests).await;
    }

    async fn end(self) -> usize {
        self.stop.store(true, SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.failed.load(SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_costs_what_was_in_flight_and_nothing_after_its_ejection() {
    let processes = [process("a").await, process("b").await, process("c").await];
    let addresses: Vec<SocketAddr> = processes.iter().map(Weir::web).collect();
    let weir = Weir::before_with(&addresses, "outlier-detection = { ejection = \"1h\" }").await;
    let load = Load::start(8, weir.web());
    load.more(50).await;
    processes[1].signal(Signal::SIGKILL);
    weir.endpoint_is("web", addresses[1], "ejected").await;
    let failed = load.failed.load(SeqCst);
    assert!(failed <= 8, "{failed} requests failed, 8 were in flight");
    let connects = "weir_upstream_connect_failures_total{cluster=\"web\"}";
    load.more(50).await;
    let before = weir.metric(connects).await;
    load.more(200).await;
    assert_eq!(weir.metric(connects).await, before, "an ejected endpoint is not tried");
    assert_eq!(load.end().await, failed, "nothing fails after the ejection");
    let mut ejections = 0.0;
    for reason in ["connect-failures", "gateway-errors"] {
        ejections += weir.metric(&format!("weir_ejections_total{{cluster=\"web\",reason=\"{reason}\"}}")).await;
    }
    assert_eq!(ejections, 1.0);
    let down = weir.said_where("endpoint down", |line| line["to"] == "ejected").await;
    assert!(down["why"].as_str().unwrap().contains(" in a row; out for 3600s"), "{down}");
}

#[tokio::test]
async fn the_request_that_meets_the_last_failure_ejects() {
    let (gone, endpoint) = (Reserved::new(), Endpoint::start("a").await);
    let detection = "outlier-detection = { consecutive-connect-failures = 1, ejection = \"1h\" }";
    let weir = Weir::before_with(&[gone.address, endpoint.address], detection).await;
    for _ in 0..4 {
        assert_eq!(get(weir.web(), "/").await.text(), "a");
    }
    assert_eq!(weir.endpoint("web", gone.address).await["state"], "ejected");
    assert_eq!(weir.metric("weir_upstream_connect_failures_total{cluster=\"web\"}").await, 1.0);
}

#[tokio::test]
async fn the_only_endpoint_is_never_ejected() {
    let gone = Reserved::new();
    let weir = Weir::before(&[gone.address]).await;
    for _ in 0..10 {
        assert_eq!(get(weir.web(), "/").await.status, 502);
    }
    assert_eq!(weir.endpoint("web", gone.address).await["state"], "healthy");
    assert!(weir.metric("weir_ejections_refused_total{cluster=\"web\"}").await > 0.0);
}

#[tokio::test]
async fn gateway_errors_in_a_row_eject_until_their_time_is_over() {
    let bad = RawEndpoint::answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
    let good = Endpoint::start("good").await;
    let detection = "outlier-detection = { consecutive-gateway-errors = 3, ejection = \"300ms\" }";
    let weir = Weir::before_with(&[bad.address, good.address], detection).await;
    let ejected = |line: &serde_json::Value, key: &str| line[key] == "ejected";
    eventually("an ejection", || async {
        get(weir.web(), "/").await;
        let series = "weir_ejections_total{cluster=\"web\",reason=\"gateway-errors\"}";
        (weir.metric(series).await > 0.0).then_some(())
    })
    .await;
    weir.said_where("endpoint down", |line| ejected(line, "to")).await;
    let up = weir.said_where("endpoint up", |line| ejected(line, "from")).await;
    assert_eq!(up["endpoint"], bad.address.to_string());
}

#[tokio::test]
async fn a_check_that_succeeds_brings_an_endpoint_back_early_where_it_may() {
    let bad = RawEndpoint::start(|mut raw, _| async move {
        loop {
            let head = raw.head().await;
            let status = if head.contains(" /health") { "200 OK" } else { "503 Sick" };
            raw.send(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")).await;
        }
    })
    .await;
    let good = Endpoint::start("good").await;
    let cluster = "health = { http = { path = \"/health\" }, interval = \"50ms\", timeout = \"10s\" }\n\
                   outlier-detection = { consecutive-gateway-errors = 2, ejection = \"1h\", check-ends-ejection = true }";
    let weir = Weir::before_with(&[bad.address, good.address], cluster).await;
    eventually("an ejection", || async {
        get(weir.web(), "/").await;
        let series = "weir_ejections_total{cluster=\"web\",reason=\"gateway-errors\"}";
        (weir.metric(series).await > 0.0).then_some(())
    })
    .await;
    weir.said_where("endpoint down", |line| line["to"] == "ejected").await;
    weir.said_where("endpoint up", |line| line["from"] == "ejected").await;
    weir.endpoint_is("web", bad.address, "healthy").await;
}

#[tokio::test]
async fn an_endpoint_that_fails_far_more_often_than_others_is_ejected() {
    let bad = RawEndpoint::answering("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n").await;
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let detection = "outlier-detection = { interval = \"200ms\", ejection = \"1h\", \
                     success-rate = { min-endpoints = 3, min-requests = 3, deviations = 1 } }";
    let weir = Weir::before_with(&[bad.address, a.address, b.address], detection).await;
    eventually("an ejection", || async {
        get(weir.web(), "/").await;
        (weir.endpoint("web", bad.address).await["state"] == "ejected").then_some(())
    })
    .await;
    assert_eq!(weir.metric("weir_ejections_total{cluster=\"web\",reason=\"success-rate\"}").await, 1.0);
    for _ in 0..6 {
        assert_eq!(get(weir.web(), "/").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_much_slower_than_the_others_is_ejected() {
    let slow = RawEndpoint::start(|mut raw, _| async move {
        loop {
            raw.head().await;
            let asked = Instant::now();
            until("some time to pass", || asked.elapsed() > Duration::from_millis(300)).await;
            raw.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow").await;
        }
    })
    .await;
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let detection = "outlier-detection = { interval = \"1s\", ejection = \"1h\", \
                     latency = { min-endpoints = 3, min-requests = 5, factor = 2 } }";
    let weir = Weir::before_with(&[slow.address, a.address, b.address], detection).await;
    let load = Load::start(6, weir.web());
    weir.endpoint_is("web", slow.address, "ejected").await;
    assert_eq!(load.end().await, 0, "slow is no failure");
    assert_eq!(weir.metric("weir_ejections_total{cluster=\"web\",reason=\"latency\"}").await, 1.0);
    for _ in 0..6 {
        assert_ne!(get(weir.web(), "/").await.text(), "slow");
    }
}

#[tokio::test]
async fn a_failing_endpoint_is_out_after_as_many_checks_as_it_takes() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let health = "health = { http = { path = \"/health\" }, interval = \"500ms\" }";
    let weir = Weir::before_with(&[a.address, b.address], health).await;
    until("it to be checked", || a.checks() >= 1).await;
    a.set_healthy(false);
    let before = a.checks();
    weir.endpoint_is("web", a.address, "unhealthy").await;
    // One may have been under way when it began to fail, and one more may follow before the status is read.
    let taken = a.checks() - before;
    assert!((3..=5).contains(&taken), "{taken} checks where three failures in a row are enough");
    assert_eq!(get(weir.web(), "/").await.text(), "b");
}

/// Clusters `http` and `tcp` of the same endpoints, each checked its way.
fn twice(endpoints: &[SocketAddr]) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    let cluster = |name: &str, health: &str| {
        format!(
            "[clusters.{name}]\nendpoints = {endpoints:?}\noutlier-detection = false\n\
             health = {{ {health}, interval = \"50ms\", timeout = \"1s\", fall = 2 }}\n"
        )
    };
    format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"tcp\"\nmatch = {{ path = \"/tcp\" }}\ncluster = \"tcp\"\n\
         [[routes]]\nname = \"http\"\ncluster = \"http\"\n{}{}",
        cluster("http", "http = {}"),
        cluster("tcp", "tcp = {}")
    )
}

#[tokio::test]
async fn a_process_that_hangs_is_found_by_http_and_not_by_tcp() {
    let (a, b) = (process("a").await, process("b").await);
    let setup = Setup::new(&twice(&[a.web(), b.web()]));
    let warned = String::from_utf8_lossy(&setup.check().stderr).into_owned();
    assert!(warned.contains("a process that hangs still accepts connections"), "{warned}");
    assert!(warned.contains("clusters.tcp.health.tcp"), "{warned}");
    let weir = setup.start().await;
    for cluster in ["http", "tcp"] {
        weir.endpoint_is(cluster, b.web(), "healthy").await;
    }
    b.signal(Signal::SIGSTOP);
    weir.endpoint_is("http", b.web(), "unhealthy").await;
    for _ in 0..6 {
        assert_eq!(get(weir.web(), "/").await.text(), "a");
    }
    let at = weir.endpoint("tcp", b.web()).await["check"]["at"].clone();
    eventually("further checks", || async {
        let check = weir.endpoint("tcp", b.web()).await["check"].clone();
        (check["at"] != at).then_some(check)
    })
    .await;
    assert_eq!(weir.endpoint("tcp", b.web()).await["state"], "healthy");
    b.signal(Signal::SIGCONT);
    weir.endpoint_is("http", b.web(), "healthy").await;
}
