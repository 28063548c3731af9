//! Which further attempts an exchange may have.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderName, Method};
use weir_config::{Backoff, ByteSize, Hedge, HedgeDelay, Retries, RetryOn};
use weir_http1::Length;
use weir_upstream::{Admission, Endpoint, RetryBudget, connection::Outcome, retry};

use crate::{
    access_log::{Affinity, Retried},
    decide::Decision,
    error::ProxyError,
    grpc,
    metrics::ClusterMetrics,
    replay::Replay,
    request::Request,
    snapshot::Upstream,
    trace::Trace,
};

use super::Failed;

/// Where nothing is configured: one more attempt, at once, after a connection that failed or, where the request
/// is safe to repeat, ended before the response (as nginx does for `error`).
static USUAL: Retries = Retries {
    attempts: 2,
    on: RetryOn { connect: true, reset: true, timeout: false, statuses: Vec::new(), grpc: Vec::new() },
    methods: Vec::new(),
    buffer: ByteSize(64 << 10),
    backoff: Backoff { base: Duration::ZERO, max: Duration::ZERO },
};

/// Most of a body that is kept in case an HTTP/2 endpoint leaves the request out.
const LEFT_OUT: u64 = 16 << 10;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What an exchange may still try.
pub struct Retry<'a, 'u> {
    pub(super) decision: &'a Decision<'a>,
    pub(super) upstream: &'u Upstream,
    policy: &'a Retries,
    /// The policy is the operator's.
    is_configured: bool,
    budget: &'a RetryBudget,
    hedge: Option<Hedge>,
    /// Doing it twice is the same as doing it once.
    repeatable: bool,
    /// Further attempts that there may be.
    left: u32,
    /// Those that there were.
    made: u32,
    /// A kept connection that had closed was replaced already.
    replaced: bool,
    /// When the exchange has to be over.
    pub(super) until: Option<Instant>,
    failed: Vec<u64>,
    /// What the next attempt is made after.
    next: Option<Next>,
}

/// What a further attempt is made after.
#[derive(Debug, Clone, Copy)]
struct Next {
    why: Retried,
    /// The endpoint that failed may be asked again where there is no other.
    same: bool,
    /// It is asked again where the session is there.
    stays: bool,
}

impl<'a, 'u> Retry<'a, 'u> {
    /// As the route says, or else the cluster.
    pub fn new(decision: &'a Decision<'a>, upstream: &'u Upstream, request: &Request, trace: &Trace) -> Self
    where
        'u: 'a,
    {
        let configured = decision.route.config.retries.as_ref().or(upstream.cluster.config().retries.as_ref());
        let policy = configured.unwrap_or(&USUAL);
        let budget = upstream.cluster.retry_budget();
        let hedge = decision.route.config.hedge.or(upstream.cluster.config().hedge);
        budget.deposit(trace.started);
        if hedge.is_some() {
            upstream.cluster.hedging().deposit(trace.started);
        }
        Self {
            decision,
            upstream,
            policy,
            is_configured: configured.is_some(),
            budget,
            hedge,
            repeatable: request.is_idempotent()
                || request.headers.contains_key(&IDEMPOTENCY_KEY)
                || policy.methods.iter().any(|method| method == request.method.as_str()),
            left: policy.attempts.saturating_sub(1),
            made: 0,
            replaced: false,
            until: decision.until(upstream, trace),
            failed: Vec::new(),
            next: None,
        }
    }

    /// How long an attempt at this request may take until another is made beside it; none where that is
    /// not to be: a session is answered by its own endpoint.
    pub fn hedge_after(&self, request: &Request, trace: &Trace) -> Option<Duration> {
        let hedge = self.hedge.filter(|_| trace.affinity != Some(Affinity::Hit))?;
        let fits = self.repeatable
            && request.length == Length::Empty
            && request.upgrade.is_none()
            && request.method != Method::CONNECT;
        fits.then(|| match hedge.delay {
            HedgeDelay::After(after) => after,
            HedgeDelay::Percentile { percent, min_requests, until_known } => {
                let known = self.upstream.cluster.hedging().percentile(percent, min_requests);
                known.or(until_known).unwrap_or(Duration::MAX)
            }
        })
    }

    /// Take note of how long an attempt took that might have been hedged, where that matters.
    pub(super) fn measure(&self, took: Duration) {
        if let Some(Hedge { delay: HedgeDelay::Percentile { .. }, .. }) = self.hedge {
            self.upstream.cluster.hedging().observe(took);
        }
    }

    /// An attempt on this endpoint came to nothing beside another.
    pub(super) fn avoid(&mut self, endpoint: &Endpoint) {
        self.failed.push(endpoint.id());
    }

    /// An endpoint with room for an attempt beside the one on `endpoint`, if there is one and the budget allows it.
    ///
    /// # Errors
    /// A plugin failed whose failure is to be felt.
    pub fn rival(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        trace: &mut Trace,
    ) -> Result<Option<Admission<'u>>, ProxyError> {
        let taken: Vec<u64> = self.failed.iter().copied().chain([endpoint.id()]).collect();
        let Some(rival) = self.decision.pick_with_room(self.upstream, request, &taken, trace)? else { return Ok(None) };
        let admission = self.upstream.cluster.admit(rival, false).ok();
        Ok(admission.filter(|_| self.may_hedge(trace)))
    }

