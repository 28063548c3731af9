//! The road of a request on one screen: a route, the plugins' word on it, a destination, an answer.
//!
//! [`run`] is the outer half: it counts, turns an error into a status and writes the log. What is
//! inside only knows success and [`ProxyError`].

use std::{future::poll_fn, rc::Rc, sync::Arc, task::Poll, time::Instant};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, RETRY_AFTER},
};
use weir_config::{ByteSize, Limits, paths::Refusal};
use weir_http1::{Frame, Length};

use crate::{
    compress,
    decide::{Decision, Destination},
    downstream::{Downstream, TOO_LARGE},
    error::ProxyError,
    forward, forwarded,
    grpc::{self, Call},
    identity::{Identity, Reserved},
    mirror,
    path::normal,
    permit,
    request::{Client, Request},
    router::host_of,
    snapshot::{Prepared, Route, Target, Upstream},
    tenant::InFlight,
    timer::Timer,
    trace::{Asking, Trace},
    tunnel::Tunnel,
    worker::Worker,
};

static MAX_FORWARDS: HeaderName = HeaderName::from_static("max-forwards");

/// Who asks, by which listener, and for what.
struct Asker<'a> {
    client: &'a Client,
    listener: &'a weir_config::Listener,
    identity: Option<&'a Identity>,
    asking: &'a Asking,
    /// Why no route may take its path.
    unfit: Option<Refusal>,
}

/// One exchange, from the request's head to the last octet of its response. Gives the status for the
/// log, and 499 for every client that left.
pub async fn run(
    worker: &Rc<Worker>,
    client: &Client,
    request: &mut Request,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    trace: &mut Trace,
) -> u16 {
    let _in_flight = worker.metrics.exchange();
    let settings = client.listener.settings();
    let named = forwarded::client(client, &request.headers, &settings.config.forwarded);
    let client = named.as_ref().unwrap_or(client);
    let settled = normal::settle(request, settings.config.paths);
    let (as_sent, unfit) = settled.map_or_else(|reason| (None, Some(reason)), |as_sent| (as_sent, None));
    let asking = Asking {
        method: if request.is_extended_connect() { Method::CONNECT } else { request.method.clone() },
        host: request.headers.get(HOST).cloned().unwrap_or_else(|| HeaderValue::from_static("")),
        normal: as_sent.is_some().then(|| request.uri.clone()),
        uri: as_sent.unwrap_or_else(|| request.uri.clone()),
        protocol: if request.version == http::Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" },
    };
    let identity = settings.tls.as_ref().and_then(|tls| tls.identity.as_deref());
    let asker = Asker { client, listener: &settings.config, identity, asking: &asking, unfit };
    let mut book = Book { worker, client, asking: &asking, down, trace, closed: false };
    let answered = answer(worker, &asker, request, book.down, timer, book.trace).await;
    let answered = answered.map_err(|error| match (error, book.trace.grpc) {
        (ProxyError::RouteTimeout, Some(call)) if call.is_over(book.trace.started) => ProxyError::Deadline,
        (error, _) => error,
    });
    if let Err(error) = &answered {
        fail(worker, &asker, book.down, timer, error, book.trace).await;
    }
    book.closed = true;
    answered
        .as_ref()
        .err()
        .filter(|error| error.is_client_gone())
        .map_or(book.trace.status, |gone| gone.status().as_u16())
}

/// What is noted of an exchange. It becomes a line of the log even when the exchange is cut.
struct Book<'a, 'd> {
    worker: &'a Worker,
    client: &'a Client,
    asking: &'a Asking,
    down: &'a mut Downstream<'d>,
    trace: &'a mut Trace,
    closed: bool,
}

impl Drop for Book<'_, '_> {
    fn drop(&mut self) {
        if !self.closed {
            self.trace.error = Some("cut at shutdown".to_owned());
            if self.trace.status == 0 {
                self.trace.status = StatusCode::SERVICE_UNAVAILABLE.as_u16();
            }
            self.down.tear();
        }
        self.trace.finish(self.worker, self.client, self.asking, self.down.take_counts());
    }
}

async fn answer(
    worker: &Rc<Worker>,
    asker: &Asker<'_>,
    request: &mut Request,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    trace: &mut Trace,
) -> Result<(), ProxyError> {
    if let Some(ours) = challenge(worker, request, trace) {
        return whole(down, timer, asker.client, ours).await;
    }
    let Some(tunnel) = lead(worker, asker, request, down, timer, trace).await? else { return Ok(()) };
    // What runs is held no longer: a tunnel may last for days.
    request.tenant = None;
    trace.settle(worker, asker.client);
    tunnel.run(worker, down, timer, trace).await
}

