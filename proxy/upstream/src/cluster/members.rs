//! The endpoints of a cluster at one moment, those that leave among them.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    net::SocketAddr,
    ops::Deref,
    sync::Arc,
    time::Duration,
};

use weir_config::Initial;

use crate::{
    endpoint::Endpoint,
    standing::{Moment, State, Verdict},
};

/// What a cluster's configuration says on endpoints that come and go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) drain: Duration,
    pub(super) slow_start: Duration,
    /// Health is checked: what a check said counts.
    pub(super) checked: bool,
    /// Agents are asked: what they said counts.
    pub(super) asked: bool,
    /// What newcomers are before they are checked.
    pub(super) initial: Initial,
}

/// Endpoints in the order in which they are listed; those that leave come last.
#[derive(Debug, Default)]
pub struct Members {
    list: Box<[Arc<Endpoint>]>,
    by_id: HashMap<u64, Arc<Endpoint>>,
    by_address: BTreeMap<SocketAddr, Arc<Endpoint>>,
}

impl Deref for Members {
    type Target = [Arc<Endpoint>];

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

impl FromIterator<Arc<Endpoint>> for Members {
    fn from_iter<I: IntoIterator<Item = Arc<Endpoint>>>(endpoints: I) -> Self {
        let list: Box<[_]> = endpoints.into_iter().collect();
        let by_id = list.iter().map(|endpoint| (endpoint.id(), Arc::clone(endpoint))).collect();
        let by_address = list.iter().map(|endpoint| (endpoint.address(), Arc::clone(endpoint))).collect();
        Self { list, by_id, by_address }
    }
}

impl Members {
    pub(super) fn find(&self, id: u64) -> Option<&Arc<Endpoint>> {
        self.by_id.get(&id)
    }

    pub(super) fn find_address(&self, address: SocketAddr) -> Option<&Arc<Endpoint>> {
        self.by_address.get(&address)
    }

    /// The state of each, by id.
    pub(super) fn states(&self) -> HashMap<u64, State> {
        self.list.iter().map(|endpoint| (endpoint.id(), endpoint.state())).collect()
    }

    /// The same under another configuration, each with a standing of its own.
    pub(super) fn parted(&self, rules: Rules, now: Moment) -> Self {
        let parted = self.list.iter().map(|endpoint| {
            let parted = endpoint.parted();
            parted.change(now, |standing| {
                standing.slow_start(rules.slow_start);
                if !rules.checked {
                    standing.check(None);
                }
                if !rules.asked {
                    standing.report(None);
                }
            });
            Arc::new(parted)
        });
        parted.collect()
    }

    /// What follows when these are listed: an address that is known goes on, another one begins, and
    /// whoever is no longer listed leaves. Of an address that is listed twice the first counts.
    ///
    /// Newcomers warm up unless they are the first.
    pub(super) fn listed(&self, wanted: &[weir_config::Endpoint], rules: Rules, now: Moment) -> Self {
        let newcomers = !self.list.is_empty();
        let mut listed = BTreeMap::new();
        let mut next = Vec::with_capacity(wanted.len());
        for config in wanted {
            if let Entry::Vacant(place) = listed.entry(config.address) {
                place.insert(());
                next.push(match self.find_address(config.address) {
                    Some(known) => goes_on(known, config, now),
                    None => Arc::new(newcomer(config, rules, newcomers, now)),
                });
            }
        }
        let unlisted = self.list.iter().filter(|endpoint| !listed.contains_key(&endpoint.address()));
        for endpoint in unlisted {
            endpoint.change(now, |standing| standing.leave(now.instant + rules.drain));
            next.extend((!is_gone(endpoint, now)).then(|| Arc::clone(endpoint)));
        }
        next.into_iter().collect()
    }

    /// Whether listing these would change anything.
    pub(super) fn differ(&self, wanted: &[weir_config::Endpoint]) -> bool {
        self.staying().ne(wanted.iter().cloned())
    }

    /// How those are described that do not leave.
    pub(super) fn staying(&self) -> impl Iterator<Item = weir_config::Endpoint> {
        let staying = self.list.iter().filter(|endpoint| endpoint.standing().leaving().is_none());
        staying.map(|endpoint| endpoint.config().clone())
    }

    /// Without those that have left.
    pub(super) fn without_gone(&self, now: Moment) -> Self {
        self.list.iter().filter(|endpoint| !is_gone(endpoint, now)).cloned().collect()
    }
}

fn newcomer(config: &weir_config::Endpoint, rules: Rules, among_others: bool, now: Moment) -> Endpoint {
    let endpoint = Endpoint::new(config, rules.slow_start, among_others, now);
    if rules.initial != Initial::Healthy {
        endpoint.change(now, |standing| standing.presume(Verdict::unhealthy("not checked yet")));
    }
    endpoint
}

fn goes_on(known: &Arc<Endpoint>, config: &weir_config::Endpoint, now: Moment) -> Arc<Endpoint> {
    known.change(now, |standing| {
        standing.configure(config.weight);
        standing.stay();
    });
    if known.config() == config { Arc::clone(known) } else { Arc::new(known.described(config)) }
}

/// Whether its drain is over.
pub(super) fn is_gone(endpoint: &Endpoint, now: Moment) -> bool {
    endpoint.standing().leaving().is_some_and(|until| until <= now.instant)
}
