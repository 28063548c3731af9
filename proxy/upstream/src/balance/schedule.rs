//! Which of several weights is next, as evenly as whole turns allow.
//!
//! The k-th turn (from 0) of a weight w among a total of W belongs into the slots from ⌊kW/w⌋ to
//! ⌈(k+1)W/w⌉. Taking in every slot the open turn whose window closes first keeps all windows, since
//! the weights fill the slots exactly (Baruah et al., "Proportionate progress", 1996): at no moment is
//! a weight a whole turn ahead of its share or behind it. Both orders are heaps, so a step costs the
//! logarithm of the number of weights.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

/// An endless schedule.
#[derive(Debug)]
pub(super) struct Schedule {
    slot: u64,
    total: u64,
    sequences: Box<[Sequence]>,
    /// Turns whose window is open, by its end.
    open: BinaryHeap<Reverse<Event>>,
    /// Turns whose window is still to come, by its beginning.
    ahead: BinaryHeap<Reverse<Event>>,
}

/// The turns of one weight: the exact moment of its next one is `begin + rest / weight`.
#[derive(Debug)]
struct Sequence {
    weight: u64,
    begin: u64,
    rest: u64,
}

/// Something about a sequence at some slot.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    slot: u64,
    sequence: usize,
}

impl Schedule {
    /// For weights above 0; a step gives their index.
    pub(super) fn new(weights: impl Iterator<Item = u64>) -> Self {
        let sequences: Box<[_]> = weights.map(Sequence::new).collect();
        let total = sequences.iter().map(|sequence| sequence.weight).sum();
        let first = |(index, sequence): (usize, &Sequence)| {
            let (begin, rest) = sequence.next(total);
            Reverse(Event::new(begin + u64::from(rest > 0), index))
        };
        Self {
            slot: 0,
            total,
            open: sequences.iter().enumerate().map(first).collect(),
            ahead: BinaryHeap::with_capacity(sequences.len()),
            sequences,
        }
    }

    /// Slots after which everything repeats.
    pub(super) fn cycle(&self) -> u64 {
        self.total
    }

    /// Whose turn it is; none where there are no weights.
    pub(super) fn step(&mut self) -> Option<usize> {
        while let Some(index) = self.due() {
            self.enter(index);
        }
        let Reverse(turn) = self.open.pop()?;
        self.slot += 1;
        let sequence = self.sequences.get_mut(turn.sequence)?;
        (sequence.begin, sequence.rest) = sequence.next(self.total);
        if sequence.begin <= self.slot {
            self.enter(turn.sequence);
        } else {
            let begin = Event::new(sequence.begin, turn.sequence);
            self.ahead.push(Reverse(begin));
        }
        Some(turn.sequence)
    }

    /// A sequence whose next window begins now.
    fn due(&mut self) -> Option<usize> {
        let Reverse(first) = self.ahead.peek()?;
        if first.slot > self.slot {
            return None;
        }
        self.ahead.pop().map(|Reverse(event)| event.sequence)
    }

    fn enter(&mut self, index: usize) {
        if let Some(sequence) = self.sequences.get(index) {
            let (begin, rest) = sequence.next(self.total);
            let end = Event::new(begin + u64::from(rest > 0), index);
            self.open.push(Reverse(end));
        }
    }
}

impl Sequence {
    fn new(weight: u64) -> Self {
        Self { weight: weight.max(1), begin: 0, rest: 0 }
    }

    /// The exact moment of the turn after this one.
    fn next(&self, total: u64) -> (u64, u64) {
        let rest = self.rest + total % self.weight;
        let begin = self.begin + total / self.weight;
        if rest >= self.weight { (begin + 1, rest - self.weight) } else { (begin, rest) }
    }
}

impl Event {
    fn new(slot: u64, sequence: usize) -> Self {
        Self { slot, sequence }
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(test)]
        tests::count_comparison();
        (self.slot, self.sequence).cmp(&(other.slot, other.sequence))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        static COMPARISONS: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn count_comparison() {
        COMPARISONS.set(COMPARISONS.get() + 1);
    }

    fn comparisons_a_step(weights: impl Iterator<Item = u64>) -> u64 {
        let mut schedule = Schedule::new(weights);
        COMPARISONS.set(0);
        for _ in 0..20_000 {
            schedule.step();
        }
        COMPARISONS.get() / 20_000
    }

    proptest! {
        #[test]
        fn no_weight_is_ever_a_turn_ahead_or_behind(
            weights in prop::collection::vec(1_u64..1_000, 1..20),
            steps in 1_usize..2_000,
        ) {
            let total: u64 = weights.iter().sum();
            let mut schedule = Schedule::new(weights.iter().copied());
            let mut taken = vec![0_u64; weights.len()];
            for slot in 1..=steps as u64 {
                taken[schedule.step().unwrap()] += 1;
                for (count, weight) in taken.iter().zip(&weights) {
                    prop_assert!((count * total).abs_diff(slot * weight) < total);
                }
            }
        }
    }

    #[test]
    fn a_cycle_gives_every_weight_its_exact_share_from_anywhere() {
        let weights = [5, 1, 1, 3];
        let mut schedule = Schedule::new(weights.into_iter());
        assert!((0..7).all(|_| schedule.step().is_some()));
        let mut taken = [0; 4];
        (0..schedule.cycle()).for_each(|_| taken[schedule.step().unwrap()] += 1);
        assert_eq!(taken, weights);
    }

    #[test]
    fn a_step_costs_the_logarithm_of_the_number_of_weights() {
        let few = comparisons_a_step(1..=10);
        let many = comparisons_a_step(1..=10_000);
        assert!(many <= 60, "{many} comparisons a step among 10,000, {few} among 10");
        assert!(many <= few + 40, "{many} comparisons a step among 10,000, {few} among 10");
    }

    #[test]
    fn no_weights_give_no_turn() {
        assert_eq!(Schedule::new(std::iter::empty()).step(), None);
    }
}
