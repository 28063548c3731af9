//! How often and how soon a request may be sent again: a budget that workers share, and waits that
//! keep clients from coming back all at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use weir_config::Backoff;

use crate::rng::Rng;

/// Seconds that a request and a retry count.
pub(crate) const WINDOW: u64 = 10;

/// Bits of a count; more in one second count no further.
const COUNT_BITS: u32 = 20;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const STAMP: u64 = (1 << (64 - 2 * COUNT_BITS)) - 1;

/// How many retries there may be: a share of the requests of the last ten seconds, and a few a second
/// in any case, so that endpoints in trouble get little more than the requests they would get anyway
/// (as in Finagle and linkerd).
#[derive(Debug, Clone)]
pub struct RetryBudget {
    config: weir_config::RetryBudget,
    counts: Arc<Counts>,
}

/// Requests of the last ten seconds, and what they were given beyond their first attempts: one word a
/// second, which holds the second and both counts, so that all change at once.
#[derive(Debug)]
pub(crate) struct Counts {
    origin: Instant,
    seconds: [AtomicU64; WINDOW as usize],
}

impl RetryBudget {
    /// Nothing spent. No request may be counted that came before `origin`.
    pub fn new(config: weir_config::RetryBudget, origin: Instant) -> Self {
        Self { config, counts: Arc::new(Counts::new(origin)) }
    }

    /// The same counts under another configuration.
    pub fn succeed(&self, config: weir_config::RetryBudget) -> Self {
        Self { config, counts: Arc::clone(&self.counts) }
    }

    /// Count a request that came at `now`.
    pub fn deposit(&self, now: Instant) {
        self.counts.deposit(now);
    }

    /// Whether there may be a retry at `now`; it is counted when there may.
    pub fn withdraw(&self, now: Instant) -> bool {
        self.counts.withdraw(now, |requests| self.allowed(requests))
    }

    /// Retries counted in the window that ends at `now`, and how many there may be.
    pub fn usage(&self, now: Instant) -> (u64, u64) {
        let (requests, retries) = self.counts.sum(self.counts.second(now));
        (retries, self.allowed(requests))
    }

    fn allowed(&self, requests: u64) -> u64 {
        requests * u64::from(self.config.percent) / 100 + u64::from(self.config.min_per_second) * WINDOW
    }
}

impl Counts {
    /// Nothing counted. No request may be counted that came before `origin`.
    pub(crate) fn new(origin: Instant) -> Self {
        Self { origin, seconds: Default::default() }
    }

    /// Count a request that came at `now`.
    pub(crate) fn deposit(&self, now: Instant) {
        self.add(self.second(now), 1, 0);
    }

    /// Whether there may be one more at `now` of what so many are `allowed` of, by the requests there were. It
    /// is counted when there may.
    ///
    /// It is counted before the window is summed up, and taken back where that was too much: of
    /// workers that ask at once, the last sees what the others took.
    pub(crate) fn withdraw(&self, now: Instant, allowed: impl FnOnce(u64) -> u64) -> bool {
        let second = self.second(now);
        self.add(second, 0, 1);
        let (requests, given) = self.sum(second);
        let within = given <= allowed(requests);
        if !within {
            self.take_back(second);
        }
        within
    }

    /// What was withdrawn at `now` was not used.
    pub(crate) fn give_back(&self, now: Instant) {
        self.take_back(self.second(now));
    }

    /// What was withdrawn in the window that ends at `now`.
    pub(crate) fn given(&self, now: Instant) -> u64 {
        self.sum(self.second(now)).1
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_secs() & STAMP
    }

    fn at(&self, second: u64) -> Option<&AtomicU64> {
        self.seconds.get(usize::try_from(second % WINDOW).ok()?)
    }

    fn add(&self, second: u64, requests: u64, retries: u64) {
        self.change(second, |(had_requests, had_retries)| {
            ((had_requests + requests).min(COUNT), (had_retries + retries).min(COUNT))
        });
    }

    fn take_back(&self, second: u64) {
        self.change(second, |(requests, retries)| (requests, retries.saturating_sub(1)));
    }

    /// Change a second's counts, unless its place is taken by a later one.
    fn change(&self, second: u64, change: impl Fn((u64, u64)) -> (u64, u64)) {
        let Some(word) = self.at(second) else { return };
        let _ = word.fetch_update(SeqCst, SeqCst, |word| {
            let (stamp, counts) = unpack(word);
            let age = second.wrapping_sub(stamp) & STAMP;
            let counts = if age == 0 { counts } else { (0, 0) };
            (age <= STAMP / 2).then(|| pack(second, change(counts)))
        });
    }

    fn sum(&self, second: u64) -> (u64, u64) {
        let words = self.seconds.iter().map(|word| unpack(word.load(SeqCst)));
        let within = words.filter(|(stamp, _)| second.wrapping_sub(*stamp) & STAMP < WINDOW);
        within.fold((0, 0), |sum, (_, counts)| (sum.0 + counts.0, sum.1 + counts.1))
    }
}

fn pack(stamp: u64, (requests, retries): (u64, u64)) -> u64 {
    stamp << (2 * COUNT_BITS) | requests << COUNT_BITS | retries
}

fn unpack(word: u64) -> (u64, (u64, u64)) {
    (word >> (2 * COUNT_BITS), (word >> COUNT_BITS & COUNT, word & COUNT))
}

/// How long to wait before a further attempt, the first of which is number 1: any time up to a bound
/// that doubles ("full jitter", Brooker, "Exponential backoff and jitter", 2015).
pub fn backoff(config: Backoff, number: u32, rng: &mut Rng) -> Duration {
    let doubled = 1_u32.checked_shl(number.saturating_sub(1)).unwrap_or(u32::MAX);
    let most = config.base.saturating_mul(doubled).min(config.max);
    most.mul_f64(rng.fraction())
}

#[cfg(test)]
mod tests;
