//! A named set of endpoints: which there are, and which of them may be picked now.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::SystemTime,
};

use arc_swap::{ArcSwap, Guard};

use crate::{
    affinity::{self, Affinity},
    candidates::Candidates,
    endpoint::{Endpoint, State, Status},
};

/// Most that health may raise a weight to, in percent.
const MOST_PERCENT: u32 = 1_000;

/// A cluster as it runs under one configuration.
#[derive(Debug)]
pub struct Cluster {
    config: weir_config::Cluster,
    endpoints: Box<[Arc<Endpoint>]>,
    by_id: HashMap<u64, Arc<Endpoint>>,
    by_address: BTreeMap<SocketAddr, Arc<Endpoint>>,
    candidates: ArcSwap<Candidates>,
    affinity: Option<Arc<Affinity>>,
}

impl Cluster {
    /// Whether everything outside the configuration that `build` reads is there: the affinity
    /// secret. To be asked before a configuration is taken.
    pub fn check(config: &weir_config::Cluster) -> Result<(), String> {
        config.affinity.as_ref().map_or(Ok(()), affinity::check_secret)
    }

    /// The cluster of a configuration. An address that `previous` has goes on with its id, its load
    /// and, where health is checked, its health; sessions go on where they mean the same.
    pub fn build(config: &weir_config::Cluster, previous: Option<&Self>) -> Arc<Self> {
        let endpoints: Box<[_]> = config
            .endpoints
            .iter()
            .map(|endpoint| Arc::new(succeed(endpoint, config.health.is_some(), previous)))
            .collect();
        let candidates = Candidates::of(&endpoints);
        Arc::new(Self {
            by_id: key_by(&endpoints, |endpoint| endpoint.id()).collect(),
            by_address: key_by(&endpoints, |endpoint| endpoint.address()).collect(),
            affinity: Affinity::build(
                config,
                previous.map(|previous| &previous.config),
                previous.and_then(|previous| previous.affinity.as_ref()),
            ),
            candidates: ArcSwap::from_pointee(candidates),
            endpoints,
            config: config.clone(),
        })
    }

    /// Its name in the file.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// What it was built from.
    pub fn config(&self) -> &weir_config::Cluster {
        &self.config
    }

    /// All endpoints, in file order.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// Those that may be picked now: the healthy ones of some weight, the degraded ones where there
    /// is none, and possibly none at all.
    #[inline]
    pub fn candidates(&self) -> Guard<Arc<Candidates>> {
        self.candidates.load()
    }

    /// The endpoint of an id, whatever its state.
    pub fn find(&self, id: u64) -> Option<Arc<Endpoint>> {
        self.by_id.get(&id).cloned()
    }

    /// The endpoint at an address, whatever its state.
    pub fn find_address(&self, address: SocketAddr) -> Option<Arc<Endpoint>> {
        self.by_address.get(&address).cloned()
    }

    /// What keeps sessions.
    pub fn affinity(&self) -> Option<&Affinity> {
        self.affinity.as_deref()
    }

    /// Give an endpoint another state and publish the candidates that follow from it. A change is
    /// logged; the reason alone is only noted.
    ///
    /// For the control side. Endpoints of the same cluster may be set at the same time.
    pub fn set_state(&self, endpoint: &Arc<Endpoint>, state: State, weight_percent: u32, why: &str) {
        let Some(endpoint) = self.by_id.get(&endpoint.id()) else {
            return;
        };
        let before = endpoint.status();
        let weight_percent = weight_percent.min(MOST_PERCENT);
        let changed = before.state != state;
        if !changed && before.weight_percent == weight_percent && before.why == why {
            return;
        }
        endpoint.set_status(Status {
            state,
            since: if changed { SystemTime::now() } else { before.since },
            why: why.to_owned(),
            weight_percent,
        });
        if changed {
            self.log_change(endpoint, before.state, state, why);
        }
        if changed || before.weight_percent != weight_percent {
            self.publish(before.state == State::Healthy, why);
        }
    }

    /// Compute the candidates until nobody else has published meanwhile: the last to publish has
    /// seen every state set before.
    fn publish(&self, was_healthy: bool, why: &str) {
        let before = self.candidates.rcu(|_| Arc::new(Candidates::of(&self.endpoints)));
        let cluster = &*self.config.name;
        if self.candidates().is_empty() {
            if !before.is_empty() {
                tracing::warn!(cluster, why, "cluster has no endpoint left");
            }
        } else if was_healthy && !self.has_healthy() {
            tracing::warn!(cluster, why, "cluster has degraded endpoints only");
        }
    }

    fn has_healthy(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.state() == State::Healthy)
    }

    fn log_change(&self, endpoint: &Endpoint, from: State, to: State, why: &str) {
        let (cluster, endpoint) = (&*self.config.name, endpoint.name());
        if to == State::Healthy {
            tracing::info!(cluster, endpoint, %from, %to, why, "endpoint up");
        } else {
            tracing::warn!(cluster, endpoint, %from, %to, why, "endpoint down");
        }
    }
}

fn succeed(config: &weir_config::Endpoint, checked: bool, previous: Option<&Cluster>) -> Endpoint {
    let before = previous.and_then(|previous| previous.by_address.get(&config.address));
    match before {
        Some(before) => before.succeed(config, checked),
        None => Endpoint::new(config),
    }
}

fn key_by<K>(endpoints: &[Arc<Endpoint>], key: impl Fn(&Endpoint) -> K) -> impl Iterator<Item = (K, Arc<Endpoint>)> {
    endpoints.iter().map(move |endpoint| (key(endpoint), Arc::clone(endpoint)))
}

#[cfg(test)]
mod tests;
