//! Active health checks: who asks ([`Probe`]), what counts ([`HealthState`]) and the tasks that keep
//! asking ([`run`]). They live on the control side and never touch traffic.

mod exec;
mod grpc;
mod http;
mod state;
mod tcp;
mod watch;

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::sync::SemaphorePermit;
use weir_config::{Cluster, HealthKind, Unusable};

use crate::{dial::Dial, endpoint::Endpoint};

use self::{exec::ExecProbe, grpc::GrpcProbe, http::HttpProbe};
pub use self::{state::HealthState, tcp::TcpProbe, watch::run};
pub use crate::standing::Verdict;

/// A verdict to come. An error is a fault of the check itself, which says nothing on the endpoint.
pub type Checking<'a> = Pin<Box<dyn Future<Output = Result<Verdict, String>> + Send + 'a>>;

/// Leave to begin, kept until the check has ended; none where none is needed.
pub type Turn<'a> = Pin<Box<dyn Future<Output = Option<SemaphorePermit<'static>>> + Send + 'a>>;

/// Asks an endpoint how it is.
pub trait Probe: Send + Sync {
    /// Waits until a check may begin: for those that are a burden when many run at once.
    fn turn(&self) -> Turn<'_> {
        Box::pin(ready(None))
    }

    /// How long a check may take where the cluster says this much: more where it asks twice.
    fn limit(&self, timeout: Duration) -> Duration {
        timeout
    }

    /// One check. May be dropped before it ends: the time limit is kept by the caller.
    fn check<'a>(&'a self, endpoint: &'a Arc<Endpoint>) -> Checking<'a>;
}

/// What asks the endpoints of a cluster; none where nothing is asked or a plugin asks.
///
/// # Errors
/// A setting that cannot be used.
pub fn probe(cluster: &Cluster) -> Result<Option<Arc<dyn Probe>>, Unusable> {
    build(cluster).map_err(|unusable| unusable.below("health"))
}

fn build(cluster: &Cluster) -> Result<Option<Arc<dyn Probe>>, Unusable> {
    Ok(Some(match cluster.health.as_ref().map(|health| &health.kind) {
        None => return Ok(None),
        Some(HealthKind::Plugin(_)) => return Dial::try_new(cluster).map(|_| None),
        Some(HealthKind::Http(check)) => Arc::new(HttpProbe::try_new(cluster, check)?),
        Some(HealthKind::Tcp(check)) => Arc::new(TcpProbe::try_new(cluster, check)?),
        Some(HealthKind::Grpc(check)) => Arc::new(GrpcProbe::try_new(cluster, check)?),
        Some(HealthKind::Exec(check)) => Arc::new(ExecProbe::try_new(cluster, check)?),
    }))
}
