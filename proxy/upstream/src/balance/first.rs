//! The first that has room: the others stay free, to be switched off or to serve somebody else.

use super::{Balancer, Occasion, least_request::fewest};
use crate::candidates::Candidates;

/// Fills endpoints in order. A pick looks at those that are full.
pub(super) struct First {
    max_requests: u32,
}

impl First {
    pub(super) fn new(max_requests: u32) -> Self {
        Self { max_requests }
    }
}

impl Balancer for First {
    fn pick(&mut self, candidates: &Candidates, occasion: Occasion<'_>) -> Option<usize> {
        let has_room = candidates.iter().position(|endpoint| endpoint.in_flight() < endpoint.warm(self.max_requests));
        has_room.or_else(|| fewest(candidates, occasion.rng))
    }
}
