//! The ring: places of endpoints on a circle of 2^32, by endpoint name, so that every worker and every
//! process has the same. It is kept for as long as the set of candidates is the same.

use weir_sdk::{Candidates, hash};

/// Most places of a ring. A large set gets fewer an endpoint; the bound on load evens that out.
const MOST_PLACES: u32 = 16_384;

/// Endpoints placed in one call: a call has a deadline.
const STEP: usize = 512;

/// Places, each a hash (high half) with the index of its endpoint (low half), sorted.
#[derive(Debug)]
pub struct Ring {
    replicas: u32,
    epoch: Option<u64>,
    places: Vec<u64>,
    /// Weights of the endpoints that are not placed yet, from the last one on.
    unplaced: Vec<u32>,
    most_weight: u32,
}

impl Ring {
    /// An empty ring. The heaviest endpoint gets this many places, others by their weight.
    pub const fn new(replicas: u32) -> Self {
        Self { replicas, epoch: None, places: Vec::new(), unplaced: Vec::new(), most_weight: 1 }
    }

    /// Whether the ring stands for this set. A set of more than [`STEP`] endpoints takes several calls.
    pub fn ready(&mut self, epoch: u64, candidates: &Candidates) -> bool {
        if self.epoch != Some(epoch) {
            self.start(epoch, candidates);
        } else if self.unplaced.is_empty() {
            return true;
        }
        let replicas = self.replicas_each(candidates.len());
        for _ in 0..STEP {
            let Some(weight) = self.unplaced.pop() else {
                break;
            };
            let places = u64::from(replicas) * u64::from(weight) / u64::from(self.most_weight);
            self.place(self.unplaced.len(), places.max(1), candidates);
        }
        if self.unplaced.is_empty() {
            self.unplaced = Vec::new();
            self.places.shrink_to_fit();
            self.places.sort_unstable();
        }
        self.unplaced.is_empty()
    }

    /// Endpoints clockwise from a key's place, once around, repeated where they have several places.
    pub fn from(&self, key: u64) -> impl Iterator<Item = u32> {
        let start = self.places.partition_point(|place| place >> 32 < key >> 32);
        let (before, after) = self.places.split_at_checked(start).unwrap_or_default();
        after.iter().chain(before).map(|place| *place as u32)
    }

    fn start(&mut self, epoch: u64, candidates: &Candidates) {
        self.epoch = Some(epoch);
        self.places.clear();
        self.unplaced.clear();
        self.unplaced.extend(candidates.all_figures().map(|figures| figures.weight));
        self.most_weight = self.unplaced.iter().copied().max().unwrap_or(1).max(1);
    }

    /// Halved until the ring fits, so that a set that grows by one seldom changes it.
    fn replicas_each(&self, len: u32) -> u32 {
        let mut replicas = self.replicas;
        while replicas > 1 && replicas.saturating_mul(len) > MOST_PLACES {
            replicas /= 2;
        }
        replicas
    }

    fn place(&mut self, index: usize, places: u64, candidates: &Candidates) {
        let Ok(index) = u32::try_from(index) else {
            return;
        };
        let Some(name) = candidates.name(index) else {
            return;
        };
        let start = hash::bytes(name.as_bytes());
        for replica in 1..=places {
            let place = hash::mix(start.wrapping_add(replica.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            self.places.push(place >> 32 << 32 | u64::from(index));
        }
    }
}
