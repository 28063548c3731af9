//! The tasks that check the endpoints of a cluster, one each.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use weir_config::Health;

use super::{HealthState, Probe, Verdict};
use crate::{cluster::Cluster, endpoint::Endpoint, rng::Rng};

/// Check every endpoint of a cluster until `shutdown` comes: at once, and then at the configured
/// interval, shifted by up to a tenth so that checks do not gather.
///
/// A cluster without `health` is not checked. A panic of a probe goes on in the caller.
pub async fn run(cluster: Arc<Cluster>, probe: Arc<dyn Probe>, shutdown: impl Future<Output = ()>) {
    let mut tasks = JoinSet::new();
    for endpoint in cluster.endpoints() {
        if let Some(health) = cluster.config().health.clone() {
            let watch = Watch {
                cluster: Arc::clone(&cluster),
                endpoint: Arc::clone(endpoint),
                probe: Arc::clone(&probe),
                health,
            };
            tasks.spawn(watch.run());
        }
    }
    tokio::select! {
        () = shutdown => {}
        () = accident(&mut tasks), if !tasks.is_empty() => {}
    }
}

/// Tasks have no end of their own: one that ends has panicked.
async fn accident(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// One endpoint under check.
struct Watch {
    cluster: Arc<Cluster>,
    endpoint: Arc<Endpoint>,
    probe: Arc<dyn Probe>,
    health: Health,
}

impl Watch {
    async fn run(self) {
        let mut rng = Rng::seeded();
        let mut health = HealthState::new(self.endpoint.state(), self.health.rise, self.health.fall);
        loop {
            let next = Instant::now() + jittered(self.health.interval, &mut rng);
            let verdict = self.check().await;
            self.take(&mut health, &verdict);
            sleep_until(next).await;
        }
    }

    async fn check(&self) -> Verdict {
        let limit = self.health.timeout;
        match timeout(limit, self.probe.check(&self.endpoint)).await {
            Ok(verdict) => verdict,
            Err(_) => Verdict::unhealthy(format!("no answer within {limit:?}")),
        }
    }

    fn take(&self, health: &mut HealthState, verdict: &Verdict) {
        if health.observe(verdict) {
            let Verdict { state, weight_percent, why } = verdict;
            self.cluster.set_state(&self.endpoint, *state, *weight_percent, why);
        } else {
            let (cluster, endpoint) = (&**self.cluster.name(), self.endpoint.name());
            let why = &*verdict.why;
            tracing::debug!(cluster, endpoint, why, "health check differs");
        }
    }
}

/// A duration from nine to eleven tenths of this one.
fn jittered(interval: Duration, rng: &mut Rng) -> Duration {
    interval.mul_f64(0.9 + 0.2 * rng.fraction())
}

#[cfg(test)]
mod tests;
