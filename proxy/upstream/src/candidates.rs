//! The endpoints that may be picked at one moment: immutable, and known by an epoch that no other
//! set has, so that whatever was derived from a set can be kept as long as the epoch is the same.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use arc_swap::ArcSwap;

use crate::{endpoint::Endpoint, rng::Rng, standing::State};

mod alias;

use alias::Alias;

/// Most label subsets a set remembers; further ones are made anew for every request.
const MOST_SUBSETS: usize = 64;

/// Endpoints that may be picked, by index from 0, each with its effective weight.
#[derive(Debug, Clone)]
pub struct Candidates(Arc<Set>);

/// What kind of endpoints a cluster is served by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serving {
    /// Healthy ones, as usual.
    Healthy,
    /// Degraded ones, for want of healthy ones.
    Degraded,
    /// None.
    Nothing,
}

#[derive(Debug)]
struct Set {
    epoch: u64,
    endpoints: Box<[Arc<Endpoint>]>,
    weights: Box<[u32]>,
    kind: Kind,
    subsets: ArcSwap<Vec<Subset>>,
}

/// How one of the set is drawn by weight.
#[derive(Debug)]
enum Kind {
    /// All weigh the same.
    Equal,
    /// They do not, and many draws will follow.
    Weighted(Alias),
    /// Made for one attempt: any derived structure would cost more than it saves.
    Passing,
}

#[derive(Debug, Clone)]
struct Subset {
    labels: Box<[(String, String)]>,
    candidates: Candidates,
}

impl Candidates {
    /// Those of `endpoints` that may be picked now: the healthy and warming ones of some weight, or the
    /// degraded ones where there is none.
    pub(crate) fn of(endpoints: &[Arc<Endpoint>]) -> Self {
        let healthy = Self::in_state(endpoints, &[State::Healthy, State::Warming]);
        if healthy.is_empty() { Self::in_state(endpoints, &[State::Degraded]) } else { healthy }
    }

    fn in_state(endpoints: &[Arc<Endpoint>], states: &[State]) -> Self {
        let weighed = endpoints.iter().filter_map(|endpoint| {
            let standing = endpoint.standing();
            let status = standing.status();
            (status.effective > 0 && states.contains(&status.state)).then(|| (Arc::clone(endpoint), status.effective))
        });
        Self::lasting(weighed.collect())
    }

    fn lasting(members: Vec<(Arc<Endpoint>, u32)>) -> Self {
        let (endpoints, weights): (Vec<_>, Vec<_>) = members.into_iter().unzip();
        let weights = reduced(weights);
        let kind = if all_equal(&weights) { Kind::Equal } else { Kind::Weighted(Alias::new(&weights)) };
        Self::with(endpoints, weights, kind)
    }

    fn with(endpoints: Vec<Arc<Endpoint>>, weights: Vec<u32>, kind: Kind) -> Self {
        static EPOCHS: AtomicU64 = AtomicU64::new(1);
        Self(Arc::new(Set {
            epoch: EPOCHS.fetch_add(1, Relaxed),
            endpoints: endpoints.into(),
            weights: weights.into(),
            kind,
            subsets: ArcSwap::default(),
        }))
    }

    pub(crate) fn serving(&self) -> Serving {
        match self.get(0).map(|endpoint| endpoint.state()) {
            None => Serving::Nothing,
            Some(State::Degraded) => Serving::Degraded,
            Some(_) => Serving::Healthy,
        }
    }

