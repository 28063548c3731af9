//! The admin address over a real socket.

use std::{net::SocketAddr, sync::Mutex};

use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;
use weir_config::{AdminAddress, AdminRole, SocketFile};

use super::*;

#[derive(Default)]
struct Fake {
    drained: Mutex<Option<String>>,
    commands: Mutex<Vec<String>>,
    go_on: Notify,
    /// What the metrics end with.
    last_metrics: Mutex<String>,
}

impl Fake {
    fn note(&self, command: String) {
        self.commands.lock().unwrap().push(command);
    }
    fn commands(&self) -> Vec<String> {
        self.commands.lock().unwrap().clone()
    }
}

/// Takes note of a push that is dropped.
struct Left<'a>(&'a Fake);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.note("given up".into());
    }
}

impl Control for Fake {
    fn ready(&self) -> Result<(), String> {
        self.drained.lock().unwrap().clone().map_or(Ok(()), Err)
    }
    fn status(&self) -> Value {
        json!({ "clusters": [] })
    }
    fn metrics(&self, out: &mut String) {
        out.push_str("weir_workers 2\n");
        out.push_str(&self.last_metrics.lock().unwrap());
    }
    fn plugin_list(&self) -> Value {
        json!({ "plugins": [] })
    }
    fn plugin_push(&self, name: String, component: Bytes, turns: Turns) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            self.note(format!("push {name} {}", component.len()));
            let left = Left(self);
            if name == "slow" {
                self.go_on.notified().await;
                self.note("slow is done".into());
            }
            std::mem::forget(left);
            drop(turns);
            match &component[..] {
                b"bad" => Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "imports wasi:cli/environment")),
                _ => Ok(json!({ "name": name })),
            }
        })
    }
    fn plugin_rollback(&self, name: String, version: Option<String>) -> BoxFuture<'_, Answer> {
        self.note(format!("rollback {name} {version:?}"));
        Box::pin(async move {
            if name == "slow" {
                self.go_on.notified().await;
                self.note("slow is done".into());
            }
            Ok(json!({}))
        })
    }
    fn certificate_push(&self, name: String, pem: Bytes) -> BoxFuture<'_, Answer> {
        self.note(format!("certificate {name} {}", pem.len()));
        Box::pin(async { Ok(json!({})) })
    }
    fn endpoint(&self, cluster: String, address: String, change: EndpointChange) -> BoxFuture<'_, Answer> {
        self.note(format!("endpoint {cluster} {address} {change:?}"));
        Box::pin(async { Ok(json!({})) })
    }
    fn rollout_list(&self) -> Value {
        json!({ "rollouts": [] })
    }
    fn rollout_order(&self, route: &str, order: Steer) -> Answer {
        Ok(json!({ "route": route, "order": format!("{order:?}") }))
    }
    fn acme_list(&self) -> Value {
        json!({ "acme": [] })
    }
    fn acme_renew(&self, certificate: &str) -> Answer {
        Ok(json!({ "certificate": certificate }))
    }
    fn state(&self, of: &Subject) -> Value {
        Value::from(of.to_string())
    }
    fn reload(&self) -> BoxFuture<'_, Answer> {
        Box::pin(async { panic!("a bug of ours") })
    }
}

struct Served {
    address: SocketAddr,
    control: Arc<Fake>,
    client: SendRequest<Full<Bytes>>,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<()>,
}

struct Reply {
    status: u16,
    headers: http::HeaderMap,
    body: String,
}

impl Served {
    async fn start() -> Served {
        Served::with(Access::open(AdminRole::Deploy, &[], &["admin", "weir.test"])).await
    }

