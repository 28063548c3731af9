//! Active health checks: who asks ([`Probe`]), what counts ([`HealthState`]) and the tasks that keep
//! asking ([`run`]). They live on the control side and never touch traffic.

mod http;
mod state;
mod watch;

use std::{future::Future, pin::Pin, sync::Arc};

use crate::endpoint::{Endpoint, State};

pub use self::{http::HttpProbe, state::HealthState, watch::run};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What the endpoint is good for.
    pub state: State,
    /// Percent of the configured weight that counts.
    pub weight_percent: u32,
    /// The reason, for people.
    pub why: String,
}

impl Verdict {
    /// Healthy at full weight.
    pub fn healthy(why: impl Into<String>) -> Self {
        Self { state: State::Healthy, weight_percent: 100, why: why.into() }
    }

    /// Unhealthy.
    pub fn unhealthy(why: impl Into<String>) -> Self {
        Self { state: State::Unhealthy, weight_percent: 100, why: why.into() }
    }
}

/// A verdict to come.
pub type Checking<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// Asks an endpoint how it is.
pub trait Probe: Send + Sync {
    /// One check. May be dropped before it ends: the cluster's time limit is kept by the caller.
    fn check<'a>(&'a self, endpoint: &'a Arc<Endpoint>) -> Checking<'a>;
}
