//! The endpoints that may be picked at one moment: immutable, and known by an epoch that no other
//! set has, so that whatever was derived from a set can be kept as long as the epoch is the same.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use arc_swap::ArcSwap;

use crate::{
    endpoint::Endpoint,
    rng::Rng,
    standing::{Spared, State},
};

mod alias;
mod selection;

use alias::Alias;
use selection::{Entry, select};

pub use selection::Serving;
pub(crate) use selection::Thresholds;

/// Most label subsets a set remembers; further ones are made anew for every request.
const MOST_SUBSETS: usize = 64;

/// Endpoints that may be picked, by index from 0, each with its effective weight.
#[derive(Debug, Clone)]
pub struct Candidates(Arc<Set>);

#[derive(Debug)]
struct Set {
    epoch: u64,
    endpoints: Box<[Arc<Endpoint>]>,
    weights: Box<[u32]>,
    /// What was taken out of the weights.
    unit: u32,
    kind: Kind,
    serving: Serving,
    /// Who may stand in when all have failed: the first group that is left.
    reserve: Box<[Group]>,
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

/// Endpoints with their weights.
type Group = Vec<(Arc<Endpoint>, u32)>;

#[derive(Debug, Clone)]
struct Subset {
    labels: Box<[(String, String)]>,
    candidates: Candidates,
}

impl Candidates {
    /// Those of `endpoints` that may be picked now, by their levels, in a process of this zone.
    pub(crate) fn of(endpoints: &[Arc<Endpoint>], zone: Option<&str>, thresholds: Thresholds) -> Self {
        let listed: Vec<_> = endpoints.iter().filter(|endpoint| endpoint.standing().leaving().is_none()).collect();
        let entries: Vec<_> = listed.iter().map(|endpoint| entry(endpoint, zone)).collect();
        let selection = select(&entries, thresholds);
        let group = |weighed: Vec<(usize, u32)>| -> Group {
            let named =
                weighed.into_iter().filter_map(|(index, weight)| Some((Arc::clone(listed.get(index)?), weight)));
            named.collect()
        };
        let reserve = selection.reserve.into_iter().map(group).collect();
        Self::lasting(group(selection.chosen), 1, selection.serving, reserve)
    }

    /// Which of `endpoints` could serve but for ejections, if the one of this id may be ejected beside those that
    /// `is_out` names: what serves must not be the worse for it. One that could not be `reached` may leave its place
    /// to degraded ones and backups.
    pub(crate) fn could_spare(
        (endpoints, zone, thresholds): (&[Arc<Endpoint>], Option<&str>, Thresholds),
        id: u64,
        reached: bool,
        is_out: &dyn Fn(u64) -> bool,
    ) -> Option<Vec<u64>> {
        let listed: Vec<_> = endpoints.iter().filter(|endpoint| endpoint.standing().leaving().is_none()).collect();
        let mut entries: Vec<_> = listed.iter().map(|endpoint| entry(endpoint, zone)).collect();
        let of_use = |entry: &Entry| entry.weight > 0 && (entry.state.is_able() || entry.spared.is_some());
        let named = listed.iter().zip(&entries).filter(|(_, entry)| of_use(entry));
        let able = named.map(|(endpoint, _)| endpoint.id()).collect();
        let mut eject = |out: &dyn Fn(u64) -> bool, reached| {
            let all = listed.iter().zip(&mut entries);
            for (_, entry) in all.filter(|(endpoint, entry)| out(endpoint.id()) && entry.state.is_able()) {
                entry.spared = Some(Spared { state: entry.state, reached });
                entry.state = State::Ejected;
            }
            select(&entries, thresholds).serving
        };
        let before = eject(is_out, false);
        let after = eject(&|other| other == id, reached);
        let is_well = match after {
            Serving::Panic | Serving::Ejected | Serving::Nothing => after == before,
            _ => !reached || after.rank() <= before.rank(),
        };
        is_well.then_some(able)
    }

    fn lasting(members: Group, unit: u32, serving: Serving, reserve: Box<[Group]>) -> Self {
        let (endpoints, weights): (Vec<_>, Vec<_>) = members.into_iter().unzip();
        let (weights, divisor) = reduced(weights);
        let kind = if all_equal(&weights) { Kind::Equal } else { Kind::Weighted(Alias::new(&weights)) };
        Self::with(endpoints, weights, unit * divisor, kind, serving, reserve)
    }

