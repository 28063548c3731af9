//! The tasks that check the endpoints of a cluster, one each.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep_until, timeout};
use weir_config::{Health, Initial};

use super::{HealthState, Probe, Verdict};
use crate::{
    cluster::Cluster,
    endpoint::{Endpoint, LastCheck},
    follow::follow,
    rng::Rng,
    standing::State,
};

/// Check every endpoint of a cluster until `shutdown` comes: at once, and then at the configured
/// interval, or the fast one while a state is changing, shifted at random so that checks do not gather.
/// Endpoints that come are checked from then on, those that go no longer.
///
/// A cluster without `health` is not checked. A panic of a probe goes on in the caller.
pub async fn run(cluster: Arc<Cluster>, probe: Arc<dyn Probe>, shutdown: impl Future<Output = ()>) {
    let Some(health) = cluster.config().health.clone() else { return };
    let start = |endpoint| {
        let (cluster, probe, health) = (Arc::clone(&cluster), Arc::clone(&probe), health.clone());
        Watch { cluster, endpoint, probe, health }.run()
    };
    follow(&cluster, shutdown, start).await;
}

/// One endpoint under check.
struct Watch {
    cluster: Arc<Cluster>,
    endpoint: Arc<Endpoint>,
    probe: Arc<dyn Probe>,
    health: Health,
}

impl Watch {
    async fn run(mut self) {
        let mut rng = Rng::seeded();
        let mut health = self.state();
        loop {
            // It may be described otherwise by now.
            self.endpoint = self.cluster.find(self.endpoint.id()).unwrap_or(self.endpoint);
            let turn = self.probe.turn().await;
            let begun = Instant::now();
            let checked = self.check().await;
            drop(turn);
            self.note(&checked, begun.elapsed());
            match checked {
                Ok(verdict) => self.take(&mut health, &verdict, begun),
                Err(why) => {
                    let (cluster, endpoint) = (&**self.cluster.name(), self.endpoint.name());
                    tracing::debug!(cluster, endpoint, why, "health check failed itself");
                }
            }
            sleep_until(begun + self.pause(&health, &mut rng)).await;
        }
    }

    /// From the beginning of a check to that of the next.
    fn pause(&self, health: &HealthState, rng: &mut Rng) -> Duration {
        let Health { interval, fast_interval, jitter, .. } = self.health;
        jittered(if health.is_changing() { fast_interval } else { interval }, jitter, rng)
    }

    /// From where the checks go on. The first one of all may settle the state at once.
    fn state(&self) -> HealthState {
        let Health { rise, fall, initial, .. } = self.health;
        let standing = self.endpoint.standing();
        match standing.checked() {
            Some(_) if initial == Initial::Checking && self.endpoint.last_check().is_none() => {
                HealthState::undecided(rise, fall)
            }
            before => HealthState::new(before.map_or(State::Healthy, |verdict| verdict.state), rise, fall),
        }
    }

    fn note(&self, checked: &Result<Verdict, String>, took: Duration) {
        let well = checked.as_ref().is_ok_and(|verdict| verdict.state != State::Unhealthy);
        let why = checked.as_ref().map_or_else(String::clone, |verdict| verdict.why.clone());
        self.cluster.check_figures().count(well, took);
        self.endpoint.checked(LastCheck { at: SystemTime::now(), took, well, why });
    }

    async fn check(&self) -> Result<Verdict, String> {
        let limit = self.probe.limit(self.health.timeout);
        match timeout(limit, self.probe.check(&self.endpoint)).await {
            Ok(checked) => checked,
            Err(_) => Ok(Verdict::unhealthy(format!("no answer within {limit:?}"))),
        }
    }

    fn take(&self, health: &mut HealthState, verdict: &Verdict, begun: Instant) {
        if verdict.state.is_able() {
            self.cluster.forgive(&self.endpoint, begun.into_std());
        } else {
            self.cluster.doubt();
        }
        if health.observe(verdict) {
            self.cluster.set_health(&self.endpoint, verdict);
        } else {
            let (cluster, endpoint) = (&**self.cluster.name(), self.endpoint.name());
            let why = &*verdict.why;
            tracing::debug!(cluster, endpoint, why, "health check differs");
        }
    }
}

/// A duration up to so many percent shorter or longer than this one.
fn jittered(interval: Duration, percent: u32, rng: &mut Rng) -> Duration {
    let most = f64::from(percent) / 100.0;
    interval.mul_f64(1.0 - most + 2.0 * most * rng.fraction())
}

#[cfg(test)]
mod tests;
