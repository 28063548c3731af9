//! In native code: candidates made by hand.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{Figures, KeySource};
use crate::{Request, hash};

/// The endpoints a balancer may pick, by index from 0. Only endpoints that may be picked are here.
///
/// In a plugin they are given; in a native test they are made with [`Candidates::builder`].
#[derive(Debug, Clone)]
pub struct Candidates {
    epoch: u64,
    endpoints: Vec<Endpoint>,
    hash_key: Option<String>,
}

#[derive(Debug, Clone, Default)]
struct Endpoint {
    name: String,
    figures: Figures,
    labels: BTreeMap<String, String>,
}

impl Candidates {
    /// No endpoint yet.
    pub fn builder() -> CandidatesBuilder {
        CandidatesBuilder(Self { epoch: next_epoch(), endpoints: Vec::new(), hash_key: None })
    }

    /// How many there are; at least 1 in a decision.
    #[allow(clippy::len_without_is_empty, reason = "there is always at least one")]
    pub fn len(&self) -> u32 {
        u32::try_from(self.endpoints.len()).unwrap_or(u32::MAX)
    }

    /// Changes when the set, its order or a weight does: what was derived from the set (a ring, a
    /// table) holds as long as it stays the same.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Figures of one endpoint; none past the end.
    pub fn figures(&self, index: u32) -> Option<Figures> {
        self.endpoint(index).map(|endpoint| endpoint.figures)
    }

    /// Requests in flight to one endpoint, over all workers; 0 past the end. Cheaper than its figures.
    pub fn in_flight(&self, index: u32) -> u32 {
        self.figures(index).map_or(0, |figures| figures.in_flight)
    }

    /// Requests in flight to all of them together. The host sums them up with each question.
    pub fn in_flight_of_all(&self) -> u32 {
        self.all_figures().fold(0, |sum, figures| figures.in_flight.saturating_add(sum))
    }

    /// Figures of all, in order, in one question to the host.
    pub fn all_figures(&self) -> impl Iterator<Item = Figures> {
        self.endpoints.iter().map(|endpoint| endpoint.figures)
    }

    /// Stable name of an endpoint: its address as text.
    pub fn name(&self, index: u32) -> Option<String> {
        self.endpoint(index).map(|endpoint| endpoint.name.clone())
    }

    /// One label of an endpoint.
    pub fn label(&self, index: u32, key: &str) -> Option<String> {
        self.endpoint(index)?.labels.get(key).cloned()
    }

    /// Key a router plugin set for hashing.
    pub fn hash_key(&self) -> Option<String> {
        self.hash_key.clone()
    }

    /// [`hash::bytes`] of a request's key, without a copy of the key: of the hash key, else of what the
    /// source names, else of the client's address.
    pub fn key_hash(&self, request: &Request, source: KeySource<'_>) -> u64 {
        let named = || match source {
            KeySource::ClientAddress => None,
            KeySource::Header(name) => request.header(name),
            KeySource::Cookie(name) => request.cookie(name),
        };
        let key = self.hash_key().or_else(named).unwrap_or_else(|| request.client_address());
        hash::bytes(key.as_bytes())
    }

    /// For tests: let an endpoint have this many requests in flight. The epoch stays.
    pub fn set_in_flight(&mut self, index: u32, in_flight: u32) {
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(endpoint) = self.endpoints.get_mut(place) {
            endpoint.figures.in_flight = in_flight;
        }
    }

    fn endpoint(&self, index: u32) -> Option<&Endpoint> {
        self.endpoints.get(usize::try_from(index).ok()?)
    }
}

/// Makes [`Candidates`] for a native test. Each built set has an epoch of its own.
#[derive(Debug, Clone)]
pub struct CandidatesBuilder(Candidates);

impl CandidatesBuilder {
    /// The set, with an epoch of its own.
    pub fn build(self) -> Candidates {
        Candidates { epoch: next_epoch(), ..self.0 }
    }

    /// One more endpoint, idle and of weight 1. What follows changes this one.
    pub fn endpoint(mut self, name: &str) -> Self {
        self.0.endpoints.push(Endpoint { name: name.into(), ..Endpoint::default() });
        self
    }

    /// The last endpoint has these figures.
    pub fn figures(mut self, figures: Figures) -> Self {
        if let Some(endpoint) = self.0.endpoints.last_mut() {
            endpoint.figures = figures;
        }
        self
    }

    /// The last endpoint has this weight.
    pub fn weight(mut self, weight: u32) -> Self {
        if let Some(endpoint) = self.0.endpoints.last_mut() {
            endpoint.figures.weight = weight;
        }
        self
    }

    /// The last endpoint has this label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        if let Some(endpoint) = self.0.endpoints.last_mut() {
            endpoint.labels.insert(key.into(), value.into());
        }
        self
    }

    /// A router plugin set this key.
    pub fn hash_key(mut self, key: &str) -> Self {
        self.0.hash_key = Some(key.into());
        self
    }
}

fn next_epoch() -> u64 {
    static EPOCH: AtomicU64 = AtomicU64::new(1);
    EPOCH.fetch_add(1, Ordering::Relaxed)
}
