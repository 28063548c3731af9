//! The least latency times requests in flight, of two drawn by weight: peak EWMA, as Finagle's and
//! linkerd's balancers have it.
//!
//! The cost of an endpoint is its latency, as it has decayed until now, times one more than its
//! requests in flight. One that has requests in flight and has never answered costs more than any that
//! has: the first request finds out, and others wait for what it finds.

use std::time::{Duration, Instant};

use super::{Balancer, Occasion, two};
use crate::candidates::Candidates;

/// Above the cost of any endpoint with a latency.
const UNKNOWN: f64 = 1e18;

/// The cheaper of two.
pub(super) struct LeastTime {
    decay: Duration,
}

impl LeastTime {
    pub(super) fn new(decay: Duration) -> Self {
        Self { decay }
    }

    /// For each unit of weight.
    fn cost(&self, candidates: &Candidates, index: usize, now: Instant) -> f64 {
        let Some(endpoint) = candidates.get(index) else { return f64::INFINITY };
        let requests = f64::from(endpoint.in_flight());
        let cost = match endpoint.peak(now, self.decay) {
            Some(latency) => latency * (requests + 1.0),
            None if requests > 0.0 => UNKNOWN + requests,
            None => 0.0,
        };
        cost / f64::from(candidates.weight(index).max(1))
    }
}

impl Balancer for LeastTime {
    fn pick(&mut self, candidates: &Candidates, occasion: Occasion<'_>) -> Option<usize> {
        let (one, other) = two(candidates, occasion.rng)?;
        let cost = |index| self.cost(candidates, index, occasion.now);
        Some(if cost(one) > cost(other) { other } else { one })
    }
}
