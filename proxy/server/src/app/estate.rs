//! What the process has learnt and was told, as the one that takes its place gets it and goes on with it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use weir_config::Endpoint;
use weir_upstream::{Cluster, OperatorWord};

use super::endpoints::described;
use crate::{
    snapshot::Snapshot,
    upgrade::{ClusterEstate, Estate, Word},
};

/// Everything.
pub(super) fn of(snapshot: &Snapshot) -> Estate {
    let clusters = snapshot.clusters.iter().map(|(name, upstream)| (name.to_string(), of_cluster(&upstream.cluster)));
    let rollouts = snapshot.rollouts().map(|rollout| (rollout.route().to_string(), rollout.estate()));
    Estate { clusters: clusters.collect(), rollouts: rollouts.collect() }
}

fn of_cluster(cluster: &Cluster) -> ClusterEstate {
    let now = std::time::Instant::now();
    let said =
        |word: &OperatorWord| Word { endpoint: word.endpoint.as_ref().map(whole), over: word.over.as_ref().map(whole) };
    let members = cluster.endpoints();
    let staying = members.iter().filter(|endpoint| !endpoint.is_leaving());
    ClusterEstate {
        words: cluster.operator_words().iter().map(|(address, word)| (*address, said(word))).collect(),
        reputations: staying.map(|one| (one.address(), one.standing().reputation(now))).collect(),
    }
}

/// With its address.
fn whole(endpoint: &Endpoint) -> Value {
    let mut all = Map::from_iter([("address".to_owned(), endpoint.address.to_string().into())]);
    all.extend(described(endpoint));
    Value::Object(all)
}

/// Go on with it, where the configuration still has what it is about.
pub(super) fn take_up(estate: Estate, snapshot: &Snapshot) {
    for (name, of_cluster) in estate.clusters {
        let Some(upstream) = snapshot.clusters.get(&*name) else { continue };
        let heard = of_cluster.words.into_iter().filter_map(|(address, word)| Some((address, heard(&word)?)));
        let words: BTreeMap<_, _> = heard.collect();
        upstream.cluster.inherit(words, of_cluster.reputations);
    }
    for rollout in snapshot.rollouts() {
        if let Some(left) = estate.rollouts.get(&**rollout.route()) {
            rollout.inherit(left);
        }
    }
}

/// None for what cannot be understood.
fn heard(word: &Word) -> Option<OperatorWord> {
    let read = |value: &Option<Value>| value.as_ref().map(weir_config::endpoint_of).transpose().ok();
    Some(OperatorWord { endpoint: read(&word.endpoint)?, over: read(&word.over)? })
}
