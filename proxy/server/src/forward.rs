//! Attempts on endpoints: pick, connect, relay, and again where that is allowed and nothing is lost
//! by it.

mod hedge;
pub mod place;
pub mod retry;
mod upgrade;

use std::{
    future::{Future, poll_fn},
    mem,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{HeaderMap, Method, StatusCode, header::DATE};
use weir_http1::Frame;
use weir_upstream::{
    Asked, Endpoint, Met, Unusable,
    connection::{ConnectionError, Lease, Outcome, Since, Stream, Target},
};

use self::{hedge::Hedged, place::Placed, retry::Retry, upgrade::Ask};
use crate::{
    access_log::{Affinity, Retried},
    compress,
    decide::Decision,
    downstream::Downstream,
    error::ProxyError,
    metrics::RouteMetrics,
    pressure::Scarce,
    relay::{Patience, Relay},
    replay::Replay,
    request::Request,
    sessions::Keeping,
    snapshot::Upstream,
    timer::Timer,
    trace::Trace,
    tunnel::Tunnel,
};

/// Most of a response that is read for the sake of its connection when another is asked for.
const DISCARDED: usize = 16 * 1024;

/// How an attempt failed.
pub enum Failed {
    /// For good.
    Finally(ProxyError),
    /// Another attempt may do; the error is none where there was a response.
    Again(Retried, Option<ProxyError>),
}

impl Failed {
    /// What was met in the place of a response. An endpoint may close a kept connection.
    fn error(&self) -> Option<&ProxyError> {
        match self {
            Self::Again(Retried::Stale, _) => None,
            Self::Finally(error) | Self::Again(_, Some(error)) => Some(error),
            Self::Again(_, None) => None,
        }
    }
}

/// Hold it against an endpoint that what it was asked then ended without a response, where that was the
/// endpoint's doing. It may refuse a stream it has not begun with.
fn charge(upstream: &Upstream, endpoint: &Endpoint, error: &ProxyError, began: Instant, asked: impl FnOnce() -> Asked) {
    let met = match error {
        ProxyError::Upstream(error) if error.is_ours() => return,
        ProxyError::Upstream(error) if error.is_connect() => Some(Met::NoConnection),
        ProxyError::Upstream(error) if error.is_unsent() => None,
        ProxyError::Upstream(_) | ProxyError::UpstreamTimeout | ProxyError::AttemptTimeout => Some(Met::NoResponse),
        _ => return,
    };
    upstream.cluster.observe_failure(endpoint, began);
    if let Some(met) = met {
        upstream.cluster.meet(endpoint, met, None, asked);
    }
}

/// Hold it against an endpoint that it broke off its response. One that falls silent may have nothing to say yet.
fn charge_cut(upstream: &Upstream, endpoint: &Endpoint, error: &ProxyError, asked: impl FnOnce() -> Asked) {
    if let ProxyError::Upstream(error) = error
        && error.is_reset()
    {
        upstream.cluster.meet(endpoint, Met::Cut, None, asked);
    }
}

/// Forward a request to a cluster and its response to the client; where both sides then switch protocols,
/// what comes after it is the tunnel's.
///
/// # Errors
/// What ended the exchange. The client may have part of the response already.
pub async fn run(
    decision: &Decision<'_>,
    upstream: &Arc<Upstream>,
    request: &mut Request,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    trace: &mut Trace,
) -> Result<Option<Tunnel>, ProxyError> {
    trace.upstream = Some(Arc::clone(upstream));
    let (keeping, mut kept) = decision.session(upstream, request, trace)?;
    let mut retry = Retry::new(decision, upstream, request, trace);
    let mut replay = retry.replay(request);
    let (mut fresh, mut last) = (false, None);
    loop {
        let endpoint = match retry.place(kept.as_ref(), request, false, trace)? {
            Placed::At(endpoint) => Some(endpoint),
            Placed::Full => {
                let mut gone = |cx: &mut Context<'_>| match down.is_received() {
                    true => down.poll_gone(cx),
                    false => Poll::Pending,
                };
                Box::pin(retry.wait(kept.as_ref(), request, &mut gone, trace)).await?
            }
            Placed::Nowhere => None,
        };
        let Some(mut endpoint) = endpoint else {
            return Err(last.unwrap_or(ProxyError::NoEndpoint));
        };
        kept = None;
        // A request that goes on at once began with its exchange; the time in line is not its endpoint's.
        let at_once = trace.attempts == 0 && trace.split.queue.is_zero();
        let began = if at_once { trace.started } else { Instant::now() };
        retry.begin(trace);
        trace.asked_at = None;
        let ended = match retry.hedge_after(request, trace) {
            None => {
                let attempt = Attempt { decision, upstream, endpoint: &endpoint, keeping: &keeping, fresh };
                attempt.run(request, &mut retry, replay.as_mut(), down, timer, trace).await
            }
            Some(after) => {
                let hedged = Hedged { decision, upstream, place: &mut endpoint, keeping: &keeping, fresh, after };
                Box::pin(hedged.run(request, &mut retry, down, timer, trace)).await
            }
        };
        if let Some(error) = ended.as_ref().err().and_then(Failed::error) {
            let asked = || asked(decision, request);
            match trace.head_at.is_none_or(|at| at < began) {
                true => charge(upstream, &endpoint, error, trace.asked_at.unwrap_or(began), asked),
                false => charge_cut(upstream, &endpoint, error, asked),
            }
        }
        let (why, error) = match ended {
            Ok(None) => return Ok(None),
            Ok(Some(stream)) => {
                let at = endpoint.lasting(&upstream.cluster);
                return Ok(Some(Tunnel::new(stream, decision.tunnel_idle(upstream), at)));
            }
            Err(Failed::Finally(error)) => return Err(decision.judge(upstream, &endpoint, error, trace)),
            Err(Failed::Again(why, error)) => (why, error),
        };
        tracing::debug!(cluster = &**upstream.cluster.name(), why = why.as_str(), "attempt failed, once more");
        let wait = retry.follow(&endpoint, why);
        if why == Retried::Stale {
            // A connection of HTTP/2 that has ended is found by nobody, and its requests can share the next.
            (kept, fresh) = (Some(Arc::clone(&endpoint)), !upstream.connector.is_http2());
        } else if retry.stays(trace) {
            kept = Some(Arc::clone(&endpoint));
        } else {
            trace.affinity = trace.affinity.map(Affinity::moved);
        }
        drop(endpoint);
        if !wait.is_zero() {
            Box::pin(pause(wait, decision.until(upstream, trace), down)).await?;
        }
        last = error;
    }
}

