//! What a client may take.

mod bodies;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{net::TcpStream, sync::Semaphore, task::JoinSet};

use super::harness::{Client, Endpoint, Raw, RawEndpoint, Weir, empty, eventually, get, request, soon, until};

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
    let gate = Gate::start().await;
    let weir = Weir::start(&gate.text("limits = { connections = 2 }", "")).await;
    gate.lets_two_at_a_time_pass(weir.web()).await;
}

/// An endpoint that answers one request for each time it is told to.
struct Gate {
    endpoint: RawEndpoint,
    asked: Arc<AtomicUsize>,
    answers: Arc<Semaphore>,
}

impl Gate {
    async fn start() -> Gate {
        let (asked, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (count, wait) = (Arc::clone(&asked), Arc::clone(&answers));
        let endpoint = RawEndpoint::start(move |mut raw, _| {
            let (count, wait) = (Arc::clone(&count), Arc::clone(&wait));
            async move {
                loop {
                    raw.head().await;
                    count.fetch_add(1, SeqCst);
                    wait.acquire().await.unwrap().forget();
                    raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                }
            }
        })
        .await;
        Gate { endpoint, asked, answers }
    }

    /// Many workers before it, each of which accepts.
    fn text(&self, listener: &str, process: &str) -> String {
        format!(
            "[process]\nworkers = 8\n{process}\n[listeners.web]\naddress = \"127.0.0.1:0\"\n{listener}\n\
             [[routes]]\nname = \"all\"\ncluster = \"gate\"\n[clusters.gate]\nendpoints = [\"{}\"]\n",
            self.endpoint.address
        )
    }

    /// Of ten connections that ask at once, one more is served each time one is over.
    async fn lets_two_at_a_time_pass(&self, web: SocketAddr) {
        let mut clients = JoinSet::new();
        for _ in 0..10 {
            let mut raw = Raw::connect(web).await;
            raw.send(GET).await;
            clients.spawn(async move { raw.response().await.1 });
        }
        for over in 0..=8 {
            until("two to be served", || self.asked.load(SeqCst) >= over + 2).await;
            assert_eq!(self.asked.load(SeqCst), over + 2, "served when {over} of them were over");
            self.answers.add_permits(1);
            assert_eq!(soon("one to be over", clients.join_next()).await.unwrap().unwrap(), "ok");
        }
        self.answers.add_permits(1);
        assert_eq!(soon("the last", clients.join_next()).await.unwrap().unwrap(), "ok");
    }
}

#[tokio::test]
async fn a_limit_that_is_lowered_under_load_holds_once_there_are_fewer() {
    for (limits, process) in [("limits = { connections = 2 }", ""), ("", "max-connections = 2")] {
        let gate = Gate::start().await;
        let weir = Weir::start(&gate.text("", "")).await;
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
        weir.configure(&gate.text(limits, process));
        weir.after(snapshot).await;
        drop(held);
        open(0).await;
        gate.lets_two_at_a_time_pass(weir.web()).await;
    }
}

/// Who was accepted by it waits for room all the same.
#[tokio::test]
async fn a_listener_that_is_closed_lets_go_of_its_address_while_there_is_no_room() {
    let text = |other: &str| {
        format!(
            "[process]\nworkers = 2\nmax-connections = 1\n[listeners.web]\naddress = \"127.0.0.1:0\"\n{other}\n\
             [[routes]]\nname = \"all\"\nrespond = {{ body = \"ok\" }}\n"
        )
    };
    let mut weir = Weir::start(&text("[listeners.other]\naddress = \"127.0.0.1:0\"")).await;
    let mut held = Raw::connect(weir.web()).await;
    held.send("GET / HTTP/1.1\r\n").await;
    eventually("the connection", || async {
        (weir.metric(r#"weir_connections{listener="web"}"#).await == 1.0).then_some(())
    })
    .await;
    let other = weir.listener("other");
    let mut waiting = Raw::connect(other).await;
    waiting.send(GET).await;
    eventually("no room for it", || async {
        (weir.status().await["short_of"] == serde_json::json!(["connections"])).then_some(())
    })
    .await;
    weir.reload(&text("")).await.unwrap();
    eventually("nobody to listen", || async { TcpStream::connect(other).await.err() }).await;
    drop(held);
    assert_eq!(waiting.response().await.1, "ok");
    assert_eq!(get(weir.web(), "/").await.text(), "ok");
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
    assert_eq!(get(weir.web(), "/").await.text(), "ok");
}
