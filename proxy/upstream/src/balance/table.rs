//! Where keys go: a ring or a table over all endpoints of a cluster, whatever their state.
//!
//! It is built on the control side when the cluster lists other endpoints, and shared by all workers.
//! States and weights that change at run time do not touch it: who walks along it passes by what may
//! not be picked.

mod maglev;
mod ring;

use std::{collections::HashMap, sync::Arc};

use arc_swap::{ArcSwap, Guard};
use weir_config::HashAlgorithm;

use self::{maglev::Maglev, ring::Ring};
use super::key::{KeyHash, digest};
use crate::endpoint::Endpoint;

/// The present table of a cluster.
#[derive(Debug)]
pub(crate) struct Hashing {
    algorithm: HashAlgorithm,
    table: ArcSwap<Table>,
}

impl Hashing {
    /// Over the endpoints of a cluster; the former table goes on where it is the same.
    pub(crate) fn over(algorithm: HashAlgorithm, endpoints: &[Arc<Endpoint>], former: Option<&Self>) -> Arc<Self> {
        let listing = listing(endpoints);
        let former = former.filter(|former| former.algorithm == algorithm).map(Self::table);
        let table = match former {
            Some(former) if former.members == listing => Arc::clone(&former),
            _ => Arc::new(Table::new(algorithm, listing)),
        };
        Arc::new(Self { algorithm, table: ArcSwap::new(table) })
    }

    /// Over other endpoints from now on.
    pub(crate) fn list(&self, endpoints: &[Arc<Endpoint>]) {
        let listing = listing(endpoints);
        if self.table.load().members != listing {
            self.table.store(Arc::new(Table::new(self.algorithm, listing)));
        }
    }

    pub(super) fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }
}

/// One table with the endpoints it is over.
#[derive(Debug)]
pub(super) struct Table {
    members: Box<[Member]>,
    by_id: HashMap<u64, usize>,
    kind: Kind,
}

/// An endpoint as the table knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    name: Box<str>,
    id: u64,
    /// As configured, and at least 1: it may be raised at run time.
    weight: u32,
    hash: u64,
}

#[derive(Debug)]
enum Kind {
    Ring(Ring),
    Maglev(Maglev),
}

/// In the order of their names, so that the order in the file does not matter.
fn listing(endpoints: &[Arc<Endpoint>]) -> Box<[Member]> {
    let mut members: Box<[Member]> = endpoints.iter().map(|endpoint| Member::of(endpoint)).collect();
    members.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    members
}

impl Member {
    fn of(endpoint: &Endpoint) -> Self {
        let [hash, _] = digest(endpoint.name().as_bytes());
        Self { name: endpoint.name().into(), id: endpoint.id(), weight: endpoint.config().weight.max(1), hash }
    }

    /// As configured; at least 1.
    pub(super) fn weight(&self) -> u32 {
        self.weight
    }

    /// Of its name.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }
}

impl Table {
    fn new(algorithm: HashAlgorithm, members: Box<[Member]>) -> Self {
        let weighed = members.iter().map(|member| (&*member.name, member.weight));
        let kind = match algorithm {
            HashAlgorithm::Ring => Kind::Ring(Ring::new(weighed)),
            HashAlgorithm::Maglev => Kind::Maglev(Maglev::new(weighed)),
        };
        let by_id = members.iter().enumerate().map(|(index, member)| (member.id, index)).collect();
        Self { members, by_id, kind }
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Index and description of an endpoint.
    pub(super) fn find(&self, id: u64) -> Option<(usize, &Member)> {
        let index = *self.by_id.get(&id)?;
        self.members.get(index).map(|member| (index, member))
    }

    /// Indices of members, as a key meets them; some of them many times.
    pub(super) fn walk(&self, key: KeyHash) -> Walk<'_> {
        Walk(match &self.kind {
            Kind::Ring(ring) => Way::Ring(ring.walk(key)),
            Kind::Maglev(table) => Way::Maglev(table.walk(key)),
        })
    }
}

/// The way of a key.
pub(super) struct Walk<'a>(Way<'a>);

enum Way<'a> {
    Ring(ring::Walk<'a>),
    Maglev(maglev::Walk<'a>),
}

impl Iterator for Walk<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        match &mut self.0 {
            Way::Ring(walk) => walk.next(),
            Way::Maglev(walk) => walk.next(),
        }
    }
}

#[cfg(test)]
mod tests;
