//! Attempts on endpoints: pick, connect, relay, and once more where nothing is lost by it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONNECTION, DATE, UPGRADE},
};
use weir_upstream::{
    Endpoint,
    connection::{ConnectionError, Lease, Outcome, Target},
};

use crate::{
    access_log::Affinity,
    decide::{Decision, Keeping, append_all},
    downstream::Downstream,
    error::ProxyError,
    relay::{Patience, Relay},
    request::Request,
    snapshot::Upstream,
    timer::Timer,
    trace::Trace,
};

/// The first, and one more.
const ATTEMPTS: u32 = 2;
/// How long a tunnel may be silent.
const TUNNEL_IDLE: Duration = Duration::from_secs(3600);

/// How an attempt failed.
enum Failed {
    /// For good.
    Finally(ProxyError),
    /// The connection could not be made, or not in time: another endpoint may do.
    Endpoint(ConnectionError),
    /// A kept connection had been closed: a fresh one may do.
    Stale(ConnectionError),
}

/// Forward a request to a cluster and its response to the client.
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
) -> Result<(), ProxyError> {
    trace.upstream = Some(Arc::clone(upstream));
    let (keeping, mut kept) = decision.session(upstream, request, trace)?;
    let (mut failed, mut fresh) = (Vec::new(), false);
    let mut last = None;
    loop {
        let endpoint = match kept.take() {
            Some(endpoint) => Some(endpoint),
            None => decision.pick(upstream, request, &failed, trace)?,
        };
        let Some(endpoint) = endpoint else {
            return Err(last.map_or(ProxyError::NoEndpoint, ProxyError::Upstream));
        };
        trace.attempts += 1;
        let attempt = Attempt { decision, upstream, endpoint: &endpoint, keeping: &keeping, fresh };
        let error = match attempt.run(request, down, timer, trace).await {
            Ok(()) => return Ok(()),
            Err(Failed::Finally(error)) => return Err(error),
            Err(Failed::Endpoint(error)) => {
                failed.push(endpoint.id());
                trace.affinity =
                    trace.affinity.map(|found| if found == Affinity::Hit { Affinity::Moved } else { found });
                error
            }
            Err(Failed::Stale(error)) => {
                (kept, fresh) = (Some(endpoint), true);
                error
            }
        };
        if trace.attempts >= ATTEMPTS {
            return Err(ProxyError::Upstream(error));
        }
        tracing::debug!(cluster = &**upstream.cluster.name(), %error, "attempt failed, once more");
        if let Some(figures) = trace.figures(decision.worker, decision.client).cluster() {
            figures.retry(decision.worker.index());
        }
        last = Some(error);
    }
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
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        trace: &mut Trace,
    ) -> Result<(), Failed> {
        trace.endpoint = Some(Arc::clone(self.endpoint));
        let _in_flight = self.endpoint.begin();
        let mut lease = self.connect(trace).await?;
        let sent = Instant::now();
        let upgrade = request.upgrade.as_ref().filter(|_| !self.upstream.connector.is_http2());
        start(&mut lease, request, self.decision.client.scheme(), upgrade).map_err(Failed::Endpoint)?;
        let mut relay = Relay::new(down, &mut lease.stream, timer, self.patience(trace), sent);
        let response = loop {
            match relay.response().await {
                Ok(head) if is_interim(&head) => relay.inform(&head),
                Ok(head) => break head,
                Err(ProxyError::Upstream(error)) => {
                    let again = relay.is_replayable(&error, lease.reused, request.is_idempotent());
                    return Err(match again {
                        true if lease.reused => Failed::Stale(error),
                        true => Failed::Endpoint(error),
                        false => Failed::Finally(ProxyError::Upstream(error)),
                    });
                }
                Err(error) => {
                    match error {
                        ProxyError::UpstreamTimeout => lease.stream.distrust(),
                        _ => lease.stream.abort(),
                    }
                    return Err(Failed::Finally(error));
                }
            }
        };
        let now = Instant::now();
        trace.head_at = Some(now);
        trace.split.first_byte = now - sent;
        self.endpoint.observe(trace.split.first_byte);
        let done = self.relay_response(relay, response, request, trace).await;
        match done {
            Ok(()) => self.decision.pools(self.upstream).release(&self.upstream.connector, self.endpoint, lease.stream),
            Err(_) => lease.stream.abort(),
        }
        done.map_err(Failed::Finally)
    }

    async fn connect(&self, trace: &mut Trace) -> Result<Lease, Failed> {
        let worker = self.decision.worker;
        let acquire = self.decision.pools(self.upstream).acquire(&self.upstream.connector, self.endpoint, self.fresh);
        let lease = match self.until(trace) {
            None => acquire.await,
            Some(until) => match tokio::time::timeout_at(until.into(), acquire).await {
                Ok(lease) => lease,
                Err(_) => return Err(Failed::Finally(ProxyError::RouteTimeout)),
            },
        };
        let failed = lease.is_err();
        let dialled = failed || lease.as_ref().is_ok_and(|lease| !lease.reused);
        if dialled && let Some(figures) = trace.figures(worker, self.decision.client).cluster() {
            match failed {
                true => figures.connect_failed(worker.index()),
                false => figures.connect(worker.index()),
            }
        }
        let lease = lease.map_err(Failed::Endpoint)?;
        trace.reused = lease.reused;
        trace.split.connect += lease.connect;
        trace.split.tls += lease.tls;
        Ok(lease)
    }

    fn patience(&self, trace: &Trace) -> Patience {
        let limits = self.decision.client.listener.settings().config.limits;
        Patience {
            client: limits.body_timeout,
            endpoint: self.upstream.cluster.config().response_timeout,
            until: self.until(trace),
        }
    }

    /// When the route's timeout has passed.
    fn until(&self, trace: &Trace) -> Option<Instant> {
        self.decision.route.config.timeout.map(|timeout| trace.started + timeout)
    }

    async fn relay_response(
        &self,
        mut relay: Relay<'_, '_>,
        response: Outcome,
        request: &Request,
        trace: &mut Trace,
    ) -> Result<(), ProxyError> {
        let mut headers = response.headers;
        let marks = self.decision.keep(self.upstream, request, self.keeping, self.endpoint, trace)?;
        append_all(&mut headers, marks);
        trace.status = response.status.as_u16();
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            let upgrade = response.upgrade.filter(|_| request.upgrade.is_some()).ok_or(ProxyError::Switch)?;
            relay.switch(headers, upgrade);
            let _tunnel = self.decision.worker.metrics.tunnel();
            return relay.tunnel(TUNNEL_IDLE).await;
        }
        headers.entry(DATE).or_insert_with(|| self.decision.worker.date(trace.time));
        if self.decision.worker.draining.is_cancelled() || relay.is_body_unwanted() {
            relay.close_after();
        }
        relay.start(response.status, headers, response.length)?;
        relay.body().await
    }
}

fn is_interim(head: &Outcome) -> bool {
    head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS
}

fn start(
    lease: &mut Lease,
    request: &Request,
    scheme: &str,
    upgrade: Option<&HeaderValue>,
) -> Result<(), ConnectionError> {
    let target = Target { method: &request.method, scheme, authority: request.authority(), path: request.target() };
    let Some(upgrade) = upgrade else {
        return lease.stream.start(target, &request.headers, request.length);
    };
    let mut headers: HeaderMap = request.headers.clone();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, upgrade.clone());
    lease.stream.start(target, &headers, request.length)
}
