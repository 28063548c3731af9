//! What every key has used: bounded, in shards.
//!
//! A key that has used nothing is as good as unknown, and is forgotten when its place is wanted. Where a shard is full
//! of keys that have, the one goes that has used least of those looked at: whoever comes with ever new keys drives
//! out those keys, and not the one that is held back.

use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use crate::meter::{Meter, Usage};

/// Keys that a shard has room for at least, where there is more than one.
const SHARD: usize = 1_024;
/// Shards at most.
const SHARDS: usize = 16;
/// Keys looked at to find the one that has used least.
const LOOKS: usize = 16;

/// Whose allowance it is: a digest under a secret of the limit's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub(crate) u64);

/// What became of requests, and how many keys are remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Passed, though another limit may have refused them.
    pub allowed: u64,
    /// Refused: the rate was used up.
    pub limited: u64,
    /// Refused: as many of the key were in flight as may be.
    pub busy: u64,
    /// Refused: no room for another key, since all that are remembered have requests in flight.
    pub full: u64,
    /// Keys given up though they had used some of their allowance.
    pub evicted: u64,
    /// Keys remembered.
    pub keys: usize,
}

/// One key.
#[derive(Debug, Default)]
pub struct Entry {
    /// What it has used of its rate.
    pub usage: Usage,
    in_flight: u32,
}

impl Entry {
    /// Its requests under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    fn used(&self, meter: Option<&Meter>, now: u64) -> u64 {
        meter.map_or(0, |meter| meter.used(&self.usage, now))
    }
}

/// A part of the keys.
#[derive(Debug, Default)]
pub struct Shard {
    /// Those with requests in flight before those without.
    entries: IndexMap<Key, Entry, RandomState>,
    /// How many have requests in flight.
    busy: usize,
    capacity: usize,
    hand: usize,
    /// Of this part; `keys` is not kept.
    pub figures: Figures,
}

impl Shard {
    /// A key that is remembered.
    pub fn known(&mut self, key: Key) -> Option<&mut Entry> {
        self.entries.get_mut(&key)
    }

    /// What is known of a key; none where there is no room for it.
    pub fn entry(&mut self, key: Key, meter: Option<&Meter>, now: u64) -> Option<&mut Entry> {
        if !self.entries.contains_key(&key) && self.entries.len() >= self.capacity && !self.make_room(meter, now) {
            return None;
        }
        Some(self.entries.entry(key).or_default())
    }

    /// One more request of a key that is remembered is under way.
    pub fn begin(&mut self, key: Key) {
        let Some((place, _, entry)) = self.entries.get_full_mut(&key) else { return };
        entry.in_flight += 1;
        if entry.in_flight == 1 {
            self.entries.swap_indices(place, self.busy);
            self.busy += 1;
        }
    }

    /// A request of a key is over.
    pub fn end(&mut self, key: Key) {
        let Some((place, _, entry)) = self.entries.get_full_mut(&key) else { return };
        if entry.in_flight == 0 {
            return;
        }
        entry.in_flight -= 1;
        if entry.in_flight == 0 {
            self.busy -= 1;
            self.entries.swap_indices(place, self.busy);
        }
    }

    /// Forget the key that has used least of a few, among those without requests in flight.
    fn make_room(&mut self, meter: Option<&Meter>, now: u64) -> bool {
        let idle = self.entries.len() - self.busy;
        let places = (0..idle.min(LOOKS)).map(|step| self.busy + (self.hand + step) % idle);
        let looked_at = places.filter_map(|place| {
            let (_, entry) = self.entries.get_index(place)?;
            Some((entry.used(meter, now), place))
        });
        let Some((used, place)) = looked_at.min() else { return false };
        // The last takes its place, which is an idle one as well.
        self.entries.swap_remove_index(place);
        self.hand = (self.hand + LOOKS) % idle;
        self.figures.evicted += u64::from(used > 0);
        true
    }

    fn sweep(&mut self, meter: Option<&Meter>, now: u64) {
        self.entries.retain(|_, entry| entry.in_flight > 0 || entry.used(meter, now) > 0);
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }
}

/// A lock on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Locked(Mutex<Shard>);

/// Every key of a limit.
#[derive(Debug)]
pub struct Table {
    shards: Box<[Locked]>,
}

impl Table {
    /// For so many keys, and at least one.
    pub fn new(capacity: usize) -> Self {
        let number = (capacity / SHARD).clamp(1, SHARDS);
        let shard = |_| {
            let capacity = capacity.div_ceil(number).max(1);
            Locked(Mutex::new(Shard { capacity, ..Shard::default() }))
        };
        Self { shards: (0..number).map(shard).collect() }
    }

    /// The shard of a key, held.
    pub fn shard(&self, key: Key) -> Option<MutexGuard<'_, Shard>> {
        // The map within goes by the low and the highest bits.
        let place = (key.0 >> 32) as usize % self.shards.len().max(1);
        self.shards.get(place).map(Locked::hold)
    }

    /// Forget keys that have used nothing of their allowance.
    pub fn sweep(&self, meter: Option<&Meter>, now: u64) {
        self.shards.iter().for_each(|shard| shard.hold().sweep(meter, now));
    }

    /// Over all shards.
    pub fn figures(&self) -> Figures {
        self.shards.iter().fold(Figures::default(), |sum, shard| {
            let shard = shard.hold();
            let of = shard.figures;
            Figures {
                allowed: sum.allowed + of.allowed,
                limited: sum.limited + of.limited,
                busy: sum.busy + of.busy,
                full: sum.full + of.full,
                evicted: sum.evicted + of.evicted,
                keys: sum.keys + shard.entries.len(),
            }
        })
    }
}

impl Locked {
    fn hold(&self) -> MutexGuard<'_, Shard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
