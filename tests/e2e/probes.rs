//! Each way to ask an endpoint how it is: one that is well, one that is not, and what is said of it.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
};

use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::Signal;
use tokio::net::TcpListener;

use super::harness::{
    Body, Endpoint, RawEndpoint, Setup, Weir, empty, eventually, get, plain, plain_of, until, with_trailers,
};

/// `health` of this kind, often.
fn often(kind: &str) -> String {
    format!("health = {{ {kind}, interval = \"50ms\", timeout = \"10s\", fall = 2, rise = 2 }}")
}

/// Waits until the endpoint is in a state for a reason.
async fn is(weir: &Weir, endpoint: SocketAddr, state: &str, why: &str) {
    eventually(&format!("{endpoint} {state}: {why}"), || async {
        let status = weir.endpoint("web", endpoint).await;
        (status["state"] == state && status["why"].as_str().unwrap().contains(why)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn http_looks_into_the_body() {
    let endpoint = Endpoint::start("a").await;
    endpoint.set_health_page("status: ok, queue: 12");
    let kind = r#"http = { path = "/health", body = "ok", body-regex = "queue: [0-9]{1,2}$" }"#;
    let weir = Weir::before_with(&[endpoint.address], &often(kind)).await;
    is(&weir, endpoint.address, "healthy", "status 200").await;
    endpoint.set_health_page("status: ok, queue: 1200");
    is(&weir, endpoint.address, "unhealthy", "body does not match").await;
    endpoint.set_health_page("status: bad, queue: 1");
    is(&weir, endpoint.address, "unhealthy", r#"body without "ok""#).await;
    endpoint.set_health_page("status: ok, queue: 1");
    is(&weir, endpoint.address, "healthy", "status 200").await;
}

#[tokio::test]
async fn checks_are_counted_and_the_last_is_told() {
    let endpoint = Endpoint::start("a").await;
    let kind = r#"http = { path = "/health" }"#;
    let weir = Weir::before_with(&[endpoint.address], &often(kind).replace("fall = 2", "fall = 1000")).await;
    is(&weir, endpoint.address, "healthy", "status 200").await;
    endpoint.set_healthy(false);
    let check = eventually("a failed check", || async {
        let check = weir.endpoint("web", endpoint.address).await["check"].clone();
        (check["ok"] == false).then_some(check)
    })
    .await;
    assert_eq!(check["why"], "status 503, expected 200 to 399");
    assert!(check["took_us"].as_u64().unwrap() > 0 && check["at"].as_str().unwrap().ends_with('Z'), "{check}");
    assert_eq!(weir.endpoint("web", endpoint.address).await["state"], "healthy");
    for result in ["success", "failure"] {
        let series = format!(r#"weir_health_checks_total{{cluster="web",result="{result}"}}"#);
        assert!(weir.metric(&series).await > 0.0, "{series}");
    }
    assert!(weir.metric(r#"weir_health_check_seconds_total{cluster="web"}"#).await > 0.0);
}

/// A cluster of an endpoint that answers its checks only when it is let.
async fn held(initial: &str) -> (Endpoint, Weir) {
    let endpoint = Endpoint::start("a").await;
    let kind = format!(r#"http = {{ path = "/late" }}, initial = "{initial}""#);
    let weir = Weir::before_with(&[endpoint.address], &often(&kind).replace("rise = 2", "rise = 1000")).await;
    (endpoint, weir)
}

#[tokio::test]
async fn an_endpoint_under_its_first_check_is_not_picked_until_that_succeeds() {
    let (endpoint, weir) = held("checking").await;
    let status = weir.endpoint("web", endpoint.address).await;
    assert_eq!((&status["state"], &status["why"]), (&"unhealthy".into(), &"not checked yet".into()));
    assert_eq!(get(weir.web(), "/").await.status, 503);
    endpoint.open();
    weir.endpoint_is("web", endpoint.address, "healthy").await;
    assert_eq!(get(weir.web(), "/").await.status, 200);
}

#[tokio::test]
async fn an_endpoint_that_begins_unhealthy_has_to_rise() {
    let (endpoint, weir) = held("unhealthy").await;
    endpoint.open();
    eventually("checks", || async { (endpoint.requests() > 3).then_some(()) }).await;
    assert_eq!(weir.endpoint("web", endpoint.address).await["state"], "unhealthy");
}

#[tokio::test]
async fn http_may_ask_elsewhere_than_requests_go() {
    let (endpoint, side) = (Endpoint::start("a").await, Endpoint::start("side").await);
    let kind = format!(r#"http = {{ path = "/health" }}, port = {}, tls = false"#, side.address.port());
    let cluster = format!("tls = {{ verify = false }}\n{}", often(&kind));
    let weir = Weir::before_with(&[endpoint.address], &cluster).await;
    is(&weir, endpoint.address, "healthy", "status 200").await;
    side.set_healthy(false);
    is(&weir, endpoint.address, "unhealthy", "status 503").await;
    assert_eq!((endpoint.checks(), endpoint.connections()), (0, 0));
}

#[tokio::test]
async fn tcp_waits_for_the_answer_that_is_expected() {
    let well = Arc::new(AtomicU8::new(1));
    let redis = RawEndpoint::start({
        let well = Arc::clone(&well);
        move |mut raw, _| {
            let answer = if well.load(SeqCst) == 1 { "+PONG\r\n" } else { "-LOADING\r\n" };
            async move {
                raw.until("PING\r\n").await;
                raw.send(answer).await;
            }
        }
    })
    .await;
    let kind = r#"tcp = { send = "PING\r\n", expect = { hex = "2b 50 4f 4e 47" } }"#;
    let weir = Weir::before_with(&[redis.address], &often(kind)).await;
    is(&weir, redis.address, "healthy", "answered as expected").await;
    well.store(0, SeqCst);
    is(&weir, redis.address, "unhealthy", r#"expected "+PONG", got "-LOADING\r\n""#).await;
    well.store(1, SeqCst);
    is(&weir, redis.address, "healthy", "answered as expected").await;
}

/// A server with the health service of gRPC, whose answer can be changed.
struct Grpc {
    address: SocketAddr,
    /// A `ServingStatus`, or above 3 the call fails with code 5.
    status: Arc<AtomicU8>,
}

impl Grpc {
    async fn start() -> Grpc {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let status = Arc::new(AtomicU8::new(1));
        let kept = Arc::clone(&status);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let status = Arc::clone(&kept);
                let service = service_fn(move |request| {
                    let status = status.load(SeqCst);
                    async move { Ok::<_, Infallible>(answer(request, status).await) }
                });
                let server = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        Grpc { address, status }
    }
}

async fn answer(request: Request<Incoming>, status: u8) -> Response<Body> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let asked = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&asked[..], b"\0\0\0\0\x0d\x0a\x0bshop.Orders");
    let mut response = if status > 3 {
        let mut response = Response::new(empty());
        response.headers_mut().insert("grpc-status", HeaderValue::from_static("5"));
        response.headers_mut().insert("grpc-message", HeaderValue::from_static("no such service"));
        response
    } else {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
        let message = [0, 0, 0, 0, 2, 8, status].map(char::from).iter().collect::<String>();
        Response::new(with_trailers(message.leak(), trailers))
    };
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

#[tokio::test]
async fn grpc_tells_not_serving_from_not_known() {
    let server = Grpc::start().await;
    let weir = Weir::before_with(&[server.address], &often(r#"grpc = { service = "shop.Orders" }"#)).await;
    is(&weir, server.address, "healthy", "SERVING").await;
    for (status, why) in
        [(2, "NOT_SERVING"), (0, "UNKNOWN"), (3, "SERVICE_UNKNOWN"), (9, "NOT_FOUND): no such service")]
    {
        server.status.store(status, SeqCst);
        is(&weir, server.address, "unhealthy", why).await;
    }
    server.status.store(1, SeqCst);
    is(&weir, server.address, "healthy", "SERVING").await;
}

#[test]
fn authorities_of_a_check_that_are_none_are_a_fault() {
    let text = plain_of("[\"127.0.0.1:1\"]", "health = { http = {}, tls = { ca = \"none.pem\" } }");
    let checked = Setup::new(&text).file("none.pem", "nothing").check();
    assert_eq!(checked.status.code(), Some(2));
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(said.contains("no certificate in it") && said.contains("= key: clusters.web.health.tls.ca"), "{said}");
}

fn script(folder: &Path, text: &str) {
    let draft = folder.join("draft");
    fs::write(&draft, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(draft, folder.join("check.sh")).unwrap();
}

fn checked_by_script(endpoint: SocketAddr, timeout: &str) -> Setup {
    let health = format!(
        "health = {{ exec = {{ command = \"./check.sh\" }}, interval = \"50ms\", timeout = \"{timeout}\", fall = 2, rise = 2 }}"
    );
    Setup::new(&plain(&[endpoint], &health))
}

#[tokio::test]
async fn exec_goes_by_the_exit_and_says_the_first_line() {
    let endpoint = Endpoint::start("a").await;
    let setup = checked_by_script(endpoint.address, "10s");
    let folder = setup.folder().to_owned();
    script(&folder, "echo port $WEIR_ENDPOINT_PORT of $WEIR_ENDPOINT_CLUSTER; echo more");
    let weir = setup.start().await;
    let why = format!("exit 0: port {} of web", endpoint.address.port());
    is(&weir, endpoint.address, "healthy", &why).await;
    script(&folder, "echo disk full >&2; exit 2");
    is(&weir, endpoint.address, "unhealthy", "exit 2: disk full").await;
    assert_eq!(get(weir.web(), "/").await.status, 503);
    script(&folder, "exit 0");
    is(&weir, endpoint.address, "healthy", "exit 0").await;
}

/// Whether a process runs; one that only waits to be noticed by its parent does not.
fn runs(process: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

#[tokio::test]
async fn exec_that_hangs_is_killed_with_its_child() {
    let endpoint = Endpoint::start("a").await;
    let setup = checked_by_script(endpoint.address, "200ms");
    let folder = setup.folder().to_owned();
    script(&folder, "sleep 1000 & echo $! > child.draft; mv child.draft child; wait");
    let weir = setup.start().await;
    is(&weir, endpoint.address, "unhealthy", "no answer within 200ms").await;
    let mut killed = Vec::new();
    while killed.len() < 2 {
        let child = eventually("a child", || std::future::ready(fs::read_to_string(folder.join("child")).ok())).await;
        until("the child to be killed", || !runs(child.trim())).await;
        killed.push(child);
    }
    weir.signal(Signal::SIGTERM);
}
