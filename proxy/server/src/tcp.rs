//! A client's connection that is passed on as it is: opened, led to an endpoint, and noted as one line
//! of the access log.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Context,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header::HOST};
use tokio::{net::TcpStream, time::timeout};
use weir_config::Protocol;
use weir_http1::Length;
use weir_preamble::hello;
use weir_upstream::{
    Admission, Asked, Endpoint, Met, Slot,
    connection::{ConnectionError, Dialled},
};

use crate::{
    access_log::Affinity,
    decide::Decision,
    divide,
    duplex::{self, Broken, Moved, UpOver},
    error::ProxyError,
    exchange::enter,
    forward::{Failed, place::Placed, retry::Retry},
    listening::Settings,
    metrics::ClusterMetrics,
    path::normal::Spelling,
    peek::{Peeked, peek},
    permit,
    pressure::Scarce,
    request::{Client, Request},
    snapshot::{Route, Snapshot, Upstream},
    tenant::InFlight,
    tls::{self, ServerTls, Session, Shaken},
    trace::{Trace, Words},
    transport::Transport,
    worker::Worker,
};

/// Serve a connection until both sides have closed it.
pub async fn serve(worker: Rc<Worker>, client: Client, stream: TcpStream, settings: Arc<Settings>, accepted: Instant) {
    let mut book = Book::open(worker, client, settings.config.protocol, accepted);
    let result = book.run(stream, &settings, accepted).await;
    book.settle(result.as_ref().copied());
}

/// What is noted of one connection, or of one session of datagrams. It becomes a line of the log even
/// when that is cut.
pub struct Book {
    /// Who serves it.
    pub worker: Rc<Worker>,
    /// Whose it is.
    pub client: Client,
    protocol: Protocol,
    /// The line in the making.
    pub trace: Trace,
    /// What has passed.
    pub moved: Moved,
}

impl Book {
    /// Of one that began then.
    pub fn open(worker: Rc<Worker>, client: Client, protocol: Protocol, accepted: Instant) -> Self {
        let mut trace = Trace::new(Instant::now(), accepted.elapsed());
        trace.status = StatusCode::SERVICE_UNAVAILABLE.as_u16();
        trace.error = Some("cut at shutdown".to_owned());
        Self { worker, client, protocol, trace, moved: Moved::default() }
    }

    /// Note how it went.
    pub fn settle(&mut self, result: Result<(), &ProxyError>) {
        self.trace.error = result.err().map(ToString::to_string);
        self.trace.status = result.err().map_or(StatusCode::OK, ProxyError::status).as_u16();
    }

    async fn run(&mut self, stream: TcpStream, settings: &Settings, accepted: Instant) -> Result<(), ProxyError> {
        let Self { worker, client, protocol, trace, moved } = self;
        let limit = settings.config.limits.header_timeout;
        let opened = tokio::select! {
            opened = timeout(limit, open(worker, client, *protocol, stream, settings)) => opened,
            () = worker.unwanted_since(accepted) => return Err(ProxyError::ClientSlow),
        };
        let mut stream = opened.map_err(|_| ProxyError::ClientSlow)??;
        trace.split.read = accepted.elapsed();
        let pinned = worker.pin();
        let Led { route, upstream, mut request, counted: _counted } = lead(worker, client, &pinned.snapshot, trace)?;
        let _permit = permit::of_exchange(worker, &pinned.snapshot, client, Some(&request), Some(&route), trace)?;
        let decision = Decision { worker, client, asking: None, snapshot: &pinned.snapshot, route: &route };
        let (mut dialled, held) = connect(&decision, &upstream, &mut request, &stream, trace).await?;
        // What runs is held no longer than that: connections may last for days.
        drop(pinned);
        let connected = Instant::now();
        let idle = settings.config.limits.idle_timeout;
        let passing = duplex::run(&mut stream, &mut dialled.transport, moved, &worker.pipes, idle);
        let at = At { upstream: &upstream, endpoint: &held.0, client };
        let passed = at.watched(passing, moved).await;
        trace.head_at = moved.answered.get();
        trace.split.first_byte = trace.head_at.map_or(Duration::ZERO, |at| at - connected);
        passed.map_err(|broken| match broken {
            Broken::Client => ProxyError::ClientGone,
            Broken::Endpoint(error) => ProxyError::EndpointGone(error),
            Broken::Idle => ProxyError::Idle,
        })
    }
}

/// Where a connection is passed on to, and whose it is.
struct At<'a> {
    upstream: &'a Upstream,
    endpoint: &'a Endpoint,
    client: &'a Client,
}

