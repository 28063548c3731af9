//! What a health check finds.

/// State of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Picked as usual.
    Healthy,
    /// Picked only when no healthy endpoint is left.
    Degraded,
    /// Keeps its sessions and gets no new ones.
    Drain,
    /// Not picked.
    Unhealthy,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The endpoint's state.
    pub state: State,
    /// Percent of the configured weight; none is 100.
    pub weight: Option<u32>,
    /// For people: shown in status and log.
    pub why: String,
}

impl Verdict {
    /// A verdict with full weight.
    pub fn new(state: State, why: impl Into<String>) -> Self {
        Self { state, weight: None, why: why.into() }
    }

    /// Picked as usual.
    pub fn healthy(why: impl Into<String>) -> Self {
        Self::new(State::Healthy, why)
    }

    /// Picked only when no healthy endpoint is left.
    pub fn degraded(why: impl Into<String>) -> Self {
        Self::new(State::Degraded, why)
    }

    /// Not picked.
    pub fn unhealthy(why: impl Into<String>) -> Self {
        Self::new(State::Unhealthy, why)
    }

    /// Keeps its sessions and gets no new ones.
    pub fn drain(why: impl Into<String>) -> Self {
        Self::new(State::Drain, why)
    }

    /// With this percentage of the configured weight.
    pub fn weight(mut self, percent: u32) -> Self {
        self.weight = Some(percent);
        self
    }
}
