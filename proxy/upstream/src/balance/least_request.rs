//! The fewest requests in flight.
//!
//! Loads are compared for each unit of weight, so that weights hold for idle endpoints and for busy
//! ones alike.

use weir_config::Choices;

use super::{Balancer, Occasion, in_flight, other_than};
use crate::{candidates::Candidates, rng::Rng};

/// The least loaded of some or of all.
pub(super) struct LeastRequest {
    choices: Choices,
}

impl LeastRequest {
    pub(super) fn new(choices: Choices) -> Self {
        Self { choices }
    }
}

impl Balancer for LeastRequest {
    fn pick(&mut self, candidates: &Candidates, occasion: Occasion<'_>) -> Option<usize> {
        match self.choices {
            Choices::Drawn(choices) => least_of(choices, candidates, occasion.rng),
            Choices::All => fewest(candidates, occasion.rng),
        }
    }
}

/// The least loaded of some drawn by weight (Mitzenmacher, "The power of two choices in randomized
/// load balancing", 1996), in time proportional to the choices. The first drawn wins a tie.
fn least_of(choices: u32, candidates: &Candidates, rng: &mut Rng) -> Option<usize> {
    let mut best = candidates.draw(rng)?;
    for _ in 1..choices {
        let rival = other_than(best, candidates, rng)?;
        if Load::of(candidates, best).is_above(Load::of(candidates, rival)) {
            best = rival;
        }
    }
    Some(best)
}

/// The least loaded of all; among equals chance decides by weight.
///
/// An idle endpoint has the least load there is, so that one draw is enough while most are idle. Else
/// all are looked at.
pub(super) fn fewest(candidates: &Candidates, rng: &mut Rng) -> Option<usize> {
    let drawn = candidates.draw(rng)?;
    if in_flight(candidates, drawn) == 0 {
        return Some(drawn);
    }
    let (mut best, mut least) = (0, Load::of(candidates, 0));
    let mut equals = least.weight;
    for index in 1..candidates.len() {
        let load = Load::of(candidates, index);
        if least.is_above(load) {
            (best, least, equals) = (index, load, load.weight);
        } else if !load.is_above(least) {
            equals += load.weight;
            if rng.below(equals) < load.weight {
                (best, least) = (index, load);
            }
        }
    }
    Some(best)
}

/// Requests in flight and the weight they count against.
#[derive(Clone, Copy)]
struct Load {
    in_flight: u64,
    weight: u64,
}

impl Load {
    fn of(candidates: &Candidates, index: usize) -> Self {
        Self { in_flight: u64::from(in_flight(candidates, index)), weight: u64::from(candidates.weight(index)) }
    }

    /// Whether there is more in flight for each unit of weight.
    fn is_above(self, other: Self) -> bool {
        self.in_flight * other.weight > other.in_flight * self.weight
    }
}
