//! When a call has had its time.
//!
//! The clock that ends calls ticks by the wall, but a thread that the system does not run meanwhile
//! gets nothing done: on a busy machine an innocent guest would pass its deadline. So half of the time
//! goes by the wall, which costs a call nothing, and the other half by what the thread has computed.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::clock::TICK;

/// Time left to the call under way, in ticks.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    /// To be computed once the wall's half has passed.
    computed: u32,
    /// What the thread had computed then.
    since: Option<Duration>,
}

impl Allowance {
    /// A call of so many ticks begins; says after how many [`Allowance::left`] is to be asked.
    pub(crate) fn begin(&mut self, ticks: u64) -> u64 {
        let computed = ticks / 2;
        *self = Self { computed: u32::try_from(computed).unwrap_or(u32::MAX), since: None };
        ticks - computed
    }

    /// Ticks after which to ask again; none when the call has had its time. `spent` is what the
    /// thread has computed in its life.
    pub(crate) fn left(&mut self, spent: Duration) -> Option<u64> {
        let since = *self.since.get_or_insert(spent);
        let left = (TICK * self.computed).checked_sub(spent.saturating_sub(since))?;
        let ticks = left.as_nanos().div_ceil(TICK.as_nanos());
        (ticks > 0).then(|| u64::try_from(ticks).unwrap_or(u64::MAX))
    }
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

    #[test]
    fn a_thread_that_computes_all_the_time_ends_at_its_deadline() {
        let mut allowance = Allowance::default();
        assert_eq!(allowance.begin(11), 6);
        assert_eq!(allowance.left(100 * TICK), Some(5));
        assert_eq!(allowance.left(105 * TICK), None);
    }

    #[test]
    fn a_thread_that_waits_for_the_processor_is_waited_for() {
        let mut allowance = Allowance::default();
        allowance.begin(11);
        assert_eq!(allowance.left(100 * TICK), Some(5));
        assert_eq!(allowance.left(100 * TICK), Some(5));
        assert_eq!(allowance.left(103 * TICK + TICK / 2), Some(2));
        assert_eq!(allowance.left(106 * TICK), None);
    }

    #[test]
    fn every_call_has_its_own() {
        let mut allowance = Allowance::default();
        allowance.begin(2);
        assert_eq!(allowance.left(TICK), Some(1));
        assert_eq!(allowance.left(9 * TICK), None);
        allowance.begin(2);
        assert_eq!(allowance.left(9 * TICK), Some(1));
    }
}
