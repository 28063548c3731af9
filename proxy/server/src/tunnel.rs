//! What follows when both sides of an exchange have switched protocols: octets both ways, of which
//! nothing is read.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use weir_upstream::{Lasting, connection::Stream};

use crate::{
    downstream::Downstream,
    error::ProxyError,
    gate::Permit,
    metrics::TunnelEnd,
    relay::Relay,
    tenant::InFlight,
    timer::Timer,
    trace::{Passage, Trace},
    worker::Worker,
};

/// The endpoint's side of a tunnel. It counts as a request of its endpoint and its tenant as long as it
/// lives, and holds nothing else of the snapshot it began with.
pub struct Tunnel {
    stream: Stream,
    idle: Duration,
    _at: Lasting,
    _tenant: Option<InFlight>,
    _permit: Option<Box<Permit>>,
}

impl Tunnel {
    /// Over a stream whose response has switched, which may be silent for so long.
    pub fn new(stream: Stream, idle: Duration, at: Lasting) -> Self {
        Self { stream, idle, _at: at, _tenant: None, _permit: None }
    }

    /// The same as one of a tenant's requests, with what it holds of limits.
    pub fn counted(self, tenant: Option<InFlight>, permit: Option<Box<Permit>>) -> Self {
        Self { _tenant: tenant, _permit: permit, ..self }
    }

    /// Pass on octets until both sides have closed it.
    ///
    /// # Errors
    /// What ended it early.
    pub async fn run(
        mut self,
        worker: &Rc<Worker>,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        trace: &mut Trace,
    ) -> Result<(), ProxyError> {
        let _open = worker.metrics.tunnel();
        let since = Instant::now();
        trace.tunnel = Some(Passage { since, end: TunnelEnd::Cut });
        let passed = Relay::tunnel(down, &mut self.stream, timer, self.idle, since).pass().await;
        if passed.is_err() {
            self.stream.abort();
        }
        trace.tunnel = Some(Passage { since, end: end(&passed) });
        passed
    }
}

fn end(passed: &Result<(), ProxyError>) -> TunnelEnd {
    match passed {
        Ok(()) => TunnelEnd::Closed,
        Err(ProxyError::Idle) => TunnelEnd::Idle,
        Err(error) if error.is_client_gone() => TunnelEnd::Client,
        Err(_) => TunnelEnd::Endpoint,
    }
}
