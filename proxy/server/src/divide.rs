//! Which of a route's clusters takes a request.

use std::sync::Arc;

use weir_config::RequestKey;
use weir_upstream::split::{Arm, by_chance, by_key, hash};

use crate::{
    request::{Client, Request},
    snapshot::{Target, Upstream},
    worker::Worker,
};

/// The cluster of a route that forwards.
pub fn upstream(target: &Target, request: &Request, client: &Client, worker: &Worker) -> Option<Arc<Upstream>> {
    match target {
        Target::Cluster(upstream) => upstream.clone(),
        Target::Split(split) => {
            let arms = split.arms.iter().map(|(arm, _)| *arm);
            let place = place(split.key.as_ref(), arms, request, client, worker)?;
            split.arms.get(place).map(|(_, upstream)| Arc::clone(upstream))
        }
        Target::Rollout(rolling) => {
            let arms = rolling.rollout.arms().into_iter();
            let place = place(rolling.rollout.config().key.as_ref(), arms, request, client, worker)?;
            rolling.upstreams.get(place).cloned()
        }
        Target::Respond(_) | Target::Redirect(_) => None,
    }
}

/// A request without the key is divided by chance.
fn place(
    key: Option<&RequestKey>,
    arms: impl Iterator<Item = Arm> + Clone,
    request: &Request,
    client: &Client,
    worker: &Worker,
) -> Option<usize> {
    match key.and_then(|key| request.keyed(key, client, hash)) {
        Some(key) => by_key(key, arms),
        None => worker.by_chance(|rng| by_chance(rng, arms)),
    }
}