/// What an endpoint is asked, as outlier detection compares it.
fn asked(decision: &Decision<'_>, request: &Request) -> Asked {
    Asked::new(decision.client.ip(), request.method.as_str(), request.target())
}

/// Wait before another attempt, unless the client leaves or the exchange has to be over before.
async fn pause(wait: Duration, until: Option<Instant>, down: &mut Downstream<'_>) -> Result<(), ProxyError> {
    let due = Instant::now() + wait;
    let late = until.filter(|until| *until < due);
    let mut waited = pin!(tokio::time::sleep_until(late.unwrap_or(due).into()));
    poll_fn(|cx| {
        if down.is_received() && down.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(ProxyError::ClientGone));
        }
        let over = || if late.is_some() { Err(ProxyError::RouteTimeout) } else { Ok(()) };
        waited.as_mut().poll(cx).map(|()| over())
    })
    .await
}

struct Attempt<'a> {
    decision: &'a Decision<'a>,
    upstream: &'a Upstream,
    endpoint: &'a Arc<Endpoint>,
    keeping: &'a Keeping,
    fresh: bool,
}

impl Attempt<'_> {
    async fn run(
        &self,
        request: &Request,
        retry: &mut Retry<'_, '_>,
        replay: Option<&mut Replay>,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        trace: &mut Trace,
    ) -> Result<Option<Stream>, Failed> {
        if request.method == Method::CONNECT {
            return Box::pin(self.pass_on(request, retry, down, trace)).await;
        }
        trace.endpoint = Some(Arc::clone(self.endpoint));
        let answer_by = self.timeout().map(|timeout| Instant::now() + timeout);
        let mut lease = match self.kept(trace) {
            Some(lease) => lease,
            None => match Box::pin(self.connect(false, down, trace)).await {
                Ok(lease) => lease,
                Err(error) => return Err(retry.judge(error, false, true, trace)),
            },
        };
        let answer_by = answer_by.map(|by| by + lease.waited);
        let sent = Instant::now();
        let ask = self.ask_for(request, &lease).await.map_err(Failed::Finally)?;
        if let Err(error) = start(&mut lease, request, self.decision.client.scheme(), ask.as_ref()) {
            return Err(retry.judge(ProxyError::Upstream(error), lease.reused, true, trace));
        }
        let patience = self.patience(answer_by.map(|by| by.saturating_duration_since(sent)), trace);
        let mut relay = Relay::new(down, &mut lease.stream, timer, patience, sent, replay, ask.is_some());
        let mut response = loop {
            match relay.response().await {
                Ok(head) if is_interim(&head) => relay.inform(head),
                Ok(head) => break head,
                Err(error) => {
                    let intact = relay.is_intact();
                    trace.asked_at = Some(relay.asked_at().unwrap_or(sent));
                    give_up(&mut lease.stream, &error);
                    return Err(retry.judge(error, lease.reused, intact, trace));
                }
            }
        };
        self.note_head(sent, relay.asked_at(), request, &mut response, trace);
        if let Some(why) = retry.is_again(&response, relay.is_intact(), trace) {
            self.discard(lease.stream).await;
            return Err(Failed::Again(why, None));
        }
        let done = self.relay_response(&mut relay, &mut response, request, ask.as_ref(), trace).await;
        self.release(lease, done)
    }

    /// Connect the client with the endpoint, as it asked by CONNECT.
    async fn pass_on(
        &self,
        request: &Request,
        retry: &mut Retry<'_, '_>,
        down: &mut Downstream<'_>,
        trace: &mut Trace,
    ) -> Result<Option<Stream>, Failed> {
        trace.endpoint = Some(Arc::clone(self.endpoint));
        let lease = match self.connect(true, down, trace).await {
            Ok(lease) => lease,
            Err(error) => return Err(retry.judge(error, false, true, trace)),
        };
        trace.head_at = Some(Instant::now());
        let headers = self.dress(HeaderMap::new(), request, trace).map_err(Failed::Finally)?;
        trace.status = down.switch(headers, None).map_err(Failed::Finally)?.as_u16();
        Ok(Some(lease.stream))
    }

    /// How the endpoint is asked to switch protocols, where the client wants that.
    async fn ask_for(&self, request: &Request, lease: &Lease) -> Result<Option<Ask>, ProxyError> {
        if request.upgrade.is_none() {
            return Ok(None);
        }
        let (http2, patience) = (self.upstream.connector.is_http2(), self.upstream.cluster.config().connect_timeout);
        Box::pin(Ask::prepare(request, lease, http2, patience, self.decision.worker)).await
    }

    /// The response's head has come, to a request that was begun when it was `sent`. Its endpoint answers for the
    /// time `since` it was asked, where its client took longer to send a body.
    fn note_head(
        &self,
        sent: Instant,
        since: Option<Instant>,
        request: &Request,
        response: &mut Outcome,
        trace: &mut Trace,
    ) {
        let now = Instant::now();
        trace.head_at = Some(now);
        trace.split.first_byte = now - sent;
        let latency = since.map_or(trace.split.first_byte, |since| now - since);
        self.upstream.cluster.observe(self.endpoint, latency, now);
        let met = Met::Status(response.status.as_u16());
        self.upstream.cluster.meet(self.endpoint, met, Some(latency), || asked(self.decision, request));
        if let Some(report) = self.upstream.cluster.hear(self.endpoint, &mut response.headers) {
            self.count_report(report, trace);
        }
    }

    /// Keep the connection of an exchange that is done, if it can be used again; give it where a tunnel
    /// begins.
    fn release(&self, mut lease: Lease, done: Result<Done, ProxyError>) -> Result<Option<Stream>, Failed> {
        match done {
            Ok(Done::Switched) => return Ok(Some(lease.stream)),
            Ok(Done::Over) => {
                self.decision.pools(self.upstream).release(&self.upstream.connector, self.endpoint, lease.stream);
            }
            Err(error) => {
                lease.stream.abort();
                return Err(Failed::Finally(error));
            }
        }
        Ok(None)
    }

    fn count_report(&self, report: Result<(), Unusable>, trace: &Trace) {
        let worker = self.decision.worker;
        if let Some(figures) = trace.figures(worker, self.decision.client).cluster() {
            figures.load_report(worker.index(), report.is_ok());
        }
        if let Err(error) = report {
            let (cluster, endpoint) = (&**self.upstream.cluster.name(), self.endpoint.name());
            tracing::debug!(cluster, endpoint, %error, "load report passed over");
        }
    }

    /// A connection that is kept, at once.
    fn kept(&self, trace: &mut Trace) -> Option<Lease> {
        if self.fresh {
            return None;
        }
        let lease = self.decision.pools(self.upstream).kept(&self.upstream.connector, self.endpoint)?;
        note_lease(&lease, trace);
        Some(lease)
    }

    /// A connection for one exchange, or of octets that are not HTTP's. A client that leaves wants it no more.
    async fn connect(&self, bare: bool, down: &mut Downstream<'_>, trace: &mut Trace) -> Result<Lease, ProxyError> {
        let (until, dialled) = (self.decision.until(self.upstream, trace), Since::default());
        let lease = unless_left(down, self.acquire(bare, self.fresh, self.timeout(), until, &dialled)).await??;
        if dialled.get().is_some() {
            self.count_dial(&lease, &trace.figures(self.decision.worker, self.decision.client));
        }
        trace.asked_at = dialled.get();
        let lease = lease.map_err(ProxyError::Upstream)?;
        note_lease(&lease, trace);
        Ok(lease)
    }

    /// A connection, unless the exchange has to be over before.
    async fn acquire(
        &self,
        bare: bool,
        fresh: bool,
        within: Option<Duration>,
        until: Option<Instant>,
        dialled: &Since,
    ) -> Result<Result<Lease, ConnectionError>, ProxyError> {
        let (pools, connector) = (self.decision.pools(self.upstream), &self.upstream.connector);
        let acquire = async {
            match bare {
                true => Box::pin(pools.open_bare(connector, self.endpoint, within, dialled)).await,
                false => pools.acquire(connector, self.endpoint, fresh, within, dialled).await,
            }
        };
        match until {
            None => Ok(acquire.await),
            Some(until) => tokio::time::timeout_at(until.into(), acquire).await.map_err(|_| ProxyError::RouteTimeout),
        }
    }

    /// Count a connection that was dialled.
    fn count_dial(&self, lease: &Result<Lease, ConnectionError>, figures: &RouteMetrics) {
        let opened = lease.is_ok();
        if matches!(lease, Err(ConnectionError::NoDescriptor)) {
            self.decision.worker.run_short(Scarce::Descriptors);
        }
        if let Some(figures) = figures.cluster() {
            let worker = self.decision.worker.index();
            figures.dialled(worker, opened);
            let resumed = lease.as_ref().ok().and_then(|lease| lease.resumed);
            resumed.into_iter().for_each(|resumed| figures.handshake(worker, resumed));
        }
    }

    /// Longest time of an attempt: as the route says, or else the cluster.
    fn timeout(&self) -> Option<Duration> {
        self.decision.route.config.attempt_timeout.or(self.upstream.cluster.config().attempt_timeout)
    }

    fn patience(&self, answer: Option<Duration>, trace: &Trace) -> Patience {
        let limits = self.decision.client.listener.limits();
        Patience {
            client: limits.body_timeout,
            rate: limits.min_rate.map(|rate| rate.0),
            endpoint: self.upstream.cluster.config().response_timeout,
            answer,
            until: self.decision.until(self.upstream, trace),
        }
    }

    /// Let go of a response; its connection is kept when what has come is all of it.
    async fn discard(&self, mut stream: Stream) {
        let mut left = DISCARDED;
        while !stream.is_received() {
            match poll_fn(|cx| Poll::Ready(stream.poll_frame(cx))).await {
                Poll::Ready(Ok(Some(Frame::Data(data)))) if data.len() <= left => left -= data.len(),
                Poll::Ready(Ok(Some(Frame::Trailers(_)) | None)) => break,
                _ => return stream.abort(),
            }
        }
        self.decision.pools(self.upstream).release(&self.upstream.connector, self.endpoint, stream);
    }

    /// The fields of a response as the client is to see them.
    fn dress(&self, mut headers: HeaderMap, request: &Request, trace: &mut Trace) -> Result<HeaderMap, ProxyError> {
        self.decision.keep(self.upstream, request, self.keeping, self.endpoint, &mut headers, trace)?;
        trace.announce(&mut headers);
        if let Some(edits) = &self.decision.route.edits
            && let Some(facts) = self.decision.facts(
                request.tenant.as_deref(),
                Some(&**self.upstream.cluster.name()),
                Some(self.endpoint.name()),
            )
        {
            edits.response(&mut headers, &facts);
        }
        Ok(headers)
    }

    async fn relay_response(
        &self,
        relay: &mut Relay<'_, '_>,
        response: &mut Outcome,
        request: &Request,
        ask: Option<&Ask>,
        trace: &mut Trace,
    ) -> Result<Done, ProxyError> {
        let switched = ask.map_or(Ok(None), |ask| ask.switched(request, response))?;
        if switched.is_none() && response.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ProxyError::Switch);
        }
        let mut headers = self.dress(mem::take(&mut response.headers), request, trace)?;
        trace.status = response.status.as_u16();
        if let Some(protocol) = switched {
            self.note_whole(request, response);
            trace.status = relay.switch(headers, protocol)?.as_u16();
            return Ok(Done::Switched);
        }
        headers.entry(DATE).or_insert_with(|| self.decision.worker.date(trace.time));
        if self.decision.worker.draining.ends_idle() || relay.is_early(response.length) {
            relay.close_after();
        }
        let compressor = self.decision.route.config.compression.as_ref().and_then(|compression| {
            let about = (&request.method, &request.headers, response.status);
            compress::begin(compression, trace.coding, about, &mut headers, &mut response.length)
        });
        relay.compress(compressor);
        relay.start(response.status, headers, response.length)?;
        let mut report = None;
        let mut see = |trailers: &mut HeaderMap| {
            report = self.upstream.cluster.hear(self.endpoint, trailers);
            self.decision.route.edits.iter().for_each(|edits| edits.response_trailers(trailers));
        };
        let done = relay.body(&mut see).await;
        if let Some(report) = report {
            self.count_report(report, trace);
        }
        trace.compressed = relay.compressor().map(|compressor| (compressor.coding(), compressor.counts()));
        done?;
        self.note_whole(request, response);
        Ok(Done::Over)
    }

    /// All of a response has come.
    fn note_whole(&self, request: &Request, response: &Outcome) {
        if !response.status.is_server_error() {
            self.upstream.cluster.completed(self.endpoint, || asked(self.decision, request));
        }
    }
}

