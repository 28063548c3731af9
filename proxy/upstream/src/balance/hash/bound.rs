//! Bounded loads (Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with bounded loads", 2018):
//! with a request more in flight, no endpoint has more than a factor times its share, rounded up.

use super::super::in_flight;
use crate::candidates::Candidates;

/// Endpoints whose load is read for one pick.
const READS: usize = 16;

/// How much fits.
#[derive(Debug)]
pub(super) struct Bound {
    /// In percent.
    factor: u64,
    /// Requests in flight at all candidates, as last summed up.
    sum: u64,
    weight: u64,
    /// Picks until they are summed up again. So the cost of a pick is the same for any number of
    /// endpoints, and the mean load is less than a tenth of a request old.
    fresh: usize,
}

impl Bound {
    pub(super) fn new(factor: u32, candidates: &Candidates) -> Self {
        let weight = candidates.weights().iter().copied().map(u64::from).sum();
        Self { factor: factor.into(), sum: 0, weight, fresh: 0 }
    }

    /// Before every pick.
    pub(super) fn count_pick(&mut self, candidates: &Candidates) {
        match self.fresh.checked_sub(1) {
            Some(fresh) => self.fresh = fresh,
            None => self.renew(candidates),
        }
    }

    pub(super) fn renew(&mut self, candidates: &Candidates) {
        #[cfg(test)]
        super::super::tests::count_looks(candidates.len() as u64);
        self.sum = candidates.iter().map(|endpoint| u64::from(endpoint.in_flight())).sum();
        self.fresh = (candidates.len() / READS).saturating_sub(1);
    }

    /// Whether a request more stays within `⌈factor · (sum + 1) · share⌉`.
    pub(super) fn has_room(&self, candidates: &Candidates, index: usize) -> bool {
        let load = u64::from(in_flight(candidates, index));
        let weight = u64::from(candidates.weight(index));
        load * 100 * self.weight < self.factor * (self.sum + 1) * weight
    }
}
