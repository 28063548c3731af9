//! What a client may take.

mod bodies;

use std::time::Duration;

use super::harness::{Client, Endpoint, Raw, Weir, empty, eventually, request, soon, until};

async fn weir(limits: &str) -> Weir {
    Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\nlimits = {{ {limits} }}\n\
         [[routes]]\nname = \"all\"\nrespond = {{ body = \"ok\" }}\n"
    ))
    .await
}

const GET: &str = "GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n";

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let weir = weir("connections = 2").await;
    let (mut first, mut second) = (Raw::connect(weir.web()).await, Raw::connect(weir.web()).await);
    for held in [&mut first, &mut second] {
        held.send(GET).await;
        assert_eq!(held.response().await.1, "ok");
    }
    let mut third = Raw::connect(weir.web()).await;
    third.send(GET).await;
    let early = tokio::time::timeout(Duration::from_millis(200), third.head()).await;
    assert!(early.is_err(), "a third connection was served");
    assert_eq!(weir.status().await["listeners"][0]["connections"], 2);
    drop(first);
    assert_eq!(third.response().await.1, "ok");
}

#[tokio::test]
async fn a_limit_that_is_lowered_under_load_holds_once_there_are_fewer() {
    let text = |limits: &str, process: &str| {
        format!(
            "{process}[listeners.web]\naddress = \"127.0.0.1:0\"\n{limits}[[routes]]\nname = \"all\"\nrespond = {{ body = \"ok\" }}\n"
        )
    };
    let cases = [("limits = { connections = 2 }\n", ""), ("", "[process]\nmax-connections = 2\n")];
    for (limits, process) in cases {
        let weir = Weir::start(&text("", "")).await;
        let mut held = Vec::new();
        for _ in 0..6 {
            let mut raw = Raw::connect(weir.web()).await;
            // A head without its end is work under way.
            raw.send("GET / HTTP/1.1\r\n").await;
            held.push(raw);
        }
        let open = async |count: u64| {
            eventually("the connections", || async {
                (weir.status().await["listeners"][0]["connections"] == count).then_some(())
            })
            .await;
        };
        open(6).await;
        let snapshot = weir.snapshot().await;
        weir.configure(&text(limits, process));
        weir.after(snapshot).await;
        drop(held);
        open(0).await;
        let mut later = Vec::new();
        for _ in 0..2 {
            let mut raw = Raw::connect(weir.web()).await;
            raw.send("GET / HTTP/1.1\r\n").await;
            later.push(raw);
        }
        open(2).await;
        let mut third = Raw::connect(weir.web()).await;
        third.send(GET).await;
        let early = tokio::time::timeout(Duration::from_millis(200), third.head()).await;
        assert!(early.is_err(), "a third connection was served");
        later.pop();
        assert_eq!(third.response().await.1, "ok");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let weir = weir(r#"idle-timeout = "100ms""#).await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send(GET).await;
    raw.response().await;
    raw.closed().await;
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    let weir = weir(r#"idle-timeout = "100ms""#).await;
    let mut client = Client::http2(weir.web()).await;
    assert_eq!(client.get("/").await.text(), "ok");
    until("the connection to be closed", || client.is_closed()).await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let weir = weir(r#"header-timeout = "100ms""#).await;
    Raw::connect(weir.web()).await.closed().await;
}

#[tokio::test]
async fn a_connection_at_work_is_not_idle() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\nlimits = {{ idle-timeout = \"50ms\", header-timeout = \"50ms\" }}\n\
         [[routes]]\nname = \"all\"\ncluster = \"web\"\n[clusters.web]\nendpoints = [\"{}\"]\n",
        endpoint.address
    ))
    .await;
    for http2 in [false, true] {
        let mut client = if http2 { Client::http2(weir.web()).await } else { Client::http1(weir.web()).await };
        let response = client.send(request(http::Method::GET, "/half").body(empty()).unwrap()).await;
        let response = response.unwrap();
        let begun = std::time::Instant::now();
        until("longer than idle connections live", || begun.elapsed() > Duration::from_millis(200)).await;
        endpoint.open();
        assert_eq!(super::harness::Reply::read(response).await.unwrap().text(), "first last");
    }
}

#[tokio::test]
async fn too_many_or_too_long_fields_are_431() {
    let weir = weir(r#"header-bytes = "4KiB", headers = 10"#).await;
    let many = (0..11).map(|number| format!("X-{number}: 1\r\n")).collect::<String>();
    let long = format!("X-Long: {}\r\n", "x".repeat(5000));
    for fields in [many, long] {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(format!("GET / HTTP/1.1\r\nHost: weir.test\r\n{fields}\r\n")).await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    }
    let mut client = Client::http2(weir.web()).await;
    let fields = |many: usize| {
        let names = (0..many).map(|number| format!("x-{number}"));
        names.fold(request(http::Method::GET, "/"), |request, name| request.header(name, "1"))
    };
    assert_eq!(client.ask(fields(10).body(empty()).unwrap()).await.status, 431);
    assert_eq!(client.ask(fields(8).body(empty()).unwrap()).await.status, 200);
    eventually("all in the log", || async {
        let lines = weir.stdout();
        (lines.iter().filter(|line| line.contains("\"status\":431")).count() == 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_target_too_long_is_414() {
    let weir = weir(r#"header-bytes = "4KiB""#).await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send(format!("GET /{} HTTP/1.1\r\nHost: weir.test\r\n\r\n", "x".repeat(5000))).await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 414 "), "{head}");
}

#[tokio::test]
async fn limits_change_with_a_reload() {
    let mut weir = weir("headers = 10").await;
    let text = "[listeners.web]\naddress = \"127.0.0.1:0\"\nlimits = { headers = 2 }\n\
                [[routes]]\nname = \"all\"\nrespond = { body = \"ok\" }\n";
    weir.reload(text).await.unwrap();
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("GET / HTTP/1.1\r\nHost: weir.test\r\nA: 1\r\nB: 2\r\n\r\n").await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
}

#[tokio::test]
async fn a_client_that_asks_and_asks_and_reads_nothing_is_cut() {
    let weir = weir(r#"body-timeout = "1s""#).await;
    let mut raw = Raw::connect(weir.web()).await;
    let many = GET.repeat(1000);
    soon("the connection to be cut", async { while raw.try_send(&many).await.is_ok() {} }).await;
    eventually("no connection", || async {
        (weir.metric(r#"weir_connections{listener="web"}"#).await == 0.0).then_some(())
    })
    .await;
    assert_eq!(super::harness::get(weir.web(), "/").await.text(), "ok");
}
