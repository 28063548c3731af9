//! Endpoints by hyper. What one does is said by the path it is asked for (see [`Endpoint`]).

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, SET_COOKIE, TRAILER},
};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use super::{
    body::{Body, channel, empty, full, octets, with_trailers},
    tls::Certificate,
};

/// A request as an endpoint saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub headers: HeaderMap,
}

impl Seen {
    /// All values of a field, in order.
    pub fn values(&self, name: &str) -> Vec<String> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }
}

/// An address that is taken and refuses connections, until an endpoint listens there.
pub struct Reserved {
    socket: TcpSocket,
    pub address: SocketAddr,
}

impl Reserved {
    pub fn new() -> Reserved {
        Reserved::at("127.0.0.1:0".parse().unwrap())
    }

    fn at(address: SocketAddr) -> Reserved {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let address = socket.local_addr().unwrap();
        Reserved { socket, address }
    }
}

/// A small HTTP server. Every response has `x-endpoint: NAME`, and by the first part of the path:
///
/// | path | |
/// |---|---|
/// | `/echo` | the request's body and trailers, as they come |
/// | `/octets/N` | N octets, length told |
/// | `/chunks/N` | N octets, length not told; counted by [`Endpoint::sent`] |
/// | `/count` | reads the body, answers with its length |
/// | `/begun` | its head at once; the length of the request's body, read once the gate is open |
/// | `/early` | answers without reading the body |
/// | `/status/N` | that status; empty for 204 and 304 |
/// | `/trailers` | `body` and the trailer `x-sum: 4` |
/// | `/trailers/N` | the same, and N as its Content-Length |
/// | `/half` | `first ` at once, `last` once the gate is open |
/// | `/late` | answers once the gate is open |
/// | `/hang` | never answers |
/// | `/session/N` | its name, and N as the cookie `SID` and the field `x-session` |
/// | `/health` | 200, or 503 after [`Endpoint::set_healthy`]`(false)` |
/// | `/seen` | method, uri, version and fields of the request as JSON |
/// | other | its name |
pub struct Endpoint {
    pub name: &'static str,
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    name: &'static str,
    tls: Option<TlsAcceptor>,
    seen: Mutex<Vec<Seen>>,
    checks: AtomicUsize,
    connections: AtomicUsize,
    open: AtomicUsize,
    sent: Arc<AtomicU64>,
    healthy: AtomicBool,
    page: Mutex<String>,
    gate: watch::Sender<bool>,
}

impl Endpoint {
    /// Speaks HTTP/1.1, and HTTP/2 with prior knowledge.
    pub async fn start(name: &'static str) -> Endpoint {
        Endpoint::launch(name, Reserved::new(), None)
    }

    /// At an address that refused until now.
    pub async fn start_at(name: &'static str, reserved: Reserved) -> Endpoint {
        Endpoint::launch(name, reserved, None)
    }

    /// Over TLS, with these protocols by ALPN.
    pub async fn start_tls(name: &'static str, certificate: &Certificate, alpn: &[&str]) -> Endpoint {
        Endpoint::launch(name, Reserved::new(), Some(certificate.server(alpn)))
    }

    /// The same as a server that is configured otherwise.
    pub async fn start_with(name: &'static str, tls: Arc<ServerConfig>) -> Endpoint {
        Endpoint::launch(name, Reserved::new(), Some(tls))
    }