impl At<'_> {
    /// Have what passes count for or against the endpoint: the first bytes that come from it, or that it resets the
    /// connection without any. An endpoint that closes at once may have its reasons.
    async fn watched(&self, passing: impl Future<Output = Result<(), Broken>>, moved: &Moved) -> Result<(), Broken> {
        let (mut passing, mut answered) = (pin!(passing), false);
        let passed = poll_fn(|cx| {
            let passed = passing.as_mut().poll(cx);
            if !answered && moved.answered.get().is_some() {
                answered = true;
                self.met(Met::FirstBytes);
                self.upstream.cluster.completed(self.endpoint, || self.asked());
            }
            passed
        })
        .await;
        if !answered && is_reset(&passed, moved) {
            self.met(Met::Reset);
        }
        passed
    }

    fn met(&self, met: Met) {
        self.upstream.cluster.meet(self.endpoint, met, None, || self.asked());
    }

    fn asked(&self) -> Asked {
        Asked::new(self.client.ip(), "", "")
    }
}

/// Whether the endpoint reset a connection over which nothing had come. A client that leaves without a word is
/// nothing to be answered.
fn is_reset(passed: &Result<(), Broken>, moved: &Moved) -> bool {
    let over = moved.up_over.get();
    match passed {
        Err(Broken::Endpoint(_)) => moved.up.get() > 0 || over != UpOver::Said,
        Ok(()) => over == UpOver::Refused,
        Err(Broken::Client | Broken::Idle) => false,
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        let words = Words {
            host: self.client.sni().unwrap_or_default(),
            method: "",
            path: "",
            protocol: self.protocol.as_str(),
        };
        self.trace.finish_with(&self.worker, &self.client, words, (self.moved.up.get(), self.moved.down.get()));
    }
}

/// Whatever has to be known or agreed on before the connection can be led anywhere.
async fn open(
    worker: &Worker,
    client: &mut Client,
    protocol: Protocol,
    stream: TcpStream,
    settings: &Settings,
) -> Result<Transport, ProxyError> {
    match (protocol, &settings.tls) {
        (Protocol::TlsPassthrough, _) => {
            let refused = |fault: hello::Fault| ProxyError::Refused {
                status: StatusCode::BAD_REQUEST,
                reason: match fault {
                    hello::Fault::NotTls => "not TLS",
                    hello::Fault::TooLong => "TLS ClientHello too long",
                    hello::Fault::Malformed(_) => "malformed TLS ClientHello",
                },
            };
            let Peeked::Whole(hello) = peek(&stream, hello::read).await.map_err(refused)? else {
                return Err(ProxyError::ClientGone);
            };
            client.hello = Some(Box::new(hello));
            Ok(Transport::from(stream))
        }
        (Protocol::Tls, Some(tls)) => match handshake(worker, client, tls, stream).await {
            Ok(None) => Err(ProxyError::ClientGone),
            Ok(Some(shaken)) => {
                let (stream, session) = Session::of(shaken);
                client.learn(Some(session));
                Ok(Transport::from(stream))
            }
            Err(error) => {
                tracing::debug!(%error, client = %client.address, "TLS handshake");
                Err(ProxyError::Refused { status: StatusCode::BAD_REQUEST, reason: "TLS handshake failed" })
            }
        },
        _ => Ok(Transport::from(stream)),
    }
}

/// Where a connection or a session of datagrams is led, and whose it is.
pub struct Led {
    /// The route that took it.
    pub route: Arc<Route>,
    /// Its cluster, or the one of its tenant's in place of it.
    pub upstream: Arc<Upstream>,
    /// What deciders see of it.
    pub request: Request,
    /// It counts for its tenant as long as this lives.
    pub counted: Option<InFlight>,
}

/// What deciders see of a connection or a session of datagrams, with its tenant, and the route that takes it.
pub fn asked<'s>(client: &Client, snapshot: &'s Snapshot) -> (Request, Option<&'s Arc<Route>>) {
    let mut request = request(client);
    request.tenant = snapshot.tenants.find(&request, client).cloned();
    let route = snapshot.route_of(request.tenant_name(), client);
    (request, route)
}

/// Find out where it is to be led.
///
/// # Errors
/// Nowhere, or its tenant may have no more.
pub fn lead(worker: &Worker, client: &Client, snapshot: &Snapshot, trace: &mut Trace) -> Result<Led, ProxyError> {
    let (request, route) = asked(client, snapshot);
    let counted = enter(worker, &request, trace)?;
    let route = route.ok_or(ProxyError::NoRoute)?;
    trace.route = Some(Arc::clone(route));
    let upstream = divide::upstream(&route.target, &request, client, worker).ok_or(ProxyError::NoEndpoint)?;
    let upstream = request.tenant.as_ref().map_or(&upstream, |tenant| tenant.place(&upstream));
    trace.upstream = Some(Arc::clone(upstream));
    Ok(Led { route: Arc::clone(route), upstream: Arc::clone(upstream), request, counted })
}

async fn handshake(
    worker: &Worker,
    client: &Client,
    tls: &ServerTls,
    stream: TcpStream,
) -> std::io::Result<Option<Shaken>> {
    let handshake = worker.challenges().accept(tls, stream);
    tls::counted(&client.listener.metrics, worker.index(), handshake).await
}