    fn may_hedge(&self, trace: &Trace) -> bool {
        let (hedging, now) = (self.upstream.cluster.hedging(), Instant::now());
        if !hedging.withdraw(now, self.hedge.map_or(0, |hedge| hedge.at_most)) {
            self.count(trace, ClusterMetrics::retry_denied);
            return false;
        }
        let paid = self.is_paid(Retried::Timeout, trace);
        if !paid {
            hedging.give_back(now);
        }
        paid
    }

    /// Where the request's body is to be kept, if that can be of use.
    pub fn replay(&self, request: &Request) -> Option<Replay> {
        let on = &self.policy.on;
        let is_of_use = on.reset || on.timeout || !on.statuses.is_empty() || !on.grpc.is_empty();
        let most = match self.repeatable && is_of_use {
            true => self.policy.buffer.0,
            // An endpoint may end its connection before it takes the request up.
            false if self.upstream.connector.is_http2() => LEFT_OUT,
            false => return None,
        };
        let fits = match request.length {
            Length::Empty => false,
            Length::Known(length) => length <= most,
            Length::Chunked | Length::UntilClose => most > 0,
        };
        fits.then(|| Replay::new(usize::try_from(most).unwrap_or(usize::MAX)))
    }

    /// An endpoint that has not failed this request. Where none is left, any other: if retries are configured, or
    /// what happened need not happen again.
    ///
    /// # Errors
    /// A plugin failed whose failure is to be felt.
    pub fn pick(&self, request: &Request, trace: &mut Trace) -> Result<Option<Arc<Endpoint>>, ProxyError> {
        let picked = self.decision.pick(self.upstream, request, &self.failed, trace)?;
        let again = self.is_configured || self.next.is_some_and(|next| next.same);
        match picked.is_none() && again && !self.failed.is_empty() {
            true => self.decision.pick(self.upstream, request, &[], trace),
            false => Ok(picked),
        }
    }

    /// Endpoints that have failed this request.
    pub fn failed(&self) -> &[u64] {
        &self.failed
    }

    /// What follows from an attempt that failed before its response; `intact` says whether all of the
    /// request is there to be sent again.
    pub fn judge(&mut self, error: ProxyError, reused: bool, intact: bool, trace: &Trace) -> Failed {
        let refused = matches!(&error, ProxyError::Upstream(error) if error.is_refused());
        let next = self.cause(&error, reused).map(|why| Next {
            why,
            same: refused || why == Retried::Reset,
            stays: refused || (why == Retried::Reset && !self.is_configured),
        });
        match next {
            Some(next) if intact && self.allows(next, trace) => Failed::Again(next.why, Some(error)),
            _ => Failed::Finally(error),
        }
    }

