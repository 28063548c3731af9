//! A second attempt beside one that is slow: the first answer counts, the other is cancelled.
//!
//! Only requests without a body that are safe to repeat are hedged. An attempt that is dropped closes
//! its HTTP/1.1 connection, and resets its stream of an HTTP/2 connection.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout_at};
use weir_upstream::connection::{ConnectionError, Lease, Outcome, Stream};

use super::{Attempt, Failed, Retry, is_interim, start};
use crate::{downstream::Downstream, error::ProxyError, relay::Relay, request::Request, timer::Timer, trace::Trace};

/// Informational responses that are passed over.
const INFORMATIONAL: usize = 100;

/// The head of a response, and what it came by.
struct Answer {
    lease: Lease,
    sent: Instant,
    response: Outcome,
}

type Asked = Result<Answer, ProxyError>;

impl Attempt<'_> {
    /// [`Attempt::run`] with another attempt beside it when this one has not answered `after` some time.
    pub(super) async fn hedged(
        &self,
        after: Duration,
        request: &Request,
        retry: &mut Retry<'_>,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        trace: &mut Trace,
    ) -> Result<Option<Stream>, Failed> {
        trace.endpoint = Some(Arc::clone(self.endpoint));
        let limit = self.limit(trace);
        let mut first = pin!(self.ask(request, limit));
        let asked = tokio::select! {
            asked = &mut first => Some(asked),
            () = sleep(after) => None,
            () = gone(down) => return Err(Failed::Finally(ProxyError::ClientGone)),
        };
        if let Some(asked) = asked {
            return self.conclude(asked, request, retry, down, timer, trace).await;
        }
        let rival = retry.rival(self.endpoint, request, trace).map_err(Failed::Finally)?;
        let Some(rival) = rival else {
            let asked = tokio::select! {
                asked = &mut first => asked,
                () = gone(down) => return Err(Failed::Finally(ProxyError::ClientGone)),
            };
            return self.conclude(asked, request, retry, down, timer, trace).await;
        };
        trace.attempts += 1;
        let other = Attempt { endpoint: &rival, fresh: false, ..*self };
        let mut second = pin!(other.ask(request, limit));
        let (won, asked) = tokio::select! {
            asked = race(first.as_mut(), second.as_mut()) => asked,
            () = gone(down) => return Err(Failed::Finally(ProxyError::ClientGone)),
        };
        trace.hedge = Some(won);
        self.count(won, trace);
        match won {
            true => other.conclude(asked, request, retry, down, timer, trace).await,
            false => self.conclude(asked, request, retry, down, timer, trace).await,
        }
    }

    fn count(&self, won: bool, trace: &Trace) {
        let worker = self.decision.worker;
        if let Some(figures) = trace.figures(worker, self.decision.client).cluster() {
            figures.hedge(worker.index(), won);
        }
    }

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
    async fn ask(&self, request: &Request, (by, late): (Instant, fn() -> ProxyError)) -> Asked {
        let asked = async {
            match self.pose(request, self.fresh).await {
                Err((true, error)) if error.is_closed() => self.pose(request, true).await,
                other => other,
            }
        };
        match timeout_at(by.into(), asked).await {
            Ok(asked) => asked.map_err(|(_, error)| ProxyError::Upstream(error)),
            Err(_) => Err(late()),
        }
    }

    /// Failures say whether the connection had been open already.
    async fn pose(&self, request: &Request, fresh: bool) -> Result<Answer, (bool, ConnectionError)> {
        let pools = self.decision.pools(self.upstream);
        let mut lease = pools.acquire(&self.upstream.connector, self.endpoint, fresh).await.map_err(|e| (false, e))?;
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
        retry: &mut Retry<'_>,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        trace: &mut Trace,
    ) -> Result<Option<Stream>, Failed> {
        trace.endpoint = Some(Arc::clone(self.endpoint));
        let Answer { mut lease, sent, mut response } = match asked {
            Ok(answer) => answer,
            Err(error) => return Err(retry.judge(error, false, true, trace)),
        };
        trace.reused = lease.reused;
        trace.split.connect += lease.connect;
        trace.split.tls += lease.tls;
        self.note_head(sent, &mut response, trace);
        if let Some(why) = retry.is_again(response.status, true, trace) {
            self.discard(lease.stream).await;
            return Err(Failed::Again(why, None));
        }
        let relay = Relay::new(down, &mut lease.stream, timer, self.patience(None, trace), sent, None);
        let done = self.relay_response(relay, response, request, trace).await;
        self.release(lease, done)
    }
}

/// The first answer of two, and whether it is the second's. A failure counts only when both fail.
async fn race(
    mut first: std::pin::Pin<&mut impl Future<Output = Asked>>,
    mut second: std::pin::Pin<&mut impl Future<Output = Asked>>,
) -> (bool, Asked) {
    tokio::select! {
        asked = &mut first => match asked {
            Ok(answer) => (false, Ok(answer)),
            Err(_) => (true, second.await),
        },
        asked = &mut second => match asked {
            Ok(answer) => (true, Ok(answer)),
            Err(_) => (false, first.await),
        },
    }
}

/// Ends when the client has left.
async fn gone(down: &mut Downstream<'_>) {
    poll_fn(|cx| down.poll_gone(cx)).await;
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
