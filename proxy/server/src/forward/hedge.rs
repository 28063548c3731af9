//! A second attempt beside one that is slow: the first answer counts, the other is cancelled.
//!
//! Only requests without a body that are safe to repeat are hedged. An attempt that is dropped closes
//! its HTTP/1.1 connection, and resets its stream of an HTTP/2 connection.

use std::{
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
    connection::{ConnectionError, Lease, Outcome, Stream},
};

use super::{Attempt, Failed, Retry, charge, is_interim, note_lease, start};
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

impl<'u> Hedged<'_, 'u> {
    pub(super) async fn run(
        mut self,
        request: &Request,
        retry: &mut Retry<'_, 'u>,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        trace: &mut Trace,
    ) -> Result<Option<Stream>, Failed> {
        let began = Instant::now();
        let Decided { asked, rival } = self.decide(request, retry, down, trace).await?;
        if asked.is_ok() {
            retry.measure(began.elapsed());
        }
        if let Some(rival) = rival {
            self.settle(rival, began, asked.is_ok(), retry, trace);
        }
        self.attempt(self.place, self.fresh).conclude(asked, request, retry, down, timer, trace).await
    }

    fn attempt<'s>(&'s self, endpoint: &'s Arc<Endpoint>, fresh: bool) -> Attempt<'s> {
        Attempt { decision: self.decision, upstream: self.upstream, endpoint, keeping: self.keeping, fresh }
    }

    /// Have the request answered. Whoever answers too late is cancelled when this ends.
    async fn decide(
        &self,
        request: &Request,
        retry: &Retry<'_, 'u>,
        down: &mut Downstream<'_>,
        trace: &mut Trace,
    ) -> Result<Decided<'u>, Failed> {
        trace.endpoint = Some(Arc::clone(self.place));
        let figures = trace.figures(self.decision.worker, self.decision.client);
        let attempt = self.attempt(self.place, self.fresh);
        let limit = attempt.limit(trace);
        let mut first = pin!(attempt.ask(request, limit, &figures));
        if let Ok(asked) = unless_gone(down, timeout(self.after, first.as_mut())).await? {
            return Ok(Decided { asked, rival: None });
        }
        let Some(place) = retry.rival(self.place, request, trace).map_err(Failed::Finally)? else {
            return Ok(Decided { asked: unless_gone(down, first).await?, rival: None });
        };
        trace.attempts += 1;
        let began = Instant::now();
        let (won, asked, failure) = {
            let other = self.attempt(&place, false);
            let second = pin!(other.ask(request, limit, &figures));
            unless_gone(down, race(first, second)).await?
        };
        Ok(Decided { asked, rival: Some(Rival { place, began, won, failure }) })
    }

    /// Take note of which attempt counts, and let go of the place of the other.
    fn settle(
        &mut self,
        rival: Rival<'u>,
        mut began: Instant,
        answered: bool,
        retry: &mut Retry<'_, '_>,
        trace: &mut Trace,
    ) {
        let Rival { mut place, won, failure, .. } = rival;
        trace.hedge = Some(won && answered);
        retry.count(trace, |figures, worker| figures.hedge(worker, won && answered));
        match won {
            true => swap(self.place, &mut place),
            false => began = rival.began,
        }
        match failure {
            Some(error) => {
                charge(self.upstream, &place, &error, began);
                retry.avoid(&place);
            }
            None => self.upstream.cluster.observe_failure(&place, began),
        }
    }
}

impl Attempt<'_> {
    /// When the endpoint must have answered, and what it is otherwise.
    fn limit(&self, trace: &Trace) -> (Instant, fn() -> ProxyError) {
        let now = Instant::now();
        let silence: (Instant, fn() -> ProxyError) =
            (now + self.upstream.cluster.config().response_timeout, || ProxyError::UpstreamTimeout);
        let attempt = self.timeout().map(|timeout| (now + timeout, (|| ProxyError::AttemptTimeout) as fn() -> _));
        let whole =
            self.decision.until(self.upstream, trace).map(|until| (until, (|| ProxyError::RouteTimeout) as fn() -> _));
        attempt.into_iter().chain(whole).fold(silence, |first, other| if other.0 < first.0 { other } else { first })
    }

    /// The response's head; a kept connection that had closed is replaced.
    async fn ask(&self, request: &Request, (by, late): (Instant, fn() -> ProxyError), figures: &RouteMetrics) -> Asked {
        let asked = async {
            match self.pose(request, self.fresh, figures).await {
                Err((true, error)) if error.is_closed() => self.pose(request, true, figures).await,
                other => other,
            }
        };
        match timeout_at(by.into(), asked).await {
            Ok(asked) => asked.map_err(|(_, error)| ProxyError::Upstream(error)),
            Err(_) => Err(late()),
        }
    }

    /// Failures say whether the connection had been open already.
    async fn pose(
        &self,
        request: &Request,
        fresh: bool,
        figures: &RouteMetrics,
    ) -> Result<Answer, (bool, ConnectionError)> {
        let lease = self.decision.pools(self.upstream).acquire(&self.upstream.connector, self.endpoint, fresh).await;
        self.count_dial(&lease, figures);
        let mut lease = lease.map_err(|error| (false, error))?;
        let (reused, sent) = (lease.reused, Instant::now());
        let failed = |error| (reused, error);
        start(&mut lease, request, self.decision.client.scheme(), None).map_err(failed)?;
        lease.stream.finish().map_err(failed)?;
        let mut informed = 0;
        let response = poll_fn(|cx| poll_head(&mut lease, &mut informed, cx)).await.map_err(failed)?;
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
        self.note_head(sent, None, &mut response, trace);
        if let Some(why) = retry.is_again(&response, true, trace) {
            self.discard(lease.stream).await;
            return Err(Failed::Again(why, None));
        }
        let relay = Relay::new(down, &mut lease.stream, timer, self.patience(None, trace), sent, None, false);
        let done = self.relay_response(relay, response, request, None, trace).await;
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

/// The end of this, unless the client leaves before.
async fn unless_gone<T>(down: &mut Downstream<'_>, done: impl Future<Output = T>) -> Result<T, Failed> {
    tokio::select! {
        done = done => Ok(done),
        () = poll_fn(|cx| down.poll_gone(cx)) => Err(Failed::Finally(ProxyError::ClientGone)),
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
