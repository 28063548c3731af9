//! At most so many events a second, over all threads and without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// A window of one second and what passed in it.
pub(crate) struct Rate {
    most: u64,
    /// The second (plus one) in the upper half, its count in the lower.
    window: AtomicU64,
}

impl Rate {
    pub(crate) fn new(most: u64) -> Self {
        Self { most, window: AtomicU64::new(0) }
    }

    /// Whether one more may pass, this long after some fixed moment.
    pub(crate) fn pass(&self, now: Duration) -> bool {
        let second = ((now.as_secs() + 1) & 0xffff_ffff) << 32;
        let step = |window: u64| match window & !0xffff_ffff == second {
            true if window - second >= self.most => None,
            true => Some(window + 1),
            false => Some(second + 1),
        };
        self.window.fetch_update(Relaxed, Relaxed, step).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own_allowance() {
        let rate = Rate::new(2);
        let passed = |millis| rate.pass(Duration::from_millis(millis));
        assert!([0, 10, 20].map(passed) == [true, true, false]);
        assert!([1000, 1001, 1999].map(passed) == [true, true, false]);
    }
}
