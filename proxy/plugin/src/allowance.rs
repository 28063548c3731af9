//! When a call has had its time.
//!
//! The clock that ends calls ticks by the wall, but a thread that the system does not run meanwhile
//! gets nothing done: on a busy machine an innocent guest would pass its deadline. So half of the time
//! goes by the wall, which costs a call nothing, and the other half by what the thread has computed.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Time left to the call under way.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    /// To be computed once the wall's half has passed.
    computed: Duration,
    /// What the thread had computed then.
    since: Option<Duration>,
}

impl Allowance {
    /// A call begins; says after how many ticks [`Allowance::left`] is to be asked.
    pub(crate) fn begin(&mut self, deadline: Duration, tick: Duration) -> u64 {
        let half = deadline / 2;
        *self = Self { computed: half, since: None };
        micros(half) / micros(tick).max(1) + 1
    }

    /// Ticks after which to ask again; none when the call has had its time. `spent` is what the
    /// thread has computed in its life.
    pub(crate) fn left(&mut self, spent: Duration, tick: Duration) -> Option<u64> {
        let since = *self.since.get_or_insert(spent);
        let left = self.computed.checked_sub(spent.saturating_sub(since))?;
        // What a tick falls short of is not worth another one.
        let left = left.checked_sub(tick / 8).filter(|left| !left.is_zero())?;
        Some(micros(left).div_ceil(micros(tick).max(1)).max(1))
    }
}

impl Allowance {
    /// What the call that has ended now after so long by the wall has cost. One that was never asked about has computed
    /// for half of its time at most, however long its thread had to wait.
    pub(crate) fn spent(&self, took: Duration, tick: Duration) -> Duration {
        match self.since {
            None => took.min(self.computed + tick),
            Some(since) => took.min(self.computed + thread_time().saturating_sub(since)),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// CPU time of this thread; ever growing by the wall where the system cannot tell.
pub(crate) fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .or_else(|_| clock_gettime(ClockId::CLOCK_MONOTONIC))
        .map_or(Duration::MAX, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_thread_that_computes_all_the_time_ends_at_its_deadline() {
        let mut allowance = Allowance::default();
        assert_eq!(allowance.begin(10 * MS, MS), 6);
        assert_eq!(allowance.left(100 * MS, MS), Some(5));
        assert_eq!(allowance.left(105 * MS, MS), None);
    }

    #[test]
    fn a_thread_that_waits_for_the_processor_is_waited_for() {
        let mut allowance = Allowance::default();
        allowance.begin(10 * MS, MS);
        assert_eq!(allowance.left(100 * MS, MS), Some(5));
        assert_eq!(allowance.left(100 * MS, MS), Some(5));
        assert_eq!(allowance.left(103 * MS + MS / 2, MS), Some(2));
        assert_eq!(allowance.left(106 * MS, MS), None);
    }

    #[test]
    fn every_call_has_its_own() {
        let mut allowance = Allowance::default();
        allowance.begin(2 * MS, MS);
        assert_eq!(allowance.left(MS, MS), Some(1));
        assert_eq!(allowance.left(9 * MS, MS), None);
        allowance.begin(2 * MS, MS);
        assert_eq!(allowance.left(9 * MS, MS), Some(1));
    }

    #[test]
    fn a_tick_as_long_as_the_deadline_ends_it_within_two() {
        let mut allowance = Allowance::default();
        assert_eq!(allowance.begin(5 * MS, 5 * MS), 1);
        assert_eq!(allowance.left(100 * MS, 5 * MS), Some(1));
        assert_eq!(allowance.left(105 * MS - MS / 10, 5 * MS), None);
    }
}
