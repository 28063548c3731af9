//! The endpoint of a key, by the cluster's table.
//!
//! A key walks along the table until it meets an endpoint that takes it. Who may not be picked takes no
//! key; who counts for a part of its configured weight takes that part of the keys that meet it, always
//! the same; who is full, where loads are bounded, takes none for the moment. So a key moves only when
//! its own endpoint changes.
//!
//! Where the walk is long because few of many endpoints may be picked, these are ranked for the key
//! instead (Thaler and Ravishankar, "A name-based mapping scheme for rendezvous", 1996).

mod bound;

use std::sync::Arc;

use self::bound::Bound;
use super::{
    Balancer, Occasion,
    key::KeyHash,
    recent::Recent,
    table::{Hashing, Table},
};
use crate::candidates::Candidates;

/// Longest walk. Where a tenth of the endpoints may be picked, one of a thousand keys walks farther.
const MOST_STEPS: usize = 64;

/// Picks by key; at random by weight where there is none.
pub(super) struct Hashed {
    hashing: Arc<Hashing>,
    /// In percent.
    factor: Option<u32>,
    seatings: Recent<Seating>,
}

/// Which of the candidates sits behind each member of a table.
struct Seating {
    table: Arc<Table>,
    seats: Box<[Option<Seat>]>,
    bound: Option<Bound>,
}

/// A candidate, and the part of its keys that it takes.
#[derive(Debug, Clone, Copy)]
struct Seat {
    candidate: u32,
    /// In 2^-32; none is all.
    part: Option<u32>,
}

impl Hashed {
    pub(super) fn new(hashing: Arc<Hashing>, factor: Option<u32>) -> Self {
        Self { hashing, factor, seatings: Recent::default() }
    }
}

impl Balancer for Hashed {
    fn pick(&mut self, candidates: &Candidates, occasion: Occasion<'_>) -> Option<usize> {
        let Some(key) = occasion.key else { return candidates.draw(occasion.rng) };
        let table = self.hashing.table();
        let make = || Seating::new(Arc::clone(&table), candidates, self.factor);
        if candidates.is_passing() {
            return make().pick(candidates, key);
        }
        let seating = self.seatings.of(candidates.epoch(), make)?;
        if !Arc::ptr_eq(&seating.table, &table) {
            *seating = make();
        }
        seating.pick(candidates, key)
    }
}

impl Seating {
    fn new(table: Arc<Table>, candidates: &Candidates, factor: Option<u32>) -> Self {
        // In percent of the configured weight.
        let mut ratios = vec![0.0; table.members().len()];
        let mut seats = vec![None; table.members().len()];
        for (candidate, endpoint) in (0_u32..).zip(candidates.iter()) {
            let Some((index, member)) = table.find(endpoint.id()) else { continue };
            let weight = candidates.full_weight(candidate as usize) as f64;
            if let (Some(ratio), Some(seat)) = (ratios.get_mut(index), seats.get_mut(index)) {
                *ratio = weight / f64::from(member.weight());
                *seat = Some(Seat { candidate, part: None });
            }
        }
        let ceiling = ceiling(ratios.iter().copied().fold(0.0, f64::max));
        for (seat, ratio) in seats.iter_mut().zip(ratios) {
            if let Some(seat) = seat {
                seat.part = (ratio < ceiling).then_some((ratio / ceiling * f64::from(u32::MAX)) as u32);
            }
        }
        Self { table, seats: seats.into(), bound: factor.map(|factor| Bound::new(factor, candidates)) }
    }

    fn pick(&mut self, candidates: &Candidates, key: KeyHash) -> Option<usize> {
        if let Some(bound) = &mut self.bound {
            bound.count_pick(candidates);
        }
        let met =
            self.walk(candidates, key).or_else(|| self.rank(candidates, key, |index| self.has_room(candidates, index)));
        if met.is_some() {
            return met;
        }
        // Only an old sum lets all be full, or other workers that pick at this moment.
        self.bound.as_mut()?.renew(candidates);
        self.rank(candidates, key, |index| self.has_room(candidates, index))
            .or_else(|| self.rank(candidates, key, |_| true))
    }

    fn walk(&self, candidates: &Candidates, key: KeyHash) -> Option<usize> {
        let walk = self.table.walk(key).take(MOST_STEPS).enumerate();
        let seats = walk.filter_map(|(step, member)| Some((step, (*self.seats.get(member)?)?)));
        let taking = seats.filter(|(step, seat)| seat.takes(key, *step));
        taking.map(|(_, seat)| seat.candidate as usize).find(|index| self.has_room(candidates, *index))
    }

    /// The first of those in question in an order of the key's own, by weight: the ranks of endpoints
    /// are exponential variables with their weights as rates.
    fn rank(&self, candidates: &Candidates, key: KeyHash, asked: impl Fn(usize) -> bool) -> Option<usize> {
        let rank = |index: usize| {
            let endpoint = candidates.get(index)?;
            let hash = self.table.find(endpoint.id()).map_or(endpoint.id(), |(_, member)| member.hash());
            let fraction = ((key.mixed(hash) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
            Some((index, -fraction.ln() / f64::from(candidates.weight(index).max(1))))
        };
        let ranks = (0..candidates.len()).filter(|index| asked(*index)).filter_map(rank);
        ranks.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(index, _)| index)
    }

    fn has_room(&self, candidates: &Candidates, index: usize) -> bool {
        self.bound.as_ref().is_none_or(|bound| bound.has_room(candidates, index))
    }
}

/// What counts as all of the keys: the full weight, doubled or halved until it is just above the
/// highest. So it seldom changes, and with it the part of all others.
fn ceiling(highest: f64) -> f64 {
    if highest > 0.0 { 100.0 * (highest / 100.0).log2().ceil().exp2() } else { 100.0 }
}

impl Seat {
    fn takes(self, key: KeyHash, step: usize) -> bool {
        self.part.is_none_or(|part| (key.mixed(!(step as u64)) as u32) < part)
    }
}

#[cfg(test)]
mod tests;