/// What deciders see of a connection: a request for nothing but to be connected.
fn request(client: &Client) -> Request {
    let host = client.sni().and_then(|name| HeaderValue::from_str(name).ok());
    Request {
        method: Method::CONNECT,
        uri: Uri::default(),
        version: Version::HTTP_11,
        headers: host.map(|host| (HOST, host)).into_iter().collect::<HeaderMap>(),
        length: Length::Empty,
        upgrade: None,
        hash_key: None,
        labels: Vec::new(),
        tenant: None,
        spelling: Spelling::default(),
    }
}

/// A connection to an endpoint of the cluster, and what it counts by there.
async fn connect<'u>(
    decision: &Decision<'_>,
    upstream: &'u Upstream,
    request: &mut Request,
    client: &Transport,
    trace: &mut Trace,
) -> Result<(Dialled, (Admission<'u>, Slot)), ProxyError> {
    let (keeping, mut kept) = decision.session(upstream, request, trace)?;
    let mut retry = Retry::new(decision, upstream, request, trace);
    let mut last = None;
    loop {
        let endpoint = match retry.place(kept.as_ref(), request, false, trace)? {
            Placed::At(endpoint) => Some(endpoint),
            Placed::Full => {
                let mut broken = pin!(client.broken());
                let mut gone = |cx: &mut Context<'_>| broken.as_mut().poll(cx);
                retry.wait(kept.as_ref(), request, &mut gone, trace).await?
            }
            Placed::Nowhere => None,
        };
        kept = None;
        let Some(endpoint) = endpoint else { return Err(last.unwrap_or(ProxyError::NoEndpoint)) };
        retry.begin(trace);
        let error = match unless_broken(client, attempt(decision, upstream, &endpoint, trace)).await? {
            Ok((connected, slot)) => {
                // What a cookie would carry has nowhere to go.
                decision.keep(upstream, request, &keeping, &endpoint, &mut HeaderMap::new(), trace)?;
                return Ok((connected, (endpoint, slot)));
            }
            Err(error) => ProxyError::Upstream(error),
        };
        let (why, error) = match retry.judge(error, false, true, trace) {
            Failed::Again(why, error) => (why, error),
            Failed::Finally(error) => return Err(decision.judge(upstream, &endpoint, error, trace)),
        };
        trace.affinity = trace.affinity.map(Affinity::moved);
        let wait = retry.follow(&endpoint, why);
        drop(endpoint);
        if !wait.is_zero() {
            unless_broken(client, tokio::time::sleep(wait)).await?;
        }
        last = error;
    }
}

/// The end of this, unless the client breaks off before.
async fn unless_broken<T>(client: &Transport, done: impl Future<Output = T>) -> Result<T, ProxyError> {
    tokio::select! {
        biased;
        done = done => Ok(done),
        () = client.broken() => Err(ProxyError::ClientGone),
    }
}

async fn attempt(
    decision: &Decision<'_>,
    upstream: &Upstream,
    endpoint: &Arc<Endpoint>,
    trace: &mut Trace,
) -> Result<(Dialled, Slot), ConnectionError> {
    trace.endpoint = Some(Arc::clone(endpoint));
    let connector = &upstream.connector;
    let dialled = async {
        let mut slot = decision.worker.pools.slot(connector, endpoint).await?;
        // Since the client was accepted.
        slot.is_counted();
        let introduction = decision.client.introduction(connector);
        connector.open(endpoint.address(), &introduction, None).await.map(|dialled| (dialled, slot))
    };
    let dialled = dialled.await;
    let asked = || Asked::new(decision.client.ip(), "", "");
    match &dialled {
        Ok((dialled, _)) => {
            trace.split.connect += dialled.connect;
            trace.split.tls += dialled.tls;
            endpoint.observe(dialled.connect);
            upstream.cluster.meet(endpoint, Met::Connection, None, asked);
            note(decision, trace, |figures, worker| {
                figures.dialled(worker, true);
                dialled.resumed.into_iter().for_each(|resumed| figures.handshake(worker, resumed));
            });
        }
        Err(ConnectionError::NoDescriptor) => {
            decision.worker.run_short(Scarce::Descriptors);
        }
        Err(error) if error.is_ours() => {}
        Err(error) => {
            upstream.cluster.meet(endpoint, Met::NoConnection, None, asked);
            tracing::debug!(endpoint = endpoint.name(), %error, "endpoint cannot be connected to");
            note(decision, trace, |figures, worker| figures.dialled(worker, false));
        }
    }
    dialled
}

fn note(decision: &Decision<'_>, trace: &Trace, count: impl Fn(&ClusterMetrics, usize)) {
    if let Some(figures) = trace.figures(decision.worker, decision.client).cluster() {
        count(figures, decision.worker.index());
    }
}
