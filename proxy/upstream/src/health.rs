//! Active health checks: who asks ([`Probe`]), what counts ([`HealthState`]) and the tasks that keep
//! asking ([`run`]). They live on the control side and never touch traffic.

mod http;
mod state;
mod watch;

use std::{future::Future, pin::Pin, sync::Arc};

use crate::endpoint::Endpoint;

pub use self::{http::HttpProbe, state::HealthState, watch::run};
pub use crate::standing::Verdict;

/// A verdict to come.
pub type Checking<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// Asks an endpoint how it is.
pub trait Probe: Send + Sync {
    /// One check. May be dropped before it ends: the cluster's time limit is kept by the caller.
    fn check<'a>(&'a self, endpoint: &'a Arc<Endpoint>) -> Checking<'a>;
}
