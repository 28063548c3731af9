//! The admin address over a real socket.

use std::sync::Mutex;

use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use serde_json::json;
use tokio::sync::{Notify, oneshot};

use super::*;

#[derive(Default)]
struct Fake {
    drained: Mutex<Option<String>>,
    commands: Mutex<Vec<String>>,
    go_on: Notify,
}

impl Fake {
    fn note(&self, command: String) {
        self.commands.lock().unwrap().push(command);
    }
    fn commands(&self) -> Vec<String> {
        self.commands.lock().unwrap().clone()
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
    }
    fn plugin_list(&self) -> Value {
        json!({ "plugins": [] })
    }
    fn plugin_push(&self, name: String, component: Bytes) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            self.note(format!("push {name} {}", component.len()));
            if name == "slow" {
                self.go_on.notified().await;
                self.note("slow is done".into());
            }
            match &component[..] {
                b"bad" => Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "imports wasi:cli/environment")),
                _ => Ok(json!({ "name": name })),
            }
        })
    }
    fn plugin_rollback(&self, name: String, version: Option<String>) -> BoxFuture<'_, Answer> {
        self.note(format!("rollback {name} {version:?}"));
        Box::pin(async { Ok(json!({})) })
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
    fn reload(&self) -> BoxFuture<'_, Answer> {
        Box::pin(async { panic!("a bug of ours") })
    }
}

struct Served {
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
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let control = Arc::new(Fake::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let shared: Arc<dyn Control> = control.clone();
        let serving = tokio::spawn(serve(listener, shared, async { drop(stopped.await) }));
        let stream = TcpStream::connect(address).await.unwrap();
        let (client, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Served { control, client, stop, serving }
    }

    async fn ask(&mut self, method: Method, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send(Request::builder().method(method).uri(path), body).await
    }

    async fn send(&mut self, request: http::request::Builder, body: impl Into<Bytes>) -> Reply {
        self.client.ready().await.unwrap();
        let request = request.header(header::HOST, "admin").body(Full::new(body.into())).unwrap();
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
async fn a_component_has_a_largest_size() {
    let mut admin = Served::start().await;
    let request = Request::builder().method(Method::PUT).uri("/v1/plugins/a");
    let reply = admin.send(request, vec![0; 64 * 1024 * 1024 + 1]).await;
    assert_eq!(reply.status, 413);
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
    let request = Request::put("/v1/plugins/slow").body(Full::new(Bytes::from_static(b"wasm"))).unwrap();
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
async fn shutdown_ends_idle_connections_at_once() {
    let mut admin = Served::start().await;
    assert_eq!(admin.ask(Method::GET, "/healthz", "").await.status, 200);
    admin.stop.send(()).unwrap();
    timeout(LAST_ANSWERS / 2, admin.serving).await.unwrap().unwrap();
    until(|| admin.client.is_closed()).await;
}