/// All of an exchange but the tunnel that it may become.
async fn lead(
    worker: &Rc<Worker>,
    asker: &Asker<'_>,
    request: &mut Request,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    trace: &mut Trace,
) -> Result<Option<Tunnel>, ProxyError> {
    let (pinned, client) = (worker.pin(), asker.client);
    trace.grpc = Call::of(request);
    refuse_methods(request)?;
    refuse_sizes(request, asker)?;
    refuse_paths(asker)?;
    refuse_hosts(request, client)?;
    if asker.asking.host.is_empty() && !request.headers.contains_key(HOST) {
        // HTTP/1.0 may leave it out; whoever is asked next may not.
        let host = HeaderValue::try_from(client.listener.address().to_string());
        request.headers.insert(HOST, host.unwrap_or_else(|_| HeaderValue::from_static("localhost")));
    }
    if let Some(reserved) = &pinned.snapshot.reserved {
        identify(reserved, asker, request);
        down.reserve(reserved);
    }
    request.tenant = pinned.snapshot.tenants.find(request, client).cloned();
    let counted = enter(worker, request, trace)?;
    refuse_large(worker, request)?;
    let route = pinned.snapshot.router.find(request, client);
    trace.route = route.cloned();
    if !normal::is_certain(&pinned.snapshot.router, request, client, route) {
        let reason = "path that may be read as another route's";
        return Err(ProxyError::Refused { status: StatusCode::BAD_REQUEST, reason });
    }
    let permit = permit::of_exchange(worker, &pinned.snapshot, client, Some(request), route, trace)?;
    let route = route.ok_or_else(|| no_route(request))?;
    if let Some(most) = most_of_body(request, route, &asker.listener.limits) {
        bound_body(request, most, down)?;
    }
    // As the client said it: the route may take the field away from what its endpoints are told.
    if let Some(compression) = &route.config.compression {
        trace.coding = compress::choose(&request.headers, &compression.algorithms);
    }
    forwarded::set(request, client, &asker.listener.forwarded);
    let decision = Decision { worker, client, asking: Some(asker.asking), snapshot: &pinned.snapshot, route };
    match decision.destination(request, trace)? {
        Some(Destination::Upstream(upstream)) => {
            let tenant = request.tenant.clone();
            let upstream = tenant.as_ref().map_or(&upstream, |tenant| tenant.place(&upstream));
            prepare(worker, &decision, upstream, request, down)?;
            let tunnel = forward::run(&decision, upstream, request, down, timer, trace).await?;
            return Ok(tunnel.map(|tunnel| tunnel.counted(counted, permit)));
        }
        Some(Destination::Answer(answer)) => respond(&decision, down, timer, &request.method, &answer, trace).await?,
        None => match &route.target {
            Target::Respond(answer) => respond(&decision, down, timer, &request.method, answer, trace).await?,
            Target::Redirect(redirect) => {
                let (status, headers) = redirect.answer(request, client);
                let answer = Prepared { status, headers, body: Bytes::new() };
                respond(&decision, down, timer, &request.method, &answer, trace).await?;
            }
            Target::Cluster(_) | Target::Split(_) | Target::Rollout(_) => return Err(ProxyError::NoEndpoint),
        },
    }
    Ok(None)
}

/// The request as endpoints are to see it, and a copy of it where the route has a mirror.
fn prepare(
    worker: &Rc<Worker>,
    decision: &Decision<'_>,
    upstream: &Upstream,
    request: &mut Request,
    down: &mut Downstream<'_>,
) -> Result<(), ProxyError> {
    if let Some(edits) = &decision.route.edits
        && let tenant = request.tenant.clone()
        && let Some(facts) = decision.facts(tenant.as_deref(), Some(&**upstream.cluster.name()), None)
    {
        edits.request(request, &facts)?;
        down.reserve(edits.request_trailers());
    }
    if let Some(copy) = mirror::begin(worker, decision.client, decision.route, request) {
        down.copy_to(copy);
    }
    Ok(())
}