    fn with(
        endpoints: Vec<Arc<Endpoint>>,
        weights: Vec<u32>,
        unit: u32,
        kind: Kind,
        serving: Serving,
        reserve: Box<[Group]>,
    ) -> Self {
        static EPOCHS: AtomicU64 = AtomicU64::new(1);
        Self(Arc::new(Set {
            epoch: EPOCHS.fetch_add(1, Relaxed),
            endpoints: endpoints.into(),
            weights: weights.into(),
            unit,
            kind,
            serving,
            reserve,
            subsets: ArcSwap::default(),
        }))
    }

    /// What kind of endpoints these are.
    pub fn serving(&self) -> Serving {
        self.0.serving
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

    /// The same with the divisor: in hundredths of a configured weight while one level serves.
    pub(crate) fn full_weight(&self, index: usize) -> u64 {
        u64::from(self.weight(index)) * u64::from(self.0.unit)
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

    /// The same without the endpoints of these ids: for an attempt after others have failed. Where none
    /// is left, those that stand in for them: of lower priority, degraded, backups.
    pub fn without(&self, ids: &[u64]) -> Self {
        let keep = |endpoint: &Endpoint| !ids.contains(&endpoint.id());
        let rest = self.passing(keep);
        if !rest.is_empty() {
            return rest;
        }
        let groups = self.0.reserve.iter().map(|group| {
            let left = group.iter().filter(|(endpoint, _)| keep(endpoint));
            left.cloned().collect::<Group>()
        });
        groups.into_iter().find(|group| !group.is_empty()).map_or(rest, |group| self.made_of(group, 1))
    }

    /// The same without the endpoints that are full.
    pub fn with_room(&self) -> Self {
        self.passing(Endpoint::has_room)
    }

    fn passing(&self, keep: impl Fn(&Endpoint) -> bool) -> Self {
        self.made_of(self.members(keep), self.0.unit)
    }

    fn made_of(&self, members: Group, unit: u32) -> Self {
        let (endpoints, weights) = members.into_iter().unzip();
        Self::with(endpoints, weights, unit, Kind::Passing, self.0.serving, Box::default())
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
        let mut carrying = self.members(|endpoint| carries(endpoint, labels));
        if carrying.is_empty() {
            carrying = self.ejected(labels);
        }
        let candidates = Self::lasting(carrying, self.0.unit, self.0.serving, Box::default());
        self.remember(labels, &candidates);
        candidates
    }

    fn members(&self, keep: impl Fn(&Endpoint) -> bool) -> Group {
        let weighed = self.0.endpoints.iter().zip(&self.0.weights);
        weighed
            .filter(|(endpoint, _)| keep(endpoint))
            .map(|(endpoint, weight)| (Arc::clone(endpoint), *weight))
            .collect()
    }

    /// Ejections leave no labels without an endpoint that carries them.
    fn ejected(&self, labels: &[(String, String)]) -> Group {
        let is_meant = |endpoint: &Endpoint| endpoint.state() == State::Ejected && carries(endpoint, labels);
        self.0.reserve.iter().flatten().filter(|(endpoint, _)| is_meant(endpoint)).cloned().collect()
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

fn entry(endpoint: &Endpoint, zone: Option<&str>) -> Entry {
    let (standing, config) = (endpoint.standing(), endpoint.config());
    let status = standing.status();
    let is_far = zone.is_some() && config.zone.as_deref() != zone;
    Entry {
        state: status.state,
        weight: status.effective,
        level: (config.priority, is_far),
        backup: config.backup,
        spared: status.spared,
    }
}

fn carries(endpoint: &Endpoint, labels: &[(String, String)]) -> bool {
    let own = endpoint.labels();
    labels.iter().all(|(key, value)| own.get(key) == Some(value))
}

fn all_equal(weights: &[u32]) -> bool {
    weights.iter().all(|weight| weights.first() == Some(weight))
}

/// The weights without their greatest common divisor, and this: short cycles make smooth rotations.
fn reduced(mut weights: Vec<u32>) -> (Vec<u32>, u32) {
    let divisor = weights.iter().copied().fold(0, common_divisor).max(1);
    for weight in &mut weights {
        *weight /= divisor;
    }
    (weights, divisor)
}

fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests;
