//! Which endpoints a cluster has, and on whose word: pure.
//!
//! The configuration lists some, discovery finds some, and the operator adds, changes and deletes at run
//! time. The operator's word on an address holds over reloads, until the configuration says
//! something else of that address than it did when the word was given.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::SystemTime,
};

use weir_config::Endpoint;

/// Who lists an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The configuration.
    File,
    /// Discovery.
    Discovery,
    /// The operator: by adding or by changing it.
    Admin,
}

impl Origin {
    /// As shown on the status page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Discovery => "discovery",
            Self::Admin => "admin",
        }
    }
}

/// How discovery fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The last answer that could be used.
    pub answered: Option<SystemTime>,
    /// Why the present endpoints are those of an earlier answer, or some are missing.
    pub fault: Option<String>,
    /// Enough is known to begin with, be it part of an answer.
    pub suffices: bool,
}

/// The operator's word on an address.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorWord {
    /// How it is described; none is deleted.
    pub endpoint: Option<Endpoint>,
    /// What the configuration said at the time.
    pub over: Option<Endpoint>,
}

/// Whose word lists which endpoints.
#[derive(Debug, Clone, Default)]
pub(super) struct Roster {
    listed: Vec<Endpoint>,
    found: Vec<Endpoint>,
    /// Those of before, who stay until discovery has answered.
    staying: Vec<Endpoint>,
    words: BTreeMap<SocketAddr, OperatorWord>,
    discovery: Discovery,
}

impl Roster {
    /// Under a configuration, after `before` under another one. What was found is kept where it is still
    /// looked for in the same place.
    pub(super) fn of(config: &weir_config::Cluster, before: Option<(&Self, &weir_config::Cluster)>) -> Self {
        let mut roster = Self { listed: config.endpoints.clone(), ..Self::default() };
        if let Some((before, former)) = before {
            if former.discover == config.discover {
                roster.found.clone_from(&before.found);
                roster.discovery = before.discovery.clone();
            }
            roster.heed(before.words.clone());
        }
        roster
    }

    /// Until discovery answers for the first time, those stay whom the cluster had under another configuration.
    pub(super) fn keep(&mut self, before: impl IntoIterator<Item = Endpoint>) {
        if self.discovery.answered.is_none() {
            let wanted = self.wanted();
            let is_new = |endpoint: &Endpoint| !wanted.iter().any(|one| one.address == endpoint.address);
            self.staying = before.into_iter().filter(is_new).collect();
        }
    }

    /// The operator's words on addresses.
    pub(super) fn words(&self) -> &BTreeMap<SocketAddr, OperatorWord> {
        &self.words
    }

    /// Words that were given under another configuration, where this one says the same as it did.
    pub(super) fn heed(&mut self, words: impl IntoIterator<Item = (SocketAddr, OperatorWord)>) {
        let listed = by_address(&self.listed);
        let same = |(address, word): &(SocketAddr, OperatorWord)| listed.get(address).copied() == word.over.as_ref();
        self.words.extend(words.into_iter().filter(same));
    }

    pub(super) fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// The endpoints there are to be: those of the configuration, those found, those who stay, those added.
    pub(super) fn wanted(&self) -> Vec<Endpoint> {
        let base = by_address(self.found.iter().chain(&self.listed));
        let order = self.listed.iter().chain(&self.found).chain(&self.staying);
        let described = order.filter_map(|endpoint| match self.words.get(&endpoint.address) {
            Some(word) => word.endpoint.clone(),
            None => Some(endpoint.clone()),
        });
        let added = self.words.iter().filter(|(address, _)| !base.contains_key(address));
        let mut seen = BTreeSet::new();
        let all = described.chain(added.filter_map(|(_, word)| word.endpoint.clone()));
        all.filter(|endpoint| seen.insert(endpoint.address)).collect()
    }

    /// Who lists what.
    pub(super) fn origins(&self) -> BTreeMap<SocketAddr, Origin> {
        let found = self.found.iter().map(|endpoint| (endpoint.address, Origin::Discovery));
        let listed = self.listed.iter().map(|endpoint| (endpoint.address, Origin::File));
        let words = self.words.keys().map(|address| (*address, Origin::Admin));
        found.chain(listed).chain(words).collect()
    }

    /// Discovery's answer in the place of the former one, and why some of it is missing.
    pub(super) fn find(&mut self, mut found: Vec<Endpoint>, fault: Option<String>, at: SystemTime) {
        // The order of answers is chance, and another order would be news.
        found.sort_by_key(|endpoint| endpoint.address);
        self.found = found;
        self.staying.clear();
        self.discovery = Discovery { answered: Some(at), fault, suffices: true };
    }

    /// Part of an answer of discovery, while the rest is waited for: it adds to what is there, and changes
    /// none of it. Who is missing in it may be in the rest. It may suffice to begin with.
    pub(super) fn find_some(&mut self, some: Vec<Endpoint>, suffices: bool) {
        self.discovery.suffices |= suffices;
        for endpoint in some {
            if !self.found.iter().chain(&self.staying).any(|one| one.address == endpoint.address) {
                self.found.push(endpoint);
            }
        }
        self.found.sort_by_key(|endpoint| endpoint.address);
    }

    /// No answer of discovery: the former one goes on. True when that is news.
    pub(super) fn miss(&mut self, why: &str) -> bool {
        let news = self.discovery.fault.is_none();
        self.discovery.fault = Some(why.to_owned());
        news
    }

    /// The operator's word on an endpoint.
    pub(super) fn put(&mut self, endpoint: Endpoint) {
        let (address, over) = (endpoint.address, self.listed(endpoint.address));
        self.words.insert(address, OperatorWord { endpoint: Some(endpoint), over });
    }

    /// The operator wants an endpoint gone. Of one that only the operator knew, nothing is left.
    pub(super) fn delete(&mut self, address: SocketAddr) {
        let over = self.listed(address);
        let mut others = self.found.iter().chain(&self.staying);
        if over.is_none() && !others.any(|other| other.address == address) {
            self.words.remove(&address);
        } else {
            self.words.insert(address, OperatorWord { endpoint: None, over });
        }
    }

    fn listed(&self, address: SocketAddr) -> Option<Endpoint> {
        self.listed.iter().find(|endpoint| endpoint.address == address).cloned()
    }
}

fn by_address<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>) -> BTreeMap<SocketAddr, &'a Endpoint> {
    endpoints.into_iter().map(|endpoint| (endpoint.address, endpoint)).collect()
}

#[cfg(test)]
mod tests;