/// What an authority is told that asks whether a host is ours (RFC 8555 section 8.3).
fn challenge(worker: &Worker, request: &Request, trace: &mut Trace) -> Option<Ours> {
    let body = worker.challenges().http(request.uri.path())?;
    let head = request.method == Method::HEAD;
    if !head && request.method != Method::GET {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(DATE, worker.date(trace.time));
    (trace.status, trace.head_at) = (StatusCode::OK.as_u16(), Some(Instant::now()));
    Some(Ours { status: StatusCode::OK, headers, body, head })
}

/// CONNECT is for routes that want it; where there is none, no path would do.
fn no_route(request: &Request) -> ProxyError {
    match request.method {
        Method::CONNECT => ProxyError::Refused { status: StatusCode::METHOD_NOT_ALLOWED, reason: "CONNECT" },
        _ => ProxyError::NoRoute,
    }
}

/// Count a request or a connection of a tenant, if it may have one more.
///
/// # Errors
/// It may not.
pub fn enter(worker: &Worker, request: &Request, trace: &mut Trace) -> Result<Option<InFlight>, ProxyError> {
    let Some(tenant) = &request.tenant else { return Ok(None) };
    trace.tenant = Some(Arc::clone(tenant));
    tenant.begin().map(Some).ok_or_else(|| {
        worker.metrics.tenant(tenant.name()).refuse(worker.index());
        ProxyError::TenantLimit(Arc::clone(tenant.name()))
    })
}

/// A head larger than its tenant may send.
fn refuse_large(worker: &Worker, request: &Request) -> Result<(), ProxyError> {
    let Some(tenant) = &request.tenant else { return Ok(()) };
    let limits = tenant.config.limits;
    let large = limits.header_bytes.is_some_and(|most| request.head_octets() as u64 > most.0);
    if large || limits.headers.is_some_and(|most| request.headers.len() > most) {
        worker.metrics.tenant(tenant.name()).refuse(worker.index());
        let reason = if large { "header too large for its tenant" } else { "too many header fields for its tenant" };
        return Err(ProxyError::Refused { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason });
    }
    Ok(())
}

/// What a reverse proxy has no use for, and RFC 9110 section 7.6.2.
fn refuse_methods(request: &mut Request) -> Result<(), ProxyError> {
    let refused = |status, reason| Err(ProxyError::Refused { status, reason });
    match request.method {
        Method::TRACE => return refused(StatusCode::METHOD_NOT_ALLOWED, "TRACE"),
        Method::OPTIONS => {}
        _ => return Ok(()),
    }
    let Some(left) = request.headers.get(&MAX_FORWARDS) else { return Ok(()) };
    match left.to_str().ok().and_then(|left| left.parse::<u32>().ok()) {
        Some(0) => refused(StatusCode::OK, "Max-Forwards is used up"),
        Some(left) => {
            request.headers.insert(&MAX_FORWARDS, HeaderValue::from(left - 1));
            Ok(())
        }
        None => refused(StatusCode::BAD_REQUEST, "malformed Max-Forwards"),
    }
}

/// More fields than agreed, or a longer target. Heads of HTTP/1.1 with too many fields are refused while
/// they are read; those of HTTP/2 come whole.
fn refuse_sizes(request: &Request, asker: &Asker<'_>) -> Result<(), ProxyError> {
    let limits = &asker.listener.limits;
    let target = asker.asking.uri.path_and_query().map_or("/", |target| target.as_str());
    let refused = |status, reason| Err(ProxyError::Refused { status, reason });
    if request.headers.len() > limits.headers {
        return refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many header fields");
    }
    match limits.url_bytes {
        Some(ByteSize(most)) if target.len() as u64 > most => {
            refused(StatusCode::URI_TOO_LONG, "request target is too long")
        }
        _ => Ok(()),
    }
}

/// Paths that have no normal form, which endpoints might read in any way.
fn refuse_paths(asker: &Asker<'_>) -> Result<(), ProxyError> {
    match asker.unfit {
        Some(reason) => Err(ProxyError::Refused { status: StatusCode::BAD_REQUEST, reason }),
        None => Ok(()),
    }
}

/// Most of the request's body: as its tenant says, or else its route, or else its listener.
fn most_of_body(request: &Request, route: &Route, limits: &Limits) -> Option<ByteSize> {
    let own = request.tenant.as_ref().and_then(|tenant| tenant.config.limits.max_body);
    own.or(route.config.max_body).or(limits.max_body)
}

/// Refuse a body that is announced to be larger; one whose length is not told is refused where it gets so.
fn bound_body(request: &Request, ByteSize(most): ByteSize, down: &mut Downstream<'_>) -> Result<(), ProxyError> {
    if matches!(request.length, Length::Known(length) if length > most) {
        return Err(TOO_LARGE);
    }
    down.bound_body(most);
    Ok(())
}

/// Hosts that the connection's certificate is not for, where the listener is strict (RFC 9110 section 15.5.20).
fn refuse_hosts(request: &Request, client: &Client) -> Result<(), ProxyError> {
    let Some(shown) = &client.shown else { return Ok(()) };
    match request.headers.contains_key(HOST) && !shown.is_for(host_of(request.authority())) {
        true => Err(ProxyError::Refused {
            status: StatusCode::MISDIRECTED_REQUEST,
            reason: "host that the certificate is not for",
        }),
        false => Ok(()),
    }
}

/// Say who the client has proved to be, in place of what it says itself.
fn identify(reserved: &Reserved, asker: &Asker<'_>, request: &mut Request) {
    reserved.remove(&mut request.headers);
    if let (Some(identity), Some(certificate)) = (asker.identity, asker.client.certificate()) {
        identity.set(&mut request.headers, certificate);
    }
}

async fn respond(
    decision: &Decision<'_>,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    method: &Method,
    answer: &Prepared,
    trace: &mut Trace,
) -> Result<(), ProxyError> {
    trace.status = answer.status.as_u16();
    trace.head_at = Some(Instant::now());
    if decision.worker.draining.ends_idle() {
        down.close_after();
    }
    let mut headers = answer.headers.clone();
    trace.announce(&mut headers);
    headers.entry(DATE).or_insert_with(|| decision.worker.date(trace.time));
    if let Some(edits) = &decision.route.edits
        && let Some(facts) = decision.facts(trace.tenant.as_deref(), None, None)
    {
        edits.response(&mut headers, &facts);
    }
    let ours = Ours { status: answer.status, headers, body: answer.body.clone(), head: *method == Method::HEAD };
    whole(down, timer, decision.client, ours).await
}

/// A response of our own, whose body is at hand.
struct Ours {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    head: bool,
}

/// Send it, to a client that takes it in time. Nobody wants what is left of the request's body.
async fn whole(
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    client: &Client,
    mut ours: Ours,
) -> Result<(), ProxyError> {
    if ours.head {
        ours.headers.insert(CONTENT_LENGTH, HeaderValue::from(ours.body.len()));
    }
    let bodyless = ours.head || ours.status == StatusCode::NO_CONTENT || ours.status == StatusCode::NOT_MODIFIED;
    down.pass_over_body().await;
    down.start(ours.status, ours.headers, Some(if bodyless { 0 } else { ours.body.len() as u64 }))?;
    if !bodyless && !ours.body.is_empty() {
        down.send(Frame::Data(ours.body))?;
    }
    down.finish()?;
    let patience = client.listener.limits().body_timeout;
    let mut deadline = None;
    poll_fn(|cx| match down.poll_flush(cx) {
        Poll::Ready(flushed) => Poll::Ready(flushed),
        Poll::Pending => {
            let until = *deadline.get_or_insert_with(|| Instant::now() + patience);
            timer.poll(cx, until).map(|()| Err(ProxyError::ClientStalled))
        }
    })
    .await
}

/// End a response of gRPC that cannot be completed with its outcome, where the client takes that at once.
async fn end(down: &mut Downstream<'_>, error: &ProxyError) -> bool {
    let sent = down.send(Frame::Trailers(grpc::outcome(error)));
    sent.is_ok() && poll_fn(|cx| Poll::Ready(matches!(down.poll_flush(cx), Poll::Ready(Ok(()))))).await
}

/// Tell the client, unless it has left or has part of another response already.
async fn fail(
    worker: &Worker,
    asker: &Asker<'_>,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    error: &ProxyError,
    trace: &mut Trace,
) {
    let Asker { client, asking, .. } = *asker;
    let status = error.status();
    trace.error = Some(error.to_string());
    if error.is_client_gone() || down.is_started() {
        if error.is_client_gone() && trace.tunnel.is_none() {
            trace.status = status.as_u16();
        }
        let late = matches!(error, ProxyError::RouteTimeout | ProxyError::Deadline);
        if trace.grpc.is_none() || !late || !end(down, error).await {
            down.abort();
        }
        return;
    }
    trace.status = status.as_u16();
    let in_order = matches!(
        error,
        ProxyError::NoRoute
            | ProxyError::NoEndpoint
            | ProxyError::SessionLost(_)
            | ProxyError::TenantLimit(_)
            | ProxyError::RateLimit { .. }
            | ProxyError::Denied
            | ProxyError::Plugin { .. }
            | ProxyError::NoRoomForAnswer(_)
            | ProxyError::Upstream(_)
            | ProxyError::AttemptTimeout
            | ProxyError::QueueFull
            | ProxyError::QueueTimeout
    );
    if !in_order {
        down.close_after();
    }
    let mut headers = HeaderMap::with_capacity(4);
    let (told, body) = match trace.grpc {
        None => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            (status, format!("{status}\n"))
        }
        Some(_) => {
            headers.extend(grpc::outcome(error));
            headers.insert(CONTENT_TYPE, grpc::content_type());
            (StatusCode::OK, String::new())
        }
    };
    headers.insert(DATE, worker.date(trace.time));
    if let Some(seconds) = error.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    trace.announce(&mut headers);
    if let Some(route) = &trace.route
        && let Some(edits) = &route.edits
    {
        let cluster = trace.upstream.as_ref().map(|upstream| &**upstream.cluster.name());
        let endpoint = trace.endpoint.as_ref().map(|endpoint| endpoint.name());
        let tenant = trace.tenant.as_deref();
        edits.response(&mut headers, &asking.facts(client, &route.config.name, tenant, cluster, endpoint));
    }
    let ours = Ours { status: told, headers, body: body.into(), head: asking.method == Method::HEAD };
    if whole(down, timer, client, ours).await.is_err() {
        down.abort();
    }
}
