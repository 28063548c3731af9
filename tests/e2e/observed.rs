//! What is seen from outside: the access log, metrics, the status page.

use http::Method;
use nix::sys::signal::Signal::{SIGHUP, SIGTERM};
use serde_json::Value;

use super::harness::{Client, Endpoint, Setup, Weir, eventually, full, get, request, soon, until};

fn text(endpoint: &Endpoint, log: &str) -> String {
    format!(
        "[access-log]\n{log}\n[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"api\"\ncluster = \"main\"\n\
         [clusters.main]\nendpoints = [\"{}\"]\n",
        endpoint.address
    )
}

#[tokio::test]
async fn a_line_tells_the_whole_exchange() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&text(&endpoint, "")).await;
    let mut client = Client::http1(weir.web()).await;
    let asked = request(Method::POST, "/count?q=\"1\"&é".replace('é', "%C3%A9").replace('"', "%22").as_str())
        .header("host", "api.test:8080")
        .body(full("12345"));
    client.ask(asked.unwrap()).await;
    let line = weir.logged("/count?q=%221%22&%C3%A9").await;
    for (key, value) in [
        ("listener", Value::from("web")),
        ("protocol", "HTTP/1.1".into()),
        ("host", "api.test:8080".into()),
        ("method", "POST".into()),
        ("status", 200.into()),
        ("bytes_in", 5.into()),
        ("bytes_out", 1.into()),
        ("route", "api".into()),
        ("cluster", "main".into()),
        ("endpoint", endpoint.address.to_string().into()),
        ("attempts", 1.into()),
        ("reused", false.into()),
    ] {
        assert_eq!(line[key], value, "{key}: {line}");
    }
    assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    let time = line["time"].as_str().unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z') && time.len() == 27, "{time}");
    let total = line["total_us"].as_u64().unwrap();
    assert!(total > 0 && total < 10_000_000);
    let parts: u64 = ["read_us", "plugin_us", "connect_us", "tls_us", "first_byte_us", "rest_us"]
        .map(|key| line[key].as_u64().unwrap())
        .iter()
        .sum();
    assert!(parts > 0 && parts <= total + 10, "{line}");
}

#[tokio::test]
async fn logfmt_has_the_same_fields() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&text(&endpoint, "format = \"logfmt\"")).await;
    get(weir.web(), "/fmt").await;
    let found = || weir.stdout().into_iter().find(|line| line.contains("path=/fmt"));
    let line = eventually("a line", || std::future::ready(found())).await;
    for pair in
        ["listener=web", "protocol=HTTP/1.1", "method=GET", "status=200", "route=api", "cluster=main", "attempts=1"]
    {
        assert!(line.split(' ').any(|one| one == pair), "{pair}: {line}");
    }
}

#[tokio::test]
async fn a_file_is_opened_again_on_a_signal() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&text(&endpoint, "path = \"access.log\"")).await;
    let (file, moved) = (weir.path("access.log"), weir.path("access.log.1"));
    let has = |path: &std::path::Path, part: &str| std::fs::read_to_string(path).is_ok_and(|text| text.contains(part));
    get(weir.web(), "/before").await;
    until("a line in the file", || has(&file, "/before")).await;
    std::fs::rename(&file, &moved).unwrap();
    weir.signal(SIGHUP);
    until("the file to be there again", || file.exists()).await;
    get(weir.web(), "/after").await;
    until("a line in the second file", || has(&file, "/after")).await;
    assert!(!has(&moved, "/after") && !has(&file, "/before"));
    assert!(weir.stdout().is_empty());
}

#[tokio::test]
async fn the_log_can_be_off() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = Weir::start(&text(&endpoint, "format = \"off\"")).await;
    get(weir.web(), "/quiet").await;
    weir.reload(&text(&endpoint, "format = \"json\"")).await.unwrap();
    get(weir.web(), "/loud").await;
    weir.logged("/loud").await;
    assert!(!weir.stdout().iter().any(|line| line.contains("/quiet")));
}

