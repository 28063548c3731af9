//! Smooth weighted round robin.
//!
//! Candidates of the same weight take turns in a group; a [`Schedule`] says which group is next. So a
//! pick costs nothing but a step where all weigh the same, and the logarithm of the number of
//! *different* weights elsewhere. Over any run of n picks an endpoint is within two of its share.

use std::collections::BTreeMap;

use super::{Balancer, Occasion, recent::Recent, schedule::Schedule};
use crate::{candidates::Candidates, rng::Rng};

/// Most steps that a rotation is turned before its first pick.
const MOST_STEPS: u64 = 64;

/// Round robin over whatever sets of candidates come by.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    rotations: Recent<Rotation>,
}

impl Balancer for RoundRobin {
    #[inline]
    fn pick(&mut self, candidates: &Candidates, occasion: Occasion<'_>) -> Option<usize> {
        self.turn(candidates, occasion.rng)
    }
}

impl RoundRobin {
    #[inline]
    fn turn(&mut self, candidates: &Candidates, rng: &mut Rng) -> Option<usize> {
        if candidates.is_passing() {
            return candidates.draw(rng);
        }
        self.rotations.of(candidates.epoch(), || Rotation::new(candidates, rng))?.step()
    }
}

/// Turns among one set of candidates.
#[derive(Debug)]
enum Rotation {
    /// All weigh the same.
    Even(Turn),
    /// They do not.
    Weighted { schedule: Schedule, groups: Box<[Group]> },
}

/// Candidates of the same weight.
#[derive(Debug)]
struct Group {
    members: Box<[usize]>,
    turn: Turn,
}

impl Rotation {
    /// Starts anywhere, since every worker has its own: together they would favour the first.
    fn new(candidates: &Candidates, rng: &mut Rng) -> Self {
        if candidates.is_equal() {
            return Self::Even(Turn::new(candidates.len(), rng));
        }
        let mut by_weight: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (index, &weight) in candidates.weights().iter().enumerate() {
            by_weight.entry(weight).or_default().push(index);
        }
        let weights = by_weight.iter().map(|(&weight, members)| u64::from(weight) * members.len() as u64);
        let mut schedule = Schedule::new(weights);
        for _ in 0..rng.below(schedule.cycle().min(MOST_STEPS)) {
            schedule.step();
        }
        let groups = by_weight.into_values();
        Self::Weighted { schedule, groups: groups.map(|members| Group::new(members, rng)).collect() }
    }

    #[inline]
    fn step(&mut self) -> Option<usize> {
        match self {
            Self::Even(turn) => turn.step(),
            Self::Weighted { schedule, groups } => {
                let group = groups.get_mut(schedule.step()?)?;
                let member = group.turn.step()?;
                group.members.get(member).copied()
            }
        }
    }
}

impl Group {
    fn new(members: Vec<usize>, rng: &mut Rng) -> Self {
        Self { turn: Turn::new(members.len(), rng), members: members.into() }
    }
}

/// Indices below `len`, round and round.
#[derive(Debug)]
struct Turn {
    next: usize,
    len: usize,
}

impl Turn {
    fn new(len: usize, rng: &mut Rng) -> Self {
        Self { next: rng.index(len), len }
    }

    /// None when there is no index.
    #[inline]
    fn step(&mut self) -> Option<usize> {
        let index = self.next;
        let after = index + 1;
        self.next = if after < self.len { after } else { 0 };
        (index < self.len).then_some(index)
    }
}

#[cfg(test)]
mod tests;
