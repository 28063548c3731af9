//! The table of Maglev (Eisenbud et al., "Maglev: a fast and reliable software network load balancer",
//! 2016, section 3.4), with weights.
//!
//! Every endpoint has its own order of the slots, by an offset and a skip from the MD5 of its name, and
//! the endpoints take turns to fill the next one that is free. In a round the heaviest takes a turn,
//! others as often as their weight allows; in the first round each takes one.

use super::super::key::{KeyHash, digest};

/// A prime, so that every skip reaches every slot.
const SLOTS: u64 = 65_537;
const FREE: u32 = u32::MAX;

/// The index of an endpoint for every slot.
#[derive(Debug)]
pub(super) struct Maglev {
    slots: Box<[u32]>,
}

/// A key's slot, and others in an order of its own, without end.
pub(super) struct Walk<'a> {
    slots: &'a [u32],
    key: KeyHash,
    step: u64,
}

/// The turns of one endpoint.
struct Turns {
    weight: u64,
    /// What it may take: a turn for every time the weight of the heaviest.
    credit: u64,
    slot: u64,
    skip: u64,
}

impl Maglev {
    pub(super) fn new<'a>(members: impl Iterator<Item = (&'a str, u32)> + Clone) -> Self {
        let heaviest = members.clone().map(|(_, weight)| u64::from(weight)).max().unwrap_or(1);
        let mut turns: Vec<Turns> = members.map(|(name, weight)| Turns::new(name, weight.into(), heaviest)).collect();
        let mut slots = vec![FREE; SLOTS as usize];
        let mut free = if turns.is_empty() { 0 } else { SLOTS };
        while free > 0 {
            for (index, turns) in (0_u32..).zip(&mut turns) {
                turns.credit += turns.weight;
                if turns.credit >= heaviest && free > 0 {
                    turns.credit -= heaviest;
                    turns.fill(&mut slots, index);
                    free -= 1;
                }
            }
        }
        Self { slots: slots.into() }
    }

    #[cfg(test)]
    pub(super) fn slots(&self) -> &[u32] {
        &self.slots
    }

    pub(super) fn walk(&self, key: KeyHash) -> Walk<'_> {
        Walk { slots: &self.slots, key, step: 0 }
    }
}

impl Turns {
    fn new(name: &str, weight: u64, heaviest: u64) -> Self {
        let [offset, skip] = digest(name.as_bytes());
        Self { weight, credit: heaviest - weight, slot: offset % SLOTS, skip: skip % (SLOTS - 1) + 1 }
    }

    /// Take the next free slot. There is one.
    fn fill(&mut self, slots: &mut [u32], index: u32) {
        while let Some(slot) = slots.get_mut(self.slot as usize) {
            self.slot = (self.slot + self.skip) % SLOTS;
            if *slot == FREE {
                *slot = index;
                return;
            }
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        #[cfg(test)]
        super::tests::count_step();
        let slot = self.key.mixed(self.step) % SLOTS;
        self.step += 1;
        self.slots.get(slot as usize).map(|index| *index as usize)
    }
}