    /// Whether a response is to be followed by another attempt.
    pub fn is_again(&mut self, response: &Outcome, intact: bool, trace: &Trace) -> Option<Retried> {
        let failed = if self.policy.on.grpc.is_empty() { None } else { grpc::failure(response) };
        let why = failed.map_or(Retried::Status(response.status.as_u16()), Retried::Grpc);
        let next = Next { why, same: false, stays: false };
        (self.is_configured && intact && self.allows(next, trace)).then_some(why)
    }

    fn cause(&self, error: &ProxyError, reused: bool) -> Option<Retried> {
        match error {
            ProxyError::Upstream(error) if error.is_left_out() && !self.replaced => Some(Retried::Stale),
            ProxyError::Upstream(error) if error.is_unsent() => Some(Retried::Connect),
            ProxyError::Upstream(error) if reused && error.is_closed() && self.repeatable && !self.replaced => {
                Some(Retried::Stale)
            }
            ProxyError::Upstream(error) if error.is_reset() => Some(Retried::Reset),
            ProxyError::UpstreamTimeout | ProxyError::AttemptTimeout => Some(Retried::Timeout),
            _ => None,
        }
    }

    fn allows(&mut self, next: Next, trace: &Trace) -> bool {
        let why = next.why;
        if why == Retried::Stale {
            (self.replaced, self.next) = (true, Some(next));
            return true;
        }
        let late = || self.until.is_some_and(|until| Instant::now() >= until);
        let bound = || !next.stays && self.decision.is_bound(self.upstream, trace);
        if self.left == 0 || !self.is_wanted(why) || bound() || late() || !self.is_paid(why, trace) {
            return false;
        }
        self.left -= 1;
        self.next = Some(next);
        true
    }

    fn is_wanted(&self, why: Retried) -> bool {
        let on = &self.policy.on;
        match why {
            Retried::Stale => true,
            Retried::Connect => on.connect,
            Retried::Reset => self.repeatable && on.reset,
            Retried::Timeout => self.repeatable && on.timeout,
            Retried::Status(status) => {
                self.repeatable && on.statuses.iter().any(|(low, high)| (*low..=*high).contains(&status))
            }
            Retried::Grpc(status) => self.repeatable && on.grpc.contains(&status),
        }
    }

    /// Whether the budget has room. A request that no endpoint has seen costs nothing.
    fn is_paid(&self, why: Retried, trace: &Trace) -> bool {
        if why == Retried::Connect || self.budget.withdraw(Instant::now()) {
            return true;
        }
        tracing::debug!(cluster = &**self.upstream.cluster.name(), "retry budget is used up");
        self.count(trace, ClusterMetrics::retry_denied);
        false
    }

    pub(super) fn count(&self, trace: &Trace, figure: impl Fn(&ClusterMetrics, usize)) {
        let worker = self.decision.worker;
        if let Some(figures) = trace.figures(worker, self.decision.client).cluster() {
            figure(figures, worker.index());
        }
    }

    /// How long to wait before the attempt that follows one on this endpoint.
    pub fn follow(&mut self, endpoint: &Endpoint, why: Retried) -> Duration {
        if why == Retried::Stale {
            return Duration::ZERO;
        }
        self.avoid(endpoint);
        self.made += 1;
        match self.policy.backoff.max.is_zero() {
            true => Duration::ZERO,
            false => self.decision.worker.by_chance(|rng| retry::backoff(self.policy.backoff, self.made, rng)),
        }
    }

    /// Whether the attempt that follows is made where the session is, on the same endpoint.
    pub fn stays(&self, trace: &Trace) -> bool {
        trace.affinity == Some(Affinity::Hit) && self.next.is_some_and(|next| next.stays)
    }

    /// An attempt is made. A further one counts from here on: until it has an endpoint, it may never be made.
    pub fn begin(&mut self, trace: &mut Trace) {
        trace.attempts += 1;
        if let Some(Next { why, .. }) = self.next.take() {
            trace.retries.push(why);
            self.count(trace, |figures, worker| figures.retry(worker, why));
        }
    }
}
