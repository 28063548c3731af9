//! A bucket of tokens: each request takes one, and they come back one by one up to a burst.
//!
//! The bucket is one number, the time at which it will be full again (the generic cell rate algorithm of ITU-T
//! I.371): taking a token moves it on by the time that a token takes to come back.

use std::time::Duration;

use crate::quota::{Quota, nanoseconds};

/// No bucket takes longer to fill, so that no sum of times overflows: more than a century.
const LONGEST: u64 = u64::MAX / 4;

/// How often tokens come, and how many there may be. Times of buckets are nanoseconds since any one moment.
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    interval: u64,
    depth: u64,
}

impl TokenBucket {
    /// `count` tokens in each `per`, up to `burst` of them. Between whole nanoseconds, tokens come later.
    pub fn new(count: u32, per: Duration, burst: u32) -> Self {
        let interval = nanoseconds(per).div_ceil(u64::from(count.max(1))).max(1);
        let depth = interval.saturating_mul(u64::from(burst.max(1))).min(LONGEST);
        Self { interval: interval.min(depth), depth }
    }

    /// Take a token out of a bucket that is full at `full`, and tell what is left; or how long until the next one
    /// comes.
    pub fn take(&self, full: &mut u64, now: u64) -> Result<Quota, Duration> {
        let next = (*full).max(now) + self.interval;
        let most = now + self.depth;
        if next > most {
            return Err(Duration::from_nanos(next - most));
        }
        *full = next;
        Ok(self.quota(next, now))
    }

    /// Put a token back.
    pub fn give_back(&self, full: &mut u64) {
        *full = full.saturating_sub(self.interval);
    }

    /// What a bucket holds that is full at `full`.
    pub fn quota(&self, full: u64, now: u64) -> Quota {
        let missing = full.saturating_sub(now);
        let remaining = self.depth.saturating_sub(missing) / self.interval;
        let until = match remaining {
            0 => (missing + self.interval).saturating_sub(self.depth),
            _ => missing,
        };
        Quota { remaining, until: Duration::from_nanos(until) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_passes_at_once_and_then_one_by_one() {
        let (bucket, mut full) = (TokenBucket::new(10, Duration::from_secs(1), 3), 0);
        for left in [2, 1, 0] {
            assert_eq!(bucket.take(&mut full, SECOND).unwrap().remaining, left);
        }
        assert_eq!(bucket.take(&mut full, SECOND), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(&mut full, SECOND + SECOND / 20), Err(Duration::from_millis(50)));
        assert!(bucket.take(&mut full, SECOND + SECOND / 10).is_ok());
        assert!(bucket.take(&mut full, SECOND + SECOND / 10).is_err());
    }

    #[test]
    fn a_quota_tells_when_there_is_more() {
        let (bucket, mut full) = (TokenBucket::new(10, Duration::from_secs(1), 2), 0);
        let quota = |remaining, until| Ok(Quota { remaining, until: Duration::from_millis(until) });
        assert_eq!(bucket.take(&mut full, 0), quota(1, 100));
        assert_eq!(bucket.take(&mut full, 0), quota(0, 100));
        assert_eq!(bucket.take(&mut full, 150_000_000), quota(0, 50));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (bucket, mut full) = (TokenBucket::new(1, Duration::from_secs(86_400), 1), 0);
        assert!(bucket.take(&mut full, 5).is_ok() && bucket.take(&mut full, 5).is_err());
        bucket.give_back(&mut full);
        assert!(bucket.take(&mut full, 5).is_ok());
    }

    #[test]
    fn the_longest_times_do_not_overflow() {
        let (bucket, mut full) = (TokenBucket::new(1, Duration::from_secs(86_400), u32::MAX), 0);
        let taken = (0..1_000_000).filter(|_| bucket.take(&mut full, LONGEST).is_ok()).count();
        assert_eq!(taken as u64, LONGEST / (86_400 * SECOND));
    }

    proptest! {
        /// The count of whatever passes between any two moments stays within the burst and what came meanwhile,
        /// and a request is refused only where one more would not.
        #[test]
        fn never_more_than_the_burst_and_what_comes_meanwhile(
            count in 1..1_000_u32,
            per in 1..10_000_u64,
            burst in 1..50_u32,
            steps in prop::collection::vec(0..200_000_000_u64, 1..300),
        ) {
            let bucket = TokenBucket::new(count, Duration::from_millis(per), burst);
            let (mut now, mut full, mut passed) = (0, 0, Vec::<u64>::new());
            let allowed = |since: u64, now: u64| {
                u64::from(burst) + u64::try_from(u128::from(now - since) * u128::from(count) / u128::from(per * 1_000_000)).unwrap()
            };
            for step in steps {
                now += step;
                match bucket.take(&mut full, now) {
                    Ok(_) => passed.push(now),
                    Err(wait) => {
                        let later = now + nanoseconds(wait);
                        prop_assert!(bucket.take(&mut full.clone(), later).is_ok());
                        prop_assert!(bucket.take(&mut full.clone(), later - 1).is_err());
                    }
                }
                for (index, since) in passed.iter().enumerate() {
                    prop_assert!((passed.len() - index) as u64 <= allowed(*since, now));
                }
            }
        }
    }
}