/// The end of this, unless a client that has said all leaves before. It is looked at where there is something to wait for.
async fn unless_left<T>(down: &mut Downstream<'_>, done: impl Future<Output = T>) -> Result<T, ProxyError> {
    let mut done = pin!(done);
    poll_fn(|cx| match done.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending if down.is_received() => down.poll_gone(cx).map(|()| Err(ProxyError::ClientGone)),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// What the attempt goes over.
fn note_lease(lease: &Lease, trace: &mut Trace) {
    trace.reused = lease.reused;
    trace.split.connect += lease.connect;
    trace.split.tls += lease.tls;
}

/// What became of a response.
enum Done {
    /// It was passed on to its end.
    Over,
    /// Both sides have switched protocols.
    Switched,
}

fn is_interim(head: &Outcome) -> bool {
    head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS
}

/// Whoever is at fault, the endpoint is told that its response is not waited for.
fn give_up(stream: &mut Stream, error: &ProxyError) {
    match error {
        ProxyError::Upstream(_) => {}
        ProxyError::UpstreamTimeout => stream.distrust(),
        _ => stream.abort(),
    }
}

fn start(lease: &mut Lease, request: &Request, scheme: &str, ask: Option<&Ask>) -> Result<(), ConnectionError> {
    let target = Target { method: &request.method, scheme, path: request.target() };
    match ask {
        None => lease.stream.start(target, &request.headers, request.length),
        Some(ask) => ask.start(lease, target, request),
    }
}
