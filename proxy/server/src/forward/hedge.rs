//! A second attempt beside one that is slow: the first answer counts, the other is cancelled.
//!
//! Only requests without a body that are safe to repeat are hedged. An attempt that is dropped closes
//! its HTTP/1.1 connection, and resets its stream of an HTTP/2 connection.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    mem::swap,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{timeout, timeout_at};
use weir_upstream::{
    Admission, Endpoint,
    connection::{ConnectionError, Lease, Outcome, Since, Stream},
};

use super::{Attempt, Failed, Retry, asked as asked_of, charge, is_interim, note_lease, start, unless_left};
use crate::{
    decide::Decision, downstream::Downstream, error::ProxyError, metrics::RouteMetrics, relay::Relay, request::Request,
    sessions::Keeping, snapshot::Upstream, timer::Timer, trace::Trace,
};

/// Informational responses that are passed over.
const INFORMATIONAL: usize = 100;

/// An attempt that gets another beside it when it has not been answered `after` some time.
pub(super) struct Hedged<'a, 'u> {
    pub(super) decision: &'a Decision<'a>,
    pub(super) upstream: &'a Upstream,
    /// Where it is made; in the end the place of the one that counts.
    pub(super) place: &'a mut Admission<'u>,
    pub(super) keeping: &'a Keeping,
    pub(super) fresh: bool,
    pub(super) after: Duration,
}

/// The head of a response, and what it came by.
struct Answer {
    lease: Lease,
    sent: Instant,
    response: Outcome,
}

type Asked = Result<Answer, ProxyError>;

/// What counts, and the attempt that was made beside the first.
struct Decided<'u> {
    asked: Asked,
    rival: Option<Rival<'u>>,
}

/// An attempt beside another.
struct Rival<'u> {
    place: Admission<'u>,
    began: Instant,
    /// It is the one that counts.
    won: bool,
    /// Why the one that does not count failed; none where it was only slower.
    failure: Option<ProxyError>,
}

/// When an attempt began, and since when its endpoint has had to do with it.
#[derive(Clone, Copy)]
struct Course {
    began: Instant,
    since: Option<Instant>,
}

impl Course {
    fn asked_at(self) -> Instant {
        self.since.unwrap_or(self.began)
    }
}

impl<'u> Hedged<'_, 'u> {
    pub(super) async fn run(
        mut self,
        request: &Request,
        retry: &mut Retry<'_, 'u>,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        trace: &mut Trace,
    ) -> Result<Option<Stream>, Failed> {
        let (began, since) = (Instant::now(), <[Since; 2]>::default());
        let Decided { asked, rival } = self.decide(request, &since, retry, down, trace).await?;
        if asked.is_ok() {
            retry.measure(began.elapsed());
        }
        let [first, second] = since.map(Cell::into_inner);
        let mut course = Course { began, since: first };
        if let Some(rival) = rival {
            let other = Course { began: rival.began, since: second };
            course = self.settle(rival, [course, other], asked.is_ok(), request, retry, trace);
        }
        trace.asked_at = Some(course.asked_at());
        self.attempt(self.place, self.fresh).conclude(asked, request, retry, down, timer, trace).await
    }

    fn attempt<'s>(&'s self, endpoint: &'s Arc<Endpoint>, fresh: bool) -> Attempt<'s> {
        Attempt { decision: self.decision, upstream: self.upstream, endpoint, keeping: self.keeping, fresh }
    }

    /// Have the request answered. Whoever answers too late is cancelled when this ends. Of both attempts it tells since
    /// when a connection was dialled for them, and then since when one has their request.
    async fn decide(
        &self,
        request: &Request,
        [since, others]: &[Since; 2],
        retry: &Retry<'_, 'u>,
        down: &mut Downstream<'_>,
        trace: &mut Trace,
    ) -> Result<Decided<'u>, Failed> {
        trace.endpoint = Some(Arc::clone(self.place));
        let figures = trace.figures(self.decision.worker, self.decision.client);
        let attempt = self.attempt(self.place, self.fresh);
        let limit = attempt.limit(trace);
        let mut first = pin!(attempt.ask(request, &limit, &figures, since));
        if let Ok(asked) = unless_left(down, timeout(self.after, first.as_mut())).await.map_err(Failed::Finally)? {
            return Ok(Decided { asked, rival: None });
        }
        let Some(place) = retry.rival(self.place, request, trace).map_err(Failed::Finally)? else {
            return Ok(Decided { asked: unless_left(down, first).await.map_err(Failed::Finally)?, rival: None });
        };
        trace.attempts += 1;
        let began = Instant::now();
        let (won, asked, failure) = {
            let other = self.attempt(&place, false);
            let second = pin!(other.ask(request, &limit, &figures, others));
            unless_left(down, race(first, second)).await.map_err(Failed::Finally)?
        };
        Ok(Decided { asked, rival: Some(Rival { place, began, won, failure }) })
    }

    /// Take note of which attempt counts, and let go of the place of the other. What it gives is the course of the one
    /// that counts.
    fn settle(
        &mut self,
        rival: Rival<'u>,
        [first, second]: [Course; 2],
        answered: bool,
        request: &Request,
        retry: &mut Retry<'_, '_>,
        trace: &mut Trace,
    ) -> Course {
        let Rival { mut place, won, failure, .. } = rival;
        trace.hedge = Some(won && answered);
        retry.count(trace, |figures, worker| figures.hedge(worker, won && answered));
        let (counts, lost) = if won { (second, first) } else { (first, second) };
        if won {
            swap(self.place, &mut place);
        }
        match (failure, lost.since) {
            (Some(error), _) => {
                charge(self.upstream, &place, &error, lost.asked_at(), || asked_of(self.decision, request));
                retry.avoid(&place);
            }
            (None, Some(since)) => self.upstream.cluster.observe_failure(&place, since),
            // It waited for a place all the time, or for a connection that another request dials and answers for.
            (None, None) => {}
        }
        counts
    }
}

