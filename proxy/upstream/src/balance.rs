//! Native balancers: which of the candidates the next request goes to.
//!
//! A balancer belongs to one worker. What it keeps of a set of candidates it keeps by their epoch.

mod first;
mod hash;
mod key;
mod least_request;
mod least_time;
mod recent;
mod round_robin;
mod schedule;
mod table;

use std::{sync::Arc, time::Instant};

use weir_config::Balance;

use crate::{candidates::Candidates, rng::Rng};

use self::{first::First, hash::Hashed, least_request::LeastRequest, least_time::LeastTime, round_robin::RoundRobin};

pub use key::KeyHash;
pub(crate) use table::Hashing;

/// What a pick goes by beside the candidates.
pub struct Occasion<'a> {
    /// The request's hash key, where it has one.
    pub key: Option<KeyHash>,
    /// The present, or a moment of the request shortly before.
    pub now: Instant,
    /// Chance.
    pub rng: &'a mut Rng,
}

/// Picks an endpoint. State belongs to one worker; time and chance come in from outside.
pub trait Balancer {
    /// Index into `candidates`; none only when they are empty.
    fn pick(&mut self, candidates: &Candidates, occasion: Occasion<'_>) -> Option<usize>;
}

/// The balancer of a configuration; `hashing` is the cluster's, where it hashes. Where a plugin
/// decides, this one stands in for it: round robin.
pub(crate) fn balancer(balance: &Balance, hashing: Option<&Arc<Hashing>>) -> Box<dyn Balancer> {
    match (balance, hashing) {
        (Balance::Hash(hash), Some(hashing)) => Box::new(Hashed::new(Arc::clone(hashing), hash.balance_factor)),
        (Balance::Random | Balance::Hash(_), _) => Box::new(Random),
        (Balance::LeastRequest(choices), _) => Box::new(LeastRequest::new(*choices)),
        (Balance::LeastTime { decay }, _) => Box::new(LeastTime::new(*decay)),
        (Balance::First { max_requests }, _) => Box::new(First::new(*max_requests)),
        (Balance::RoundRobin | Balance::Plugin(_), _) => Box::new(RoundRobin::default()),
    }
}

/// At random by weight, in constant time.
struct Random;

impl Balancer for Random {
    fn pick(&mut self, candidates: &Candidates, occasion: Occasion<'_>) -> Option<usize> {
        candidates.draw(occasion.rng)
    }
}

/// Two endpoints drawn by weight, the second another one wherever there is another.
fn two(candidates: &Candidates, rng: &mut Rng) -> Option<(usize, usize)> {
    let first = candidates.draw(rng)?;
    Some((first, other_than(first, candidates, rng)?))
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

/// Requests in flight at a candidate.
fn in_flight(candidates: &Candidates, index: usize) -> u32 {
    #[cfg(test)]
    tests::count_look();
    candidates.get(index).map_or(0, |endpoint| endpoint.in_flight())
}

#[cfg(test)]
mod tests;