    /// Differs from the epoch of any other set in the process.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.endpoints.len()
    }

    /// Whether nothing may be picked.
    pub fn is_empty(&self) -> bool {
        self.0.endpoints.is_empty()
    }

    /// One of them; none past the end.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&Arc<Endpoint>> {
        self.0.endpoints.get(index)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Endpoint>> {
        self.0.endpoints.iter()
    }

    /// Effective weight: the configured one at the percents that health, slow start and others allow. Only the ratios
    /// between them mean something, since a common divisor is taken out. 0 past the end.
    #[inline]
    pub fn weight(&self, index: usize) -> u32 {
        self.0.weights.get(index).copied().unwrap_or(0)
    }

    pub(crate) fn weights(&self) -> &[u32] {
        &self.0.weights
    }

    /// Whether all weigh the same.
    pub(crate) fn is_equal(&self) -> bool {
        matches!(self.0.kind, Kind::Equal)
    }

    /// Whether the set was made for one attempt and will not be seen again.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.0.kind, Kind::Passing)
    }

    /// The same without the endpoints of these ids: for an attempt after others have failed.
    pub fn without(&self, ids: &[u64]) -> Self {
        self.passing(|endpoint| !ids.contains(&endpoint.id()))
    }

    fn passing(&self, keep: impl Fn(&Endpoint) -> bool) -> Self {
        let (endpoints, weights) = self.members(keep).into_iter().unzip();
        Self::with(endpoints, weights, Kind::Passing)
    }

    /// Those that carry all of these labels.
    ///
    /// The first 64 subsets are remembered, so that the same labels give the same epoch.
    pub fn with_labels(&self, labels: &[(String, String)]) -> Self {
        if labels.is_empty() {
            return self.clone();
        }
        let known = self.0.subsets.load();
        if let Some(subset) = known.iter().find(|subset| *subset.labels == *labels) {
            return subset.candidates.clone();
        }
        if known.len() >= MOST_SUBSETS {
            return self.passing(|endpoint| carries(endpoint, labels));
        }
        let candidates = Self::lasting(self.members(|endpoint| carries(endpoint, labels)));
        self.remember(labels, &candidates);
        candidates
    }

    fn members(&self, keep: impl Fn(&Endpoint) -> bool) -> Vec<(Arc<Endpoint>, u32)> {
        let weighed = self.0.endpoints.iter().zip(&self.0.weights);
        weighed
            .filter(|(endpoint, _)| keep(endpoint))
            .map(|(endpoint, weight)| (Arc::clone(endpoint), *weight))
            .collect()
    }

    fn remember(&self, labels: &[(String, String)], candidates: &Self) {
        let subset = Subset { labels: labels.into(), candidates: candidates.clone() };
        self.0.subsets.rcu(|known| {
            let mut next = Vec::clone(known);
            let absent = !next.iter().any(|other| other.labels == subset.labels);
            if absent && next.len() < MOST_SUBSETS {
                next.push(subset.clone());
            }
            next
        });
    }

    /// One of them at random by weight; none when there is none.
    #[inline]
    pub(crate) fn draw(&self, rng: &mut Rng) -> Option<usize> {
        match &self.0.kind {
            Kind::Equal if self.is_empty() => None,
            Kind::Equal => Some(rng.index(self.len())),
            Kind::Weighted(alias) => alias.draw(rng),
            Kind::Passing => self.walk(rng),
        }
    }

    fn walk(&self, rng: &mut Rng) -> Option<usize> {
        let total = self.0.weights.iter().copied().map(u64::from).sum();
        let mut left = rng.below(total);
        self.0.weights.iter().position(|&weight| {
            let here = left < u64::from(weight);
            left = left.saturating_sub(u64::from(weight));
            here
        })
    }
}

fn carries(endpoint: &Endpoint, labels: &[(String, String)]) -> bool {
    let own = endpoint.labels();
    labels.iter().all(|(key, value)| own.get(key) == Some(value))
}

fn all_equal(weights: &[u32]) -> bool {
    weights.iter().all(|weight| weights.first() == Some(weight))
}

/// The weights without their greatest common divisor: short cycles make smooth rotations.
fn reduced(mut weights: Vec<u32>) -> Vec<u32> {
    let divisor = weights.iter().copied().fold(0, common_divisor).max(1);
    for weight in &mut weights {
        *weight /= divisor;
    }
    weights
}

fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests;