    async fn with(access: Access) -> Served {
        let wanted = AdminAddress::Tcp("127.0.0.1:0".parse().unwrap());
        let socket = Socket::bind(&wanted, &SocketFile::default()).unwrap();
        let address = socket.to_string().parse().unwrap();
        let door = Door {
            name: "admin",
            wanted,
            socket,
            access: arc_swap::ArcSwap::from_pointee(access),
            closing: CancellationToken::new(),
        };
        let control = Arc::new(Fake::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let shared: Arc<dyn Control> = control.clone();
        let serving = tokio::spawn(serve(door.into(), shared, async { drop(stopped.await) }));
        let stream = TcpStream::connect(address).await.unwrap();
        let (client, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Served { address, control, client, stop, serving }
    }

    async fn ask(&mut self, method: Method, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send(Request::builder().method(method).uri(path), body).await
    }

    async fn send(&mut self, request: http::request::Builder, body: impl Into<Bytes>) -> Reply {
        self.send_as(request.header(header::HOST, "admin"), body).await
    }

    async fn send_as(&mut self, request: http::request::Builder, body: impl Into<Bytes>) -> Reply {
        self.client.ready().await.unwrap();
        let request = request.body(Full::new(body.into())).unwrap();
        let response = self.client.send_request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: head.status.as_u16(), headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }
}

#[tokio::test]
async fn pages_are_shown_over_one_connection() {
    let mut admin = Served::start().await;
    for (path, wanted) in [
        ("/healthz", "ok\n"),
        ("/readyz", "ready\n"),
        ("/metrics", "weir_workers 2\n"),
        ("/v1/status", "{\n  \"clusters\": []\n}\n"),
        ("/v1/plugins", "{\n  \"plugins\": []\n}\n"),
    ] {
        let reply = admin.ask(Method::GET, path, "").await;
        assert_eq!((reply.status, reply.body.as_str()), (200, wanted), "{path}");
        let head = admin.ask(Method::HEAD, path, "").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
    }
    let page = admin.ask(Method::GET, "/metrics", "").await;
    assert_eq!(page.headers[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
}

#[tokio::test]
async fn a_drain_fails_readiness_but_not_health() {
    let mut admin = Served::start().await;
    *admin.control.drained.lock().unwrap() = Some("draining".into());
    let ready = admin.ask(Method::GET, "/readyz", "").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "not ready: draining\n"));
    assert_eq!(admin.ask(Method::GET, "/healthz", "").await.status, 200);
}

#[tokio::test]
async fn commands_reach_the_control() {
    let mut admin = Served::start().await;
    assert_eq!(admin.ask(Method::PUT, "/v1/plugins/canary", "wasm").await.status, 200);
    assert_eq!(admin.ask(Method::POST, "/v1/plugins/canary/rollback?version=0ab", "").await.status, 200);
    assert_eq!(admin.ask(Method::POST, "/v1/plugins/canary/rollback", "").await.status, 200);
    assert_eq!(admin.control.commands(), ["push canary 4", "rollback canary Some(\"0ab\")", "rollback canary None"]);
}

#[tokio::test]
async fn changes_of_endpoints_reach_the_control() {
    let mut admin = Served::start().await;
    let path = "/v1/clusters/web/endpoints/127.0.0.1:80";
    assert_eq!(admin.ask(Method::PUT, path, r#"{"weight": 3}"#).await.status, 200);
    assert_eq!(admin.ask(Method::PUT, path, "").await.status, 200);
    assert_eq!(admin.ask(Method::DELETE, path, "").await.status, 200);
    assert_eq!(admin.ask(Method::POST, &format!("{path}/maintenance"), "").await.status, 200);
    for bad in ["[]", "{", "nonsense"] {
        assert_eq!(admin.ask(Method::PUT, path, bad).await.status, 400, "{bad}");
    }
    assert_eq!(admin.ask(Method::GET, path, "").await.status, 405);
    let note = |change: &str| format!("endpoint web 127.0.0.1:80 {change}");
    let wanted = ["Put({\"weight\": Number(3)})", "Put({})", "Delete", "Order(Some(Maintenance))"];
    assert_eq!(admin.control.commands(), wanted.map(note));
}

#[tokio::test]
async fn rollouts_are_shown_and_steered() {
    let mut admin = Served::start().await;
    assert_eq!(admin.ask(Method::GET, "/v1/rollouts", "").await.body, "{\n  \"rollouts\": []\n}\n");
    let steered = admin.ask(Method::POST, "/v1/rollouts/api/pause", "").await;
    let answer: Value = serde_json::from_str(&steered.body).unwrap();
    assert_eq!((steered.status, answer), (200, json!({ "route": "api", "order": "Pause" })));
    assert_eq!(admin.ask(Method::GET, "/v1/rollouts/api/pause", "").await.status, 405);
}

#[tokio::test]
async fn certificates_are_shown_and_renewed() {
    let mut admin = Served::start().await;
    assert_eq!(admin.ask(Method::GET, "/v1/acme", "").await.body, "{\n  \"acme\": []\n}\n");
    let renewed = admin.ask(Method::POST, "/v1/acme/a.test/renew", "").await;
    let answer: Value = serde_json::from_str(&renewed.body).unwrap();
    assert_eq!((renewed.status, answer), (200, json!({ "certificate": "a.test" })));
    assert_eq!(admin.ask(Method::GET, "/v1/acme/a.test/renew", "").await.status, 405);
}

#[tokio::test]
async fn refusals_are_json_and_say_why() {
    let mut admin = Served::start().await;
    let refused = admin.ask(Method::PUT, "/v1/plugins/canary", "bad").await;
    let body: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!((refused.status, &body["error"]), (422, &json!("imports wasi:cli/environment")));
    assert_eq!(admin.ask(Method::GET, "/v1/nothing", "").await.status, 404);
    let wrong = admin.ask(Method::GET, "/v1/reload", "").await;
    assert_eq!((wrong.status, &wrong.headers[header::ALLOW]), (405, &header::HeaderValue::from_static("POST")));
    assert_eq!(admin.ask(Method::POST, "/healthz", "").await.status, 405);
}

#[tokio::test]
async fn web_pages_may_not_command() {
    let mut admin = Served::start().await;
    for (header, value) in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "same-origin")] {
        let request = Request::builder().method(Method::POST).uri("/v1/plugins/a/rollback").header(header, value);
        assert_eq!(admin.send(request, "").await.status, 403, "{header}: {value}");
    }
    assert_eq!(admin.control.commands(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_sent_has_a_largest_size() {
    for (path, largest, said) in [
        ("/v1/plugins/a", 64 * 1024 * 1024, "a component may have at most 64 MiB"),
        ("/v1/certificates/a", 1024 * 1024, "a certificate may have at most 1 MiB"),
        ("/v1/clusters/a/endpoints/127.0.0.1:80", 64 * 1024, "a description may have at most 64 KiB"),
    ] {
        // A connection each: a client may stop sending once it has the answer, and what it owes is waited for.
        let mut admin = Served::start().await;
        let reply = admin.ask(Method::PUT, path, vec![0; largest + 1]).await;
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!((reply.status, &body["error"]), (413, &json!(said)), "{path}");
        assert_eq!(admin.control.commands(), Vec::<String>::new());
    }
}

/// Sends all of it, and only then reads what is answered until the connection ends, as many clients do.
async fn send_and_read(address: SocketAddr, head: &str, parts: impl IntoIterator<Item = &[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}\r\nhost: admin\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    for part in parts {
        stream.write_all(part).await.unwrap();
    }
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    said
}

#[tokio::test]
async fn who_sends_everything_before_reading_sees_the_refusal() {
    let admin = Served::start().await;
    let (mib, chunk) = (vec![0; 1024 * 1024], [b"100000\r\n", &[0; 1024 * 1024][..], b"\r\n"].concat());
    let whole = |count: usize| std::iter::repeat_n(&mib[..], count);
    let chunked = std::iter::repeat_n(&chunk[..], 66).chain([&b"0\r\n\r\n"[..]]);
    let length = |count: usize| format!("content-length: {}", count * 1024 * 1024);
    for (path, status) in [("/v1/plugins/a", "413"), ("/v1/nothing", "404"), ("/v1/status", "405")] {
        let head = format!("PUT {path} HTTP/1.1\r\n{}", length(66));
        let said = send_and_read(admin.address, &head, whole(66)).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {said}");
    }
    let head = "PUT /v1/plugins/a HTTP/1.1\r\ntransfer-encoding: chunked";
    assert!(send_and_read(admin.address, head, chunked).await.starts_with("HTTP/1.1 413 "));
    let head = format!("PUT /v1/plugins/a HTTP/1.1\r\nexpect: 100-continue\r\n{}", length(66));
    let said = send_and_read(admin.address, &head, []).await;
    assert!(said.starts_with("HTTP/1.1 413 "), "nothing of it has to be sent: {said}");
    assert_eq!(admin.control.commands(), Vec::<String>::new());
}

#[tokio::test]
async fn a_command_that_breaks_is_our_fault() {
    let mut admin = Served::start().await;
    assert_eq!(admin.ask(Method::POST, "/v1/reload", "").await.status, 500);
    assert_eq!(admin.ask(Method::GET, "/healthz", "").await.status, 200);
}

async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.unwrap();
}

#[tokio::test]
async fn a_command_goes_on_when_its_client_leaves() {
    let mut admin = Served::start().await;
    let control = admin.control.clone();
    let request = Request::post("/v1/plugins/slow/rollback").body(Full::default()).unwrap();
    let answer = admin.client.send_request(request);
    let started = until(|| !control.commands().is_empty());
    tokio::select! { _ = answer => panic!("answered"), () = started => {} }
    drop(admin.client);
    admin.stop.send(()).unwrap();
    admin.serving.await.unwrap();
    control.go_on.notify_one();
    until(|| control.commands().len() == 2).await;
}

#[tokio::test]
async fn a_push_is_given_up_when_its_client_leaves() {
    let mut admin = Served::start().await;
    let control = admin.control.clone();
    let request = Request::put("/v1/plugins/slow").body(Full::new(Bytes::from_static(b"wasm"))).unwrap();
    let answer = admin.client.send_request(request);
    let started = until(|| !control.commands().is_empty());
    tokio::select! { _ = answer => panic!("answered"), () = started => {} }
    drop(admin.client);
    until(|| control.commands().len() == 2).await;
    assert_eq!(control.commands()[1], "given up");
}

#[tokio::test]
async fn shutdown_ends_idle_connections_at_once() {
    let mut admin = Served::start().await;
    assert_eq!(admin.ask(Method::GET, "/healthz", "").await.status, 200);
    admin.stop.send(()).unwrap();
    timeout(LAST_ANSWERS / 2, admin.serving).await.unwrap().unwrap();
    until(|| admin.client.is_closed()).await;
}

#[tokio::test]
async fn a_request_on_a_connection_accepted_before_the_end_is_answered() {
    let mut admin = Served::start().await;
    let mut late = raw(&admin, "").await;
    // Connections are accepted in their order.
    is_healthy(&admin).await;
    assert_eq!(admin.ask(Method::GET, "/healthz", "").await.status, 200);
    admin.stop.send(()).unwrap();
    until(|| admin.client.is_closed()).await;
    late.write_all(b"GET /healthz HTTP/1.1\r\nHost: admin\r\n\r\n").await.unwrap();
    assert!(told(&mut late, "ok\n").await.starts_with("HTTP/1.1 200 OK"));
    timeout(LAST_ANSWERS / 2, admin.serving).await.unwrap().unwrap();
}

/// A connection of its own, on which requests are written by hand.
async fn raw(admin: &Served, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// What comes until the connection is silent at this end, or closed.
async fn told(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) && stream.read_buf(&mut text).await.unwrap() > 0 {}
    String::from_utf8(text).unwrap()
}

/// A request whose body is announced and wanted, but has not been sent.
async fn unfinished(admin: &Served, path: &str) -> TcpStream {
    let mut stream = raw(admin, &expecting(path)).await;
    assert_eq!(told(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

fn expecting(path: &str) -> String {
    format!("PUT {path} HTTP/1.1\r\nHost: admin\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
}

async fn is_healthy(admin: &Served) {
    let check = async {
        let mut stream = raw(admin, "GET /healthz HTTP/1.1\r\nHost: admin\r\n\r\n").await;
        assert!(told(&mut stream, "ok\n").await.starts_with("HTTP/1.1 200 OK"));
    };
    timeout(Duration::from_secs(10), check).await.expect("a health check gets through");
}

#[tokio::test]
async fn health_checks_get_through_whatever_others_keep_open() {
    let admin = Served::start().await;
    for request in ["", "GET /healthz HTTP/1.1\r\n", "GET /healthz HTTP/1.1\r\nHost: admin\r\n\r\n"] {
        let mut kept = Vec::new();
        for _ in 0..CONNECTIONS {
            kept.push(raw(&admin, request).await);
        }
        is_healthy(&admin).await;
    }
}

#[tokio::test]
async fn the_connection_that_rests_longest_is_closed_for_another() {
    let mut admin = Served::start().await;
    let request = "GET /healthz HTTP/1.1\r\nHost: admin\r\n\r\n";
    let mut kept = Vec::new();
    for _ in 1..CONNECTIONS {
        let mut stream = raw(&admin, request).await;
        told(&mut stream, "ok\n").await;
        kept.push(stream);
    }
    assert_eq!(admin.ask(Method::GET, "/healthz", "").await.status, 200, "the oldest connection, but not idle longest");
    is_healthy(&admin).await;
    assert_eq!(told(&mut kept[0], "nothing more").await, "", "it is closed");
    kept[1].write_all(request.as_bytes()).await.unwrap();
    assert!(told(&mut kept[1], "ok\n").await.starts_with("HTTP/1.1 200"), "one is enough");
    assert_eq!(admin.ask(Method::GET, "/healthz", "").await.status, 200);
}

#[tokio::test]
async fn two_components_arrive_at_a_time_and_others_wait_for_their_turn() {
    let mut admin = Served::start().await;
    let first = unfinished(&admin, "/v1/plugins/first").await;
    let mut second = unfinished(&admin, "/v1/plugins/second").await;
    let mut third = raw(&admin, &expecting("/v1/plugins/third")).await;
    for _ in 0..20 {
        assert_eq!(admin.ask(Method::GET, "/healthz", "").await.status, 200);
    }
    let mut octet = [0];
    let sooner = tokio::select! {
        biased;
        _ = third.peek(&mut octet) => true,
        () = is_healthy(&admin) => false,
    };
    assert!(!sooner, "nothing is wanted of the third yet");
    drop(first);
    assert_eq!(told(&mut third, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    for stream in [&mut second, &mut third] {
        stream.write_all(b"wasm").await.unwrap();
        assert!(told(stream, "}\n").await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(admin.control.commands(), ["push second 4", "push third 4"]);
}

#[tokio::test]
async fn a_component_has_its_turn_until_it_is_taken_up_or_given_up() {
    let admin = Served::start().await;
    let mut under_way = Vec::new();
    for number in 0..desk::COMPONENTS {
        let mut component = unfinished(&admin, "/v1/plugins/slow").await;
        component.write_all(b"wasm").await.unwrap();
        until(|| admin.control.commands().len() > number).await;
        under_way.push(component);
    }
    let mut next = raw(&admin, &expecting("/v1/plugins/next")).await;
    let mut octet = [0];
    let sooner = tokio::select! {
        biased;
        _ = next.peek(&mut octet) => true,
        () = is_healthy(&admin) => false,
    };
    assert!(!sooner, "two are being taken up still");
    admin.control.go_on.notify_one();
    assert_eq!(told(&mut next, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    let mut last = raw(&admin, &expecting("/v1/plugins/last")).await;
    under_way.clear();
    assert_eq!(told(&mut last, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
}

#[tokio::test]
async fn commands_have_a_bound_and_health_checks_get_through_beside_them() {
    let mut admin = Served::start().await;
    let path = "/v1/clusters/web/endpoints/127.0.0.1:80";
    let mut under_way = Vec::new();
    for _ in 0..desk::COMMANDS {
        under_way.push(unfinished(&admin, path).await);
    }
    let refused = admin.ask(Method::DELETE, path, "").await;
    assert_eq!((refused.status, &refused.headers[header::RETRY_AFTER]), (503, &header::HeaderValue::from_static("5")));
    assert!(refused.body.contains("commands are under way"), "{}", refused.body);
    for _ in desk::COMMANDS..CONNECTIONS {
        under_way.push(raw(&admin, "").await);
    }
    is_healthy(&admin).await;
    assert!(under_way[0].try_read(&mut [0]).is_err(), "a command under way keeps its place");
    under_way.clear();
    let again = format!("DELETE {path} HTTP/1.1\r\nHost: admin\r\n\r\n");
    let allowed = async { while !told(&mut raw(&admin, &again).await, "}\n").await.starts_with("HTTP/1.1 200") {} };
    timeout(Duration::from_secs(10), allowed).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_an_answer_is_not_waited_for_for_ever() {
    const LARGE: usize = 32 << 20;
    let served = Served::start().await;
    *served.control.last_metrics.lock().unwrap() = "#".repeat(LARGE);
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: weir.test\r\n\r\n").await.unwrap();
    sleep(WRITE_TIMEOUT * 2).await;
    let mut taken = Vec::new();
    let _ = stream.read_to_end(&mut taken).await;
    assert!(!taken.is_empty() && taken.len() < LARGE, "{}", taken.len());
}

const PATHS: [(&str, &str, AdminRole); 19] = {
    use AdminRole::{Deploy, None, Operate, Read};
    [
        ("GET", "/healthz", None),
        ("GET", "/readyz", None),
        ("GET", "/metrics", Read),
        ("GET", "/v1/status", Read),
        ("GET", "/v1/plugins", Read),
        ("GET", "/v1/rollouts", Read),
        ("GET", "/v1/acme", Read),
        ("PUT", "/v1/clusters/web/endpoints/127.0.0.1:80", Operate),
        ("DELETE", "/v1/clusters/web/endpoints/127.0.0.1:80", Operate),
        ("POST", "/v1/clusters/web/endpoints/127.0.0.1:80/drain", Operate),
        ("POST", "/v1/clusters/web/endpoints/127.0.0.1:80/maintenance", Operate),
        ("POST", "/v1/clusters/web/endpoints/127.0.0.1:80/ready", Operate),
        ("POST", "/v1/rollouts/api/advance", Operate),
        ("POST", "/v1/acme/a.test/renew", Operate),
        ("PUT", "/v1/certificates/shop", Operate),
        ("PUT", "/v1/plugins/canary", Deploy),
        ("POST", "/v1/plugins/canary/rollback", Deploy),
        ("POST", "/v1/plugins/canary/rollback?version=3f", Deploy),
        ("POST", "/v1/reload", Deploy),
    ]
};

const SECRETS: [(&str, &str, AdminRole); 3] = [
    ("see", "see-0123456789abcdef", AdminRole::Read),
    ("run", "run-0123456789abcdef", AdminRole::Operate),
    ("ci", "ci-0123456789abcdef", AdminRole::Deploy),
];

fn with_token(method: &str, path: &str, secret: &str) -> http::request::Builder {
    let request = Request::builder().method(method).uri(path);
    if secret.is_empty() { request } else { request.header(header::AUTHORIZATION, format!("Bearer {secret}")) }
}

#[tokio::test]
async fn every_path_needs_its_role() {
    let mut admin = Served::with(Access::open(AdminRole::None, &SECRETS, &["admin"])).await;
    for (method, path, needed) in PATHS {
        let none = admin.send(with_token(method, path, ""), "").await;
        let asks = none.headers.get(header::WWW_AUTHENTICATE).is_some_and(|value| value == "Bearer realm=\"weir\"");
        let refused = needed > AdminRole::None;
        assert_eq!((none.status == 401, asks), (refused, refused), "{method} {path}: {}", none.body);
        for (name, secret, role) in SECRETS.into_iter().filter(|_| path != "/v1/reload") {
            let reply = admin.send(with_token(method, path, secret), "").await;
            assert_eq!(reply.status == 403, role < needed, "{name} {method} {path}: {}", reply.body);
            if role < needed {
                assert!(reply.body.contains(&format!("needs the role `{}`", needed.as_str())), "{}", reply.body);
            }
        }
    }
    let reload = admin.send(with_token("POST", "/v1/reload", SECRETS[1].1), "").await;
    assert_eq!(reload.status, 403);
    for secret in ["ci-0123456789abcdeg", "ci", "ci-0123456789abcdef0"] {
        assert_eq!(admin.send(with_token("GET", "/v1/status", secret), "").await.status, 401, "{secret}");
        assert_eq!(admin.send(with_token("GET", "/healthz", secret), "").await.status, 401, "{secret}");
    }
    assert!(!admin.control.commands().iter().any(|command| command.contains("slow")));
}

#[tokio::test]
async fn without_tokens_an_address_shows_and_changes_nothing() {
    for (access, part) in [
        (Access::open(AdminRole::Read, &[], &["admin"]), "unauthenticated = "),
        (Access::second(), "read-only address"),
    ] {
        let mut admin = Served::with(access).await;
        for (method, path, needed) in PATHS {
            let request = with_token(method, path, "").header(header::HOST, "127.0.0.1:9902");
            let reply = admin.send_as(request, "").await;
            let allowed = needed <= AdminRole::Read;
            assert_eq!(reply.status, if allowed { 200 } else { 403 }, "{method} {path}: {}", reply.body);
            assert!(allowed || reply.body.contains(part), "{}", reply.body);
        }
        assert_eq!(admin.control.commands(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_name_that_is_made_to_lead_here_gets_nothing() {
    let mut admin = Served::with(Access::open(AdminRole::Deploy, &SECRETS, &["weir.test"])).await;
    for (host, status) in [
        ("127.0.0.1:9901", 200),
        ("[::1]:9901", 200),
        ("localhost", 200),
        ("Weir.Test:9901", 200),
        ("evil.test:9901", 421),
        ("127.0.0.1.evil.test", 421),
        ("", 200),
    ] {
        for path in ["/v1/status", "/metrics", "/healthz"] {
            let request = Request::get(path).header(header::HOST, host);
            let reply = admin.send_as(request, "").await;
            assert_eq!(reply.status, status, "{host} {path}");
            assert!(status == 200 || reply.body.contains("`hosts`"), "{}", reply.body);
        }
    }
    let known = with_token("GET", "/v1/status", SECRETS[0].1).header(header::HOST, "weir.cluster.internal");
    assert_eq!(admin.send_as(known, "").await.status, 200, "a page has no token");
}

#[tokio::test]
async fn parameters_that_nothing_knows_are_told() {
    let mut admin = Served::start().await;
    for (method, path, status) in [
        (Method::GET, "/v1/status?clusters=web", 400),
        (Method::GET, "/v1/plugins?name=a", 400),
        (Method::POST, "/v1/plugins/a/rollback?to=3f", 400),
        (Method::POST, "/v1/plugins/a/rollback?version=3f", 200),
        (Method::GET, "/v1/status?cluster=web", 404),
        (Method::GET, "/v1/status?", 200),
        (Method::GET, "/metrics?format=prometheus", 200),
        (Method::GET, "/healthz?x", 200),
    ] {
        let reply = admin.ask(method, path, "").await;
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
    }
}