/// When an endpoint must have answered, and what it is otherwise; and when the exchange has to be over.
struct Limit {
    by: Instant,
    late: fn() -> ProxyError,
    until: Option<Instant>,
}

impl Limit {
    /// For an attempt that waited for its place so long.
    fn after(&self, waited: Duration) -> (Instant, fn() -> ProxyError) {
        let by = self.by + waited;
        match self.until.filter(|until| *until < by) {
            Some(until) => (until, || ProxyError::RouteTimeout),
            None => (by, self.late),
        }
    }
}

impl Attempt<'_> {
    fn limit(&self, trace: &Trace) -> Limit {
        let (now, until) = (Instant::now(), self.decision.until(self.upstream, trace));
        let silence = self.upstream.cluster.config().response_timeout;
        match self.timeout().filter(|timeout| *timeout < silence) {
            Some(timeout) => Limit { by: now + timeout, late: || ProxyError::AttemptTimeout, until },
            None => Limit { by: now + silence, late: || ProxyError::UpstreamTimeout, until },
        }
    }

    /// The response's head; a kept connection that had closed is replaced.
    async fn ask(&self, request: &Request, limit: &Limit, figures: &RouteMetrics, since: &Since) -> Asked {
        let asked = match self.pose(request, self.fresh, limit, figures, since).await {
            Err((true, ProxyError::Upstream(error))) if error.is_closed() => {
                self.pose(request, true, limit, figures, since).await
            }
            other => other,
        };
        asked.map_err(|(_, error)| error)
    }

    /// Failures say whether the connection had been open already.
    async fn pose(
        &self,
        request: &Request,
        fresh: bool,
        limit: &Limit,
        figures: &RouteMetrics,
        since: &Since,
    ) -> Result<Answer, (bool, ProxyError)> {
        since.set(None);
        let within = limit.by.saturating_duration_since(Instant::now());
        let lease =
            self.acquire(false, fresh, Some(within), limit.until, since).await.map_err(|error| (false, error))?;
        if since.get().is_some() {
            self.count_dial(&lease, figures);
        }
        let mut lease = lease.map_err(|error| (false, ProxyError::Upstream(error)))?;
        let (reused, sent) = (lease.reused, Instant::now());
        since.set(Some(sent));
        let failed = |error| (reused, ProxyError::Upstream(error));
        start(&mut lease, request, self.decision.client.scheme(), None).map_err(failed)?;
        lease.stream.finish().map_err(failed)?;
        let ((by, late), mut informed) = (limit.after(lease.waited), 0);
        let response = timeout_at(by.into(), poll_fn(|cx| poll_head(&mut lease, &mut informed, cx))).await;
        let response = response.map_err(|_| (false, late()))?.map_err(failed)?;
        Ok(Answer { lease, sent, response })
    }

    /// Relay the answer, or judge its failure.
    async fn conclude(
        &self,
        asked: Asked,
        request: &Request,
        retry: &mut Retry<'_, '_>,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        trace: &mut Trace,
    ) -> Result<Option<Stream>, Failed> {
        trace.endpoint = Some(Arc::clone(self.endpoint));
        let Answer { mut lease, sent, mut response } = match asked {
            Ok(answer) => answer,
            Err(error) => return Err(retry.judge(error, false, true, trace)),
        };
        note_lease(&lease, trace);
        self.note_head(sent, None, request, &mut response, trace);
        if let Some(why) = retry.is_again(&response, true, trace) {
            self.discard(lease.stream).await;
            return Err(Failed::Again(why, None));
        }
        let mut relay = Relay::new(down, &mut lease.stream, timer, self.patience(None, trace), sent, None, false);
        let done = self.relay_response(&mut relay, &mut response, request, None, trace).await;
        self.release(lease, done)
    }
}

/// The first answer of two, whether it is the second's, and why the other failed if it did. A failure counts
/// only when both fail: the later one then.
async fn race(
    mut first: Pin<&mut impl Future<Output = Asked>>,
    mut second: Pin<&mut impl Future<Output = Asked>>,
) -> (bool, Asked, Option<ProxyError>) {
    tokio::select! {
        asked = &mut first => match asked {
            Ok(answer) => (false, Ok(answer), None),
            Err(error) => (true, second.await, Some(error)),
        },
        asked = &mut second => match asked {
            Ok(answer) => (true, Ok(answer), None),
            Err(error) => (false, first.await, Some(error)),
        },
    }
}

fn poll_head(lease: &mut Lease, informed: &mut usize, cx: &mut Context<'_>) -> Poll<Result<Outcome, ConnectionError>> {
    let flushed = lease.stream.poll_flush(cx);
    while let Poll::Ready(head) = lease.stream.poll_response(cx) {
        match head {
            Ok(head) if is_interim(&head) && *informed < INFORMATIONAL => *informed += 1,
            Ok(head) if is_interim(&head) => return Poll::Ready(Err(ConnectionError::NoResponse)),
            other => return Poll::Ready(other),
        }
    }
    match flushed {
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        _ => Poll::Pending,
    }
}
