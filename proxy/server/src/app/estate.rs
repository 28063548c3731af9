//! What the process has learnt and was told, as the one that takes its place gets it and goes on with it.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::{Map, Value};
use weir_config::{AffinityKind, Endpoint};
use weir_upstream::{Affinity, AffinityTable, Cluster, OperatorWord, affinity::Kept};

use super::endpoints::described;
use crate::{
    snapshot::Snapshot,
    upgrade::{ClusterEstate, Estate, Sessions, Word},
};

/// Everything.
pub(super) fn of(snapshot: &Snapshot) -> Estate {
    let clusters = snapshot.clusters.iter().map(|(name, upstream)| {
        let (cluster, config) = (&upstream.cluster, upstream.cluster.config().affinity.as_ref());
        let sessions = cluster.affinity().zip(config).and_then(|(kept, config)| sessions(kept, config, snapshot));
        (name.to_string(), ClusterEstate { sessions, ..of_cluster(cluster) })
    });
    let tenants = snapshot.tenants.all().iter().filter_map(|tenant| {
        let own = tenant.affinity.as_ref()?;
        Some((tenant.name().to_string(), sessions(&own.affinity, &own.config, snapshot)?))
    });
    let rollouts = snapshot.rollouts().map(|rollout| (rollout.route().to_string(), rollout.estate()));
    Estate { clusters: clusters.collect(), tenants: tenants.collect(), rollouts: rollouts.collect() }
}

fn of_cluster(cluster: &Cluster) -> ClusterEstate {
    let now = Instant::now();
    let said =
        |word: &OperatorWord| Word { endpoint: word.endpoint.as_ref().map(whole), over: word.over.as_ref().map(whole) };
    let members = cluster.endpoints();
    let staying = members.iter().filter(|endpoint| !endpoint.is_leaving());
    ClusterEstate {
        words: cluster.operator_words().iter().map(|(address, word)| (*address, said(word))).collect(),
        reputations: staying.map(|one| (one.address(), one.standing().reputation(now))).collect(),
        sessions: None,
    }
}

fn known_by(config: &weir_config::Affinity) -> String {
    match &config.kind {
        AffinityKind::Plugin(binding) => format!("plugin {}", binding.plugin),
        kind => format!("{kind:?}"),
    }
}

/// Whether sessions are known by the same: earlier versions of the program name a plugin's with its settings.
fn is_known_by(config: &weir_config::Affinity, left: &Sessions) -> bool {
    left.known_by == known_by(config) || left.known_by == format!("{:?}", config.kind)
}

/// What a table remembers; none where sessions are not remembered.
fn sessions(kept: &Affinity, config: &weir_config::Affinity, snapshot: &Snapshot) -> Option<Sessions> {
    let table = kept.table()?;
    let (mut places, mut numbers) = (Vec::new(), HashMap::new());
    for (name, upstream) in &snapshot.clusters {
        for endpoint in upstream.cluster.endpoints().iter() {
            numbers.insert(endpoint.id(), places.len());
            places.push((name.to_string(), endpoint.address()));
        }
    }
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let kept = table.kept(Instant::now()).into_iter();
    let told = kept.filter_map(|one: Kept| {
        let times = [one.began, one.used, one.idle, one.max].map(millis);
        Some(((one.key, *numbers.get(&one.endpoint)?, times), one.scope))
    });
    let (sessions, scopes) = told.unzip();
    Some(Sessions { known_by: known_by(config), sessions, scopes, places })
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
        let affinity = upstream.cluster.affinity().zip(upstream.cluster.config().affinity.as_ref());
        if let Some(((kept, config), left)) = affinity.zip(of_cluster.sessions) {
            keep(kept.table(), config, &left, snapshot);
        }
    }
    for tenant in snapshot.tenants.all() {
        if let Some((own, left)) = tenant.affinity.as_ref().zip(estate.tenants.get(&**tenant.name())) {
            keep(own.affinity.table(), &own.config, left, snapshot);
        }
    }
    for rollout in snapshot.rollouts() {
        if let Some(left) = estate.rollouts.get(&**rollout.route()) {
            rollout.inherit(left);
        }
    }
}

/// Sessions go on where they are known by the same, and their endpoints are there.
fn keep(table: Option<&AffinityTable>, config: &weir_config::Affinity, left: &Sessions, snapshot: &Snapshot) {
    let Some(table) = table.filter(|_| is_known_by(config, left)) else { return };
    let id = |(cluster, address): &(String, SocketAddr)| {
        snapshot.clusters.get(&**cluster)?.cluster.find_address(*address).map(|endpoint| endpoint.id())
    };
    let ids: Vec<Option<u64>> = left.places.iter().map(id).collect();
    let now = Instant::now();
    let scopes = left.scopes.iter().copied().chain(std::iter::repeat(0));
    for ((key, place, times), scope) in left.sessions.iter().zip(scopes) {
        if let Some(endpoint) = ids.get(*place).copied().flatten() {
            let [began, used, idle, max] = times.map(Duration::from_millis);
            table.keep(&Kept { key: *key, scope, endpoint, began, used, idle, max }, now);
        }
    }
}

/// None for what cannot be understood.
fn heard(word: &Word) -> Option<OperatorWord> {
    let read = |value: &Option<Value>| value.as_ref().map(weir_config::endpoint_of).transpose().ok();
    Some(OperatorWord { endpoint: read(&word.endpoint)?, over: read(&word.over)? })
}
