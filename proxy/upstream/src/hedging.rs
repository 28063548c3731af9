//! Another attempt beside one that is slow: how long attempts took of late, so that slow is what most are
//! not, and how many hedges there may be. Shared by the workers of a cluster, without a lock on their side.

use std::{
    array,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    latency::{BUCKETS, Latencies, bucket},
    retry::{Counts, WINDOW},
};

/// What an attempt counts at first. Once a second it counts a 64th less, so that attempts of about the
/// last minute count.
const WEIGHT: u64 = 64;
const SECOND: Duration = Duration::from_secs(1);

/// The percentiles that can be asked for.
const LOWEST: u32 = 50;
const PERCENTILES: usize = 50;

/// What a cluster knows for hedging. It outlives reloads.
#[derive(Debug)]
pub struct Hedging {
    counts: Counts,
    buckets: [AtomicU64; BUCKETS],
    /// As of the last second.
    attempts: AtomicU64,
    /// Microseconds, as of the last second, from the 50th percentile on.
    percentiles: [AtomicU64; PERCENTILES],
    aged: Mutex<Instant>,
}

impl Hedging {
    /// Nothing known, nothing spent. Nothing may be counted that was before `origin`.
    pub fn new(origin: Instant) -> Self {
        Self {
            counts: Counts::new(origin),
            buckets: array::from_fn(|_| AtomicU64::new(0)),
            attempts: AtomicU64::new(0),
            percentiles: array::from_fn(|_| AtomicU64::new(0)),
            aged: Mutex::new(origin),
        }
    }

    /// Count a request that might be hedged, which came at `now`.
    pub fn deposit(&self, now: Instant) {
        self.counts.deposit(now);
    }

    /// Whether there may be a hedge at `now`, where of a hundred requests of the last ten seconds
    /// `at_most` so many may have one, and one a second in any case. It is counted when there may.
    pub fn withdraw(&self, now: Instant, at_most: u32) -> bool {
        self.counts.withdraw(now, |requests| (requests * u64::from(at_most) / 100).max(WINDOW))
    }

    /// The hedge withdrawn at `now` was not made.
    pub fn give_back(&self, now: Instant) {
        self.counts.give_back(now);
    }

    /// Take note of how long an attempt took, or of how long it had taken when it was given up.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.buckets.get(bucket(micros)) {
            count.fetch_add(WEIGHT, Relaxed);
        }
    }

    /// How many attempts the percentiles are of.
    pub fn attempts(&self) -> u64 {
        self.attempts.load(Relaxed)
    }

    /// What so many percent (50 to 99) of the attempts did not exceed; none where they are fewer than `least`.
    pub fn percentile(&self, percent: u32, least: u32) -> Option<Duration> {
        let place = usize::try_from(percent.checked_sub(LOWEST)?).ok()?;
        let enough = self.attempts() >= u64::from(least.max(1));
        enough.then(|| self.percentiles.get(place).map(|micros| Duration::from_micros(micros.load(Relaxed))))?
    }

    /// Hedges counted in the ten seconds that end at `now`.
    pub fn made(&self, now: Instant) -> u64 {
        self.counts.given(now)
    }

    /// Let time pass: once a second the percentiles are taken anew, and what was before counts less. To be
    /// called a few times a second.
    pub(crate) fn tick(&self, now: Instant) {
        let mut aged = self.aged.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(*aged) < SECOND {
            return;
        }
        *aged = now;
        let latencies = Latencies(array::from_fn(|place| self.count(place)));
        let weight = latencies.count();
        self.attempts.store(weight / WEIGHT, Relaxed);
        if weight == 0 {
            return;
        }
        for (percent, kept) in (LOWEST..).zip(&self.percentiles) {
            kept.store(latencies.percentile(percent).unwrap_or(0), Relaxed);
        }
        // What is added meanwhile stays.
        for (count, had) in self.buckets.iter().zip(&latencies.0) {
            count.fetch_sub(had.div_ceil(WEIGHT), Relaxed);
        }
    }

    fn count(&self, place: usize) -> u64 {
        self.buckets.get(place).map_or(0, |count| count.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(hedging: &Hedging, origin: Instant, range: std::ops::RangeInclusive<u64>) {
        range.for_each(|second| hedging.tick(origin + Duration::from_secs(second)));
    }

    #[test]
    fn slow_is_what_most_attempts_are_not() {
        let origin = Instant::now();
        let hedging = Hedging::new(origin);
        (0..90).for_each(|_| hedging.observe(Duration::from_millis(10)));
        (0..10).for_each(|_| hedging.observe(Duration::from_millis(800)));
        assert_eq!(hedging.percentile(90, 1), None, "nothing is known before the first second is over");
        seconds(&hedging, origin, 1..=1);
        let [most, slowest] = [90, 95].map(|percent| hedging.percentile(percent, 100).unwrap().as_millis());
        assert!((10..=11).contains(&most) && (800..=900).contains(&slowest), "{most} {slowest}");
        assert_eq!(hedging.percentile(90, 101), None, "too few");
    }

    #[test]
    fn what_is_long_past_counts_no_more() {
        let origin = Instant::now();
        let hedging = Hedging::new(origin);
        (0..1_000).for_each(|_| hedging.observe(Duration::from_secs(1)));
        seconds(&hedging, origin, 1..=60);
        assert!((300..450).contains(&hedging.attempts()), "{}", hedging.attempts());
        (0..100).for_each(|_| hedging.observe(Duration::from_millis(1)));
        seconds(&hedging, origin, 61..=360);
        assert!(hedging.percentile(99, 1).is_none_or(|time| time >= Duration::from_millis(1)));
        seconds(&hedging, origin, 361..=2_000);
        assert_eq!((hedging.attempts(), hedging.percentile(50, 1)), (0, None));
    }

    #[test]
    fn a_hedge_that_is_not_made_is_not_counted() {
        let origin = Instant::now();
        let hedging = Hedging::new(origin);
        assert_eq!((0..20).filter(|_| hedging.withdraw(origin, 10)).count(), 10);
        hedging.give_back(origin);
        assert_eq!((0..20).filter(|_| hedging.withdraw(origin, 10)).count(), 1);
    }

    proptest! {
        #[test]
        fn there_are_no_more_hedges_than_may_be(requests in 0_u64..2_000, at_most in 1_u32..=100) {
            let origin = Instant::now();
            let hedging = Hedging::new(origin);
            (0..requests).for_each(|_| hedging.deposit(origin));
            let made = (0..3_000).filter(|_| hedging.withdraw(origin, at_most)).count() as u64;
            prop_assert_eq!(made, (requests * u64::from(at_most) / 100).max(10));
        }
    }
}
