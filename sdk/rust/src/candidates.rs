//! The endpoints a balancer may pick, by index from 0.

#[cfg(target_arch = "wasm32")]
mod ambient;
#[cfg(not(target_arch = "wasm32"))]
mod constructed;

#[cfg(target_arch = "wasm32")]
pub use ambient::Candidates;
#[cfg(not(target_arch = "wasm32"))]
pub use constructed::{Candidates, CandidatesBuilder};

/// Where the key of a request is found, for balancers that hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySource<'a> {
    /// Where the request comes from.
    ClientAddress,
    /// The first value of the header of this name.
    Header(&'a str),
    /// The first value of the cookie of this name.
    Cookie(&'a str),
}

/// State of an endpoint that may be picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// It is well.
    #[default]
    Healthy,
    /// It is here because no healthy endpoint is left.
    Degraded,
}

/// Figures of one endpoint at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Requests in flight, over all workers.
    pub in_flight: u32,
    /// Smoothed time to the response's head in microseconds; 0 before the first response.
    pub latency: u32,
    /// As configured.
    pub weight: u32,
    /// Its health.
    pub condition: Condition,
}

impl Default for Figures {
    fn default() -> Self {
        Self { in_flight: 0, latency: 0, weight: 1, condition: Condition::Healthy }
    }
}
