//! A place for a request: an endpoint with room, or one in line until there is room.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use tokio::time::sleep_until;
use weir_upstream::{Admission, Cluster, Endpoint, Full};

use super::Retry;
use crate::{error::ProxyError, metrics::ClusterMetrics, request::Request, trace::Trace};

/// Endpoints that may turn out to be full between the pick and the count before the request waits.
const TRIES: usize = 3;

/// Ready when a client has left.
pub type Gone<'g> = &'g mut dyn FnMut(&mut Context<'_>) -> Poll<()>;

/// Where a request may go.
pub enum Placed<'a> {
    /// To this endpoint.
    At(Admission<'a>),
    /// Nowhere now: everything that would do is full.
    Full,
    /// Nowhere: nothing may be picked.
    Nowhere,
}

impl<'u> Retry<'_, 'u> {
    /// An endpoint with room for the request: the one it is `kept` on, or another. Who has not `waited` goes behind
    /// those who wait.
    ///
    /// # Errors
    /// A plugin failed whose failure is to be felt.
    pub fn place(
        &self,
        kept: Option<&Arc<Endpoint>>,
        request: &Request,
        waited: bool,
        trace: &mut Trace,
    ) -> Result<Placed<'u>, ProxyError> {
        let cluster: &'u Cluster = &self.upstream.cluster;
        if let Some(endpoint) = kept {
            let admitted = cluster.admit(Arc::clone(endpoint), waited);
            return Ok(admitted.map_or(Placed::Full, Placed::At));
        }
        let mut picked = self.pick(request, trace)?;
        if picked.is_none() {
            return Ok(Placed::Nowhere);
        }
        for _ in 0..TRIES {
            match picked.map(|endpoint| cluster.admit(endpoint, waited)) {
                Some(Ok(admission)) => return Ok(Placed::At(admission)),
                Some(Err(Full::Endpoint)) => self.count(trace, ClusterMetrics::endpoint_full),
                Some(Err(Full::Cluster)) | None => break,
            }
            picked = self.decision.pick_with_room(self.upstream, request, self.failed(), trace)?;
        }
        Ok(Placed::Full)
    }

    /// Wait in line for [`Self::place`] to succeed. None when nothing may be picked any more. `gone` is ready when
    /// the client has left.
    ///
    /// # Errors
    /// The line is full, the wait is over, or the client has left.
    pub async fn wait(
        &self,
        kept: Option<&Arc<Endpoint>>,
        request: &Request,
        gone: Gone<'_>,
        trace: &mut Trace,
    ) -> Result<Option<Admission<'u>>, ProxyError> {
        let begun = Instant::now();
        let waited = self.stand(begun, kept, request, gone, trace).await;
        trace.split.queue += begun.elapsed();
        match &waited {
            Ok(_) => self.count(trace, ClusterMetrics::queued),
            Err(ProxyError::QueueFull) => self.count(trace, ClusterMetrics::queue_full),
            Err(ProxyError::QueueTimeout) => self.count(trace, ClusterMetrics::queue_timeout),
            Err(_) => {}
        }
        waited
    }

    async fn stand(
        &self,
        begun: Instant,
        kept: Option<&Arc<Endpoint>>,
        request: &Request,
        gone: Gone<'_>,
        trace: &mut Trace,
    ) -> Result<Option<Admission<'u>>, ProxyError> {
        let queue = self.upstream.cluster.config().queue;
        let (mut kept, picky) = (kept, kept.is_some() || !request.labels.is_empty() || !self.failed().is_empty());
        let place = self.upstream.cluster.room().join(queue.length, picky).ok_or(ProxyError::QueueFull)?;
        let due = begun + queue.timeout;
        let over = match self.until.filter(|until| *until < due) {
            Some(until) => over(until, ProxyError::RouteTimeout, gone),
            None => over(due, ProxyError::QueueTimeout, gone),
        };
        let attempt = || {
            if let Some(endpoint) = kept.take_if(|endpoint| !endpoint.keeps_sessions()) {
                self.decision.unbind(self.upstream, endpoint, trace)?;
            }
            Ok(match self.place(kept, request, true, trace)? {
                Placed::At(admission) => Some(Some(admission)),
                Placed::Nowhere => Some(None),
                Placed::Full => None,
            })
        };
        place.wait(over, attempt).await
    }
}

/// Why a wait ends: it is `late` by then, or the client has left.
async fn over(due: Instant, late: ProxyError, gone: Gone<'_>) -> ProxyError {
    tokio::select! {
        biased;
        () = poll_fn(gone) => ProxyError::ClientGone,
        () = sleep_until(due.into()) => late,
    }
}
