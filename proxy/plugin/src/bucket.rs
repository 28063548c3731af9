//! A token bucket of time: what calls may take of their thread. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// Fills by a share of the time that passes, up to its size, and may be overdrawn by one call.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Thousandths of the time that passes.
    share: u32,
    size: i64,
    left: i64,
    filled: Instant,
}

impl Bucket {
    /// A full one. With a share of 1,000 it is never empty.
    pub(crate) fn new(share: u32, size: Duration, now: Instant) -> Self {
        let size = nanos(size);
        Self { share, size, left: size, filled: now }
    }

    /// Whether anything is left.
    pub(crate) fn has_some(&mut self, now: Instant) -> bool {
        let passed = nanos(now.saturating_duration_since(self.filled));
        self.filled = self.filled.max(now);
        self.left = self.left.saturating_add(passed.saturating_mul(i64::from(self.share)) / 1_000).min(self.size);
        self.left > 0 || self.share >= 1_000
    }

    /// This much was used.
    pub(crate) fn take(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(nanos(time));
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Milliseconds that calls of this length get of ten seconds.
    fn granted(share: u32, call: Duration) -> u128 {
        let begun = Instant::now();
        let (mut bucket, mut now, mut used) = (Bucket::new(share, 100 * MS, begun), begun, Duration::ZERO);
        while now < begun + 10_000 * MS {
            if bucket.has_some(now) {
                bucket.take(call);
                used += call;
                now += call;
            } else {
                now += MS / 10;
            }
        }
        used.as_millis()
    }

    #[test]
    fn calls_get_their_share_and_what_was_saved() {
        assert!((2_550..=2_650).contains(&granted(250, 5 * MS)), "{}", granted(250, 5 * MS));
        assert!((100..=170).contains(&granted(5, 10 * MS)), "{}", granted(5, 10 * MS));
    }

    #[test]
    fn the_whole_is_no_bound() {
        assert!(granted(1_000, 5 * MS) >= 10_000);
    }

    #[test]
    fn short_calls_never_empty_it() {
        let mut bucket = Bucket::new(250, 100 * MS, Instant::now());
        let mut now = Instant::now();
        for _ in 0..100_000 {
            assert!(bucket.has_some(now));
            bucket.take(Duration::from_micros(3));
            now += Duration::from_micros(20);
        }
    }
}
