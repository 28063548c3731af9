//! Native balancers.

use crate::{candidates::Candidates, rng::Rng};

/// Picks an endpoint. State belongs to one worker; clock and chance come in from outside.
pub trait Balancer {
    /// Index into `candidates`; none only when they are empty.
    fn pick(&mut self, candidates: &Candidates, rng: &mut Rng) -> Option<usize>;
}

/// The balancer of a configuration. Where a plugin decides, this one stands in for it: round robin.
pub fn balancer(balance: &weir_config::Balance) -> Box<dyn Balancer> {
    let _ = balance;
    Box::new(Random)
}

struct Random;

impl Balancer for Random {
    fn pick(&mut self, candidates: &Candidates, rng: &mut Rng) -> Option<usize> {
        candidates.draw(rng)
    }
}
