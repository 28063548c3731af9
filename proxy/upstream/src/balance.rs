//! Native balancers: which of the candidates the next request goes to.
//!
//! A balancer belongs to one worker. What it keeps of a set of candidates it keeps by their epoch.

mod round_robin;
mod schedule;

use weir_config::Balance;

use crate::{candidates::Candidates, rng::Rng};

use round_robin::RoundRobin;

/// Picks an endpoint. State belongs to one worker; chance comes in from outside.
pub trait Balancer {
    /// Index into `candidates`; none only when they are empty.
    fn pick(&mut self, candidates: &Candidates, rng: &mut Rng) -> Option<usize>;
}

/// The balancer of a configuration. Where a plugin decides, this one stands in for it: round robin.
pub fn balancer(balance: &Balance) -> Box<dyn Balancer> {
    match balance {
        Balance::RoundRobin | Balance::Plugin(_) => Box::new(RoundRobin::default()),
        Balance::Random => Box::new(Random),
        Balance::LeastRequest { choices } => Box::new(LeastRequest { choices: *choices }),
    }
}

/// At random by weight, in constant time.
struct Random;

impl Balancer for Random {
    fn pick(&mut self, candidates: &Candidates, rng: &mut Rng) -> Option<usize> {
        candidates.draw(rng)
    }
}

/// The least loaded of some drawn at random (Mitzenmacher, "The power of two choices in randomized
/// load balancing", 1996), in time proportional to the choices.
///
/// They are drawn by weight and compared by requests in flight for each unit of weight, so that
/// weights hold for idle endpoints and for busy ones alike. The first drawn wins a tie.
struct LeastRequest {
    choices: u32,
}

impl Balancer for LeastRequest {
    fn pick(&mut self, candidates: &Candidates, rng: &mut Rng) -> Option<usize> {
        let mut best = candidates.draw(rng)?;
        for _ in 1..self.choices {
            let rival = other_than(best, candidates, rng)?;
            if is_busier(candidates, best, rival) {
                best = rival;
            }
        }
        Some(best)
    }
}

/// Another draw; one that hits the same endpoint again goes to any of the others.
fn other_than(index: usize, candidates: &Candidates, rng: &mut Rng) -> Option<usize> {
    let drawn = candidates.draw(rng)?;
    let len = candidates.len();
    if drawn != index || len < 2 {
        return Some(drawn);
    }
    let other = rng.index(len - 1);
    Some(other + usize::from(other >= index))
}

/// Whether `a` has more in flight for its weight than `b`.
fn is_busier(candidates: &Candidates, a: usize, b: usize) -> bool {
    let load = |index| {
        let endpoint = candidates.get(index);
        endpoint.map_or(0, |endpoint| u64::from(endpoint.in_flight()))
    };
    let weight = |index| u64::from(candidates.weight(index));
    load(a) * weight(b) > load(b) * weight(a)
}

#[cfg(test)]
mod tests;