    fn launch(name: &'static str, reserved: Reserved, tls: Option<Arc<ServerConfig>>) -> Endpoint {
        let address = reserved.address;
        let listener = reserved.socket.listen(1024).unwrap();
        let shared = Arc::new(Shared {
            name,
            tls: tls.map(TlsAcceptor::from),
            seen: Mutex::default(),
            checks: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            sent: Arc::default(),
            healthy: AtomicBool::new(true),
            page: Mutex::default(),
            gate: watch::Sender::new(false),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Endpoint { name, address, shared, task }
    }

    /// Requests so far, health checks apart.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The last request, health checks apart.
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("a request")
    }

    /// Number of requests so far, health checks apart.
    pub fn requests(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// Number of requests for `/health`.
    pub fn checks(&self) -> usize {
        self.shared.checks.load(SeqCst)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(SeqCst)
    }

    /// Octets of `/chunks` that were taken so far.
    pub fn sent(&self) -> &AtomicU64 {
        &self.shared.sent
    }

    pub fn set_healthy(&self, healthy: bool) {
        self.shared.healthy.store(healthy, SeqCst);
    }

    /// The body of `/health` from now on.
    pub fn set_health_page(&self, page: &str) {
        page.clone_into(&mut self.shared.page.lock().unwrap());
    }

    /// Lets `/begun`, `/half` and `/late` go on, now and from now on.
    pub fn open(&self) {
        self.shared.gate.send_replace(true);
    }

    /// Ends every connection and refuses further ones.
    pub async fn stop(mut self) -> Reserved {
        self.task.abort();
        let _ = (&mut self.task).await;
        Reserved::at(self.address)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.fetch_add(1, SeqCst);
        stream.set_nodelay(true).unwrap();
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            shared.open.fetch_add(1, SeqCst);
            serve(stream, Arc::clone(&shared)).await;
            shared.open.fetch_sub(1, SeqCst);
        });
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().half_close(false);
    match &shared.tls {
        None => drop(builder.serve_connection(TokioIo::new(stream), service).await),
        Some(tls) => {
            let Ok(stream) = tls.accept(stream).await else { return };
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        }
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        if path == "/health" {
            self.checks.fetch_add(1, SeqCst);
            let healthy = self.healthy.load(SeqCst);
            let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            return response(status, full(self.page.lock().unwrap().clone()));
        }
        let seen = Seen {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
        };
        self.seen.lock().unwrap().push(seen.clone());
        let mut parts = path.trim_start_matches('/').split('/');
        let (verb, number) = (parts.next().unwrap_or(""), parts.next().and_then(|part| part.parse().ok()));
        let mut response = self.play(verb, number.unwrap_or(0), request, seen).await;
        response.headers_mut().insert("x-endpoint", HeaderValue::from_static(self.name));
        response
    }

    async fn play(&self, verb: &str, number: u64, request: Request<Incoming>, seen: Seen) -> Response<Body> {
        let ok = |body| response(StatusCode::OK, body);
        match verb {
            "echo" => echo(request),
            "octets" if *request.method() == Method::HEAD => {
                let mut response = ok(empty());
                response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(number));
                response
            }
            "octets" => ok(octets(number, true)),
            "chunks" => ok(self.counted(octets(number, false))),
            "count" => ok(full(count(request.into_body()).await.to_string())),
            "status" => status(StatusCode::from_u16(number as u16).unwrap()),
            "trailers" => {
                let sum = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("4"))]);
                let mut response = ok(with_trailers("body", sum));
                response.headers_mut().insert(TRAILER, HeaderValue::from_static("x-sum"));
                if number > 0 {
                    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(number));
                }
                response
            }
            "begun" => ok(self.begun(request.into_body())),
            "half" => ok(self.half()),
            "late" => {
                let _ = self.gate.subscribe().wait_for(|open| *open).await;
                ok(full("late"))
            }
            "hang" => std::future::pending().await,
            "seen" => ok(full(describe(&seen))),
            "session" => session(ok(full(self.name)), number),
            _ => ok(full(self.name)),
        }
    }

    fn counted(&self, body: Body) -> Body {
        let sent = Arc::clone(&self.sent);
        body.map_frame(move |frame| {
            sent.fetch_add(frame.data_ref().map_or(0, |data| data.len() as u64), SeqCst);
            frame
        })
        .boxed_unsync()
    }

    fn begun(&self, asked: Incoming) -> Body {
        let (sender, body) = channel();
        let mut gate = self.gate.subscribe();
        tokio::spawn(async move {
            let _ = gate.wait_for(|open| *open).await;
            sender.data(count(asked).await.to_string());
        });
        body
    }

    fn half(&self) -> Body {
        let (sender, body) = channel();
        let mut gate = self.gate.subscribe();
        tokio::spawn(async move {
            sender.data("first ");
            let _ = gate.wait_for(|open| *open).await;
            sender.data("last");
        });
        body
    }
}

/// With the announcement of trailers, without which hyper sends none.
fn echo(request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut response = response(StatusCode::OK, body.map_err(std::io::Error::other).boxed_unsync());
    if let Some(trailer) = head.headers.get(TRAILER) {
        response.headers_mut().insert(TRAILER, trailer.clone());
    }
    response
}

async fn count(mut body: Incoming) -> u64 {
    let mut octets = 0;
    while let Some(Ok(frame)) = body.frame().await {
        octets += frame.data_ref().map_or(0, |data: &Bytes| data.len() as u64);
    }
    octets
}

fn response(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn status(status: StatusCode) -> Response<Body> {
    let bodyless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    response(status, if bodyless { empty() } else { full(status.to_string()) })
}

fn session(mut response: Response<Body>, number: u64) -> Response<Body> {
    let cookie = format!("SID={number}; Path=/; HttpOnly");
    response.headers_mut().insert(SET_COOKIE, cookie.parse().unwrap());
    response.headers_mut().insert("x-session", number.into());
    response
}

fn describe(seen: &Seen) -> String {
    let fields: Vec<_> =
        seen.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("?"))).collect();
    let version = format!("{:?}", seen.version);
    serde_json::json!({ "method": seen.method.as_str(), "uri": seen.uri.to_string(), "version": version, "headers": fields })
        .to_string()
}