#[tokio::test]
async fn a_stalled_reader_of_standard_error_stops_nothing_but_the_log() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = Setup::new(&text(&endpoint, "")).env("WEIR_LOG", "trace").start().await;
    let stalled = weir.stall_stderr();
    let mut client = Client::http2(weir.web()).await;
    soon("lines to be dropped", async {
        while weir.metric("weir_log_dropped_total").await == 0.0 {
            for _ in 0..20 {
                assert_eq!(client.get("/").await.text(), "a");
            }
        }
    })
    .await;
    assert_eq!(weir.command(Method::GET, "/healthz", "").await.status, 200);
    drop(stalled);
    let told = weir.said("standard error was not read: lines of the process log were dropped").await;
    assert!(told["lines"].as_u64() > Some(0), "{told}");

    let pid = weir.pid();
    let stalled = weir.stall_stderr();
    soon("lines to be dropped again", async {
        while weir.metric("weir_log_dropped_total").await <= told["lines"].as_f64().unwrap() {
            client.get("/").await;
        }
    })
    .await;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), SIGTERM).unwrap();
    until("the process to end", || !std::path::Path::new(&format!("/proc/{pid}/stat")).exists() || is_zombie(pid))
        .await;
    drop(stalled);
    assert_eq!(weir.ended().await.code(), Some(0));
}

/// It has ended, and its end was not asked for.
fn is_zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('Z'))
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&text(&endpoint, "")).await;
    let mut client = Client::http1(weir.web()).await;
    for _ in 0..3 {
        client.post("/echo", "12345").await;
    }
    client.get("/status/404").await;
    weir.logged("/status/404").await;
    let labels = r#"listener="web",route="api",cluster="main""#;
    for (series, value) in [
        (format!(r#"weir_requests_total{{{labels},status_class="2xx"}}"#), 3.0),
        (format!(r#"weir_requests_total{{{labels},status_class="4xx"}}"#), 1.0),
        (format!(r#"weir_bytes_total{{{labels},direction="in"}}"#), 15.0),
        (r#"weir_request_seconds_count{cluster="main"}"#.to_owned(), 4.0),
        (r#"weir_request_seconds_bucket{cluster="main",le="+Inf"}"#.to_owned(), 4.0),
        (r#"weir_connections{listener="web"}"#.to_owned(), 1.0),
        (r#"weir_connections_total{listener="web"}"#.to_owned(), 1.0),
        (r#"weir_upstream_connect_total{cluster="main"}"#.to_owned(), 1.0),
        ("weir_workers".to_owned(), 2.0),
        ("weir_exchanges_in_flight".to_owned(), 0.0),
        (format!(r#"weir_endpoint_up{{cluster="main",endpoint="{}"}}"#, endpoint.address), 1.0),
    ] {
        let page = weir.metrics().await;
        assert_eq!(weir.metric(&series).await, value, "{series}\n{page}");
    }
    let page = weir.command(Method::GET, "/metrics", "").await;
    assert!(page.header("content-type").starts_with("text/plain; version=0.0.4"), "{:?}", page.headers);
}

#[tokio::test]
async fn the_status_page_shows_what_runs() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&text(&endpoint, "")).await;
    let status = weir.status().await;
    assert_eq!((&status["pid"], &status["workers"]), (&weir.pid().into(), &2.into()));
    assert_eq!((&status["snapshot"]["number"], &status["routes"][0]), (&1.into(), &"api".into()));
    let shown = weir.endpoint("main", endpoint.address).await;
    assert_eq!((&shown["state"], &shown["weight"], &shown["in_flight"]), (&"healthy".into(), &1.into(), &0.into()));
    assert_eq!(weir.command(Method::GET, "/healthz", "").await.status, 200);
    assert_eq!(weir.command(Method::GET, "/nothing", "").await.status, 404);
    assert_eq!(weir.command(Method::POST, "/v1/status", "").await.status, 405);
}
