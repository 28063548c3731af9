//! The road of a request on one screen: a route, the plugins' word on it, a destination, an answer.
//!
//! [`run`] is the outer half: it counts, turns an error into a status and writes the log. What is
//! inside only knows success and [`ProxyError`].

use std::{rc::Rc, time::Instant};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONTENT_TYPE, DATE, HOST, RETRY_AFTER},
};
use weir_http1::Frame;

use crate::{
    decide::{Decision, Destination},
    downstream::Downstream,
    error::ProxyError,
    forward, forwarded,
    request::{Client, Request},
    snapshot::{Prepared, Target},
    timer::Timer,
    trace::{Asking, Trace},
    worker::Worker,
};

static MAX_FORWARDS: HeaderName = HeaderName::from_static("max-forwards");

/// One exchange, from the request's head to the last octet of its response; the status for the log.
pub async fn run(
    worker: &Rc<Worker>,
    client: &Client,
    request: &mut Request,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    trace: &mut Trace,
) -> u16 {
    let _in_flight = worker.metrics.exchange();
    let asking = Asking {
        method: request.method.clone(),
        host: request.headers.get(HOST).cloned().unwrap_or_else(|| HeaderValue::from_static("")),
        uri: request.uri.clone(),
        protocol: if request.version == http::Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" },
    };
    if let Err(error) = answer(worker, client, request, down, timer, trace).await {
        fail(worker, down, &error, trace).await;
    }
    trace.finish(worker, client, &asking, down.take_counts());
    trace.status
}

async fn answer(
    worker: &Rc<Worker>,
    client: &Client,
    request: &mut Request,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    trace: &mut Trace,
) -> Result<(), ProxyError> {
    let pinned = worker.pin();
    refuse_methods(request)?;
    let route = pinned.snapshot.router.find(request).ok_or(ProxyError::NoRoute)?;
    trace.route = Some(route.clone());
    forwarded::set(request, client, &client.listener.settings().config.forwarded);
    let decision = Decision { worker, client, snapshot: &pinned.snapshot, route };
    match decision.destination(request, trace)? {
        Some(Destination::Upstream(upstream)) => forward::run(&decision, &upstream, request, down, timer, trace).await,
        Some(Destination::Answer(answer)) => respond(worker, down, &request.method, &answer, trace).await,
        None => match &route.target {
            Target::Respond(answer) => respond(worker, down, &request.method, answer, trace).await,
            Target::Cluster(_) => Err(ProxyError::NoEndpoint),
        },
    }
}

/// What a reverse proxy has no use for, and RFC 9110 section 7.6.2.
fn refuse_methods(request: &mut Request) -> Result<(), ProxyError> {
    let refused = |status, reason| Err(ProxyError::Refused { status, reason });
    match request.method {
        Method::CONNECT => return refused(StatusCode::METHOD_NOT_ALLOWED, "CONNECT"),
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

async fn respond(
    worker: &Worker,
    down: &mut Downstream<'_>,
    method: &Method,
    answer: &Prepared,
    trace: &mut Trace,
) -> Result<(), ProxyError> {
    trace.status = answer.status.as_u16();
    trace.head_at = Some(Instant::now());
    if worker.draining.is_cancelled() {
        down.close_after();
    }
    let mut headers = answer.headers.clone();
    headers.entry(DATE).or_insert_with(|| worker.date(trace.time));
    whole(down, answer.status, headers, answer.body.clone(), *method == Method::HEAD).await
}

/// Send a response whose body is at hand.
async fn whole(
    down: &mut Downstream<'_>,
    status: StatusCode,
    mut headers: HeaderMap,
    body: Bytes,
    head: bool,
) -> Result<(), ProxyError> {
    if head {
        headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let bodyless = head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    down.start(status, headers, Some(if bodyless { 0 } else { body.len() as u64 }))?;
    if !bodyless && !body.is_empty() {
        down.send(Frame::Data(body))?;
    }
    down.finish()?;
    std::future::poll_fn(|cx| down.poll_flush(cx)).await
}

/// Tell the client, unless it has left or has part of another response already.
async fn fail(worker: &Worker, down: &mut Downstream<'_>, error: &ProxyError, trace: &mut Trace) {
    let status = error.status();
    trace.error = Some(error.to_string());
    if error.is_client_gone() || down.is_started() {
        if error.is_client_gone() {
            trace.status = status.as_u16();
        }
        down.abort();
        return;
    }
    trace.status = status.as_u16();
    let in_order = matches!(
        error,
        ProxyError::NoRoute | ProxyError::NoEndpoint | ProxyError::Plugin { .. } | ProxyError::Upstream(_)
    );
    if !in_order || !down.is_received() {
        down.close_after();
    }
    let body = format!("{status}\n");
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(DATE, worker.date(trace.time));
    if matches!(error, ProxyError::NoEndpoint) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    let sent = whole(down, status, headers, body.into(), false).await;
    if sent.is_err() {
        down.abort();
    }
}
