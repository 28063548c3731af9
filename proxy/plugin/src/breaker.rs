//! A circuit breaker: a binding that fails again and again is not asked for a while, then asked once.
//!
//! Pure: the time and chance are arguments.

use std::time::{Duration, Instant};

use crate::Failure;

/// Points that open a breaker: five failures in a row, or three overruns of the deadline, each of which has
/// cost its worker all of it.
const FULL: u32 = 15;
const FAILURE: u32 = 3;
const OVERRUN: u32 = 5;
/// The first pause before a trial; each trial that fails doubles it.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// Percent by which a pause is lengthened at most, so that trials of many bindings do not gather.
const JITTER: u32 = 20;

/// What is known of a binding whose last call failed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Breaker {
    points: u32,
    failures: u32,
    open: Option<Open>,
}

/// A breaker that lets no call through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open {
    /// When it opened.
    pub since: Instant,
    /// When the next trial is due.
    pub until: Instant,
    /// Trials that failed.
    pub trials: u32,
    pause: Duration,
}

impl Breaker {
    /// Whether a call may be made. An open breaker whose pause is over allows one, and the next only after
    /// another pause, unless the first has come to an end before.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        match &mut self.open {
            None => true,
            Some(open) if now < open.until => false,
            Some(open) => {
                open.until = now + open.pause;
                true
            }
        }
    }

    /// A call has failed, the `last` that may fail for now or not. `chance` is from 0 to 1. True when that opens the
    /// breaker.
    pub(crate) fn fail(&mut self, failure: &Failure, last: bool, now: Instant, chance: f64) -> bool {
        self.failures = self.failures.saturating_add(1);
        if let Some(open) = &mut self.open {
            open.trials = open.trials.saturating_add(1);
            open.pause = (open.pause * 2).min(LONGEST);
            open.until = now + jittered(open.pause, chance);
            return false;
        }
        self.points = self.points.saturating_add(points(failure));
        if self.points < FULL && !last {
            return false;
        }
        self.open = Some(Open { since: now, until: now + jittered(FIRST, chance), trials: 0, pause: FIRST });
        true
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Set while it is open.
    pub(crate) fn open(&self) -> Option<Open> {
        self.open
    }
}

/// An instance that does not start or take up a binding costs far more than a call.
fn points(failure: &Failure) -> u32 {
    match failure {
        Failure::Start(_) => FULL,
        Failure::Deadline => OVERRUN,
        _ => FAILURE,
    }
}

fn jittered(pause: Duration, chance: f64) -> Duration {
    pause + pause.mul_f64(f64::from(JITTER) / 100.0 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Calls until it opens.
    fn opens_after(failure: &Failure) -> u32 {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        (1..100).find(|_| breaker.allows(now) && breaker.fail(failure, false, now, 0.0)).unwrap()
    }

    #[test]
    fn opens_after_failures_in_a_row_the_dearer_the_sooner() {
        assert_eq!(opens_after(&Failure::Trap), 5);
        assert_eq!(opens_after(&Failure::BadAnswer(String::new())), 5);
        assert_eq!(opens_after(&Failure::Deadline), 3);
        assert_eq!(opens_after(&Failure::Start(String::new())), 1);
    }

    #[test]
    fn allows_one_trial_after_each_pause_and_pauses_double() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        while !breaker.fail(&Failure::Trap, false, now, 0.0) {}
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let open = breaker.open().unwrap();
            assert!(!breaker.allows(open.until - SECOND / 1_000));
            pauses.push((open.until - now).as_secs());
            now = open.until;
            assert!(breaker.allows(now));
            assert!(!breaker.allows(now), "one trial at a time");
            assert!(!breaker.fail(&Failure::Trap, false, now, 0.0));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!((breaker.open().unwrap().trials, breaker.failures()), (9, 14));
    }

    #[test]
    fn opens_at_once_where_failing_calls_have_cost_enough() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        assert!(breaker.fail(&Failure::Trap, true, now, 0.0));
        assert!(!breaker.allows(now));
    }

    #[test]
    fn chance_lengthens_a_pause_a_little() {
        let now = Instant::now();
        let pause = |chance| {
            let mut breaker = Breaker::default();
            while !breaker.fail(&Failure::Trap, false, now, chance) {}
            breaker.open().unwrap().until - now
        };
        assert_eq!([0.0, 0.5, 1.0, 9.0].map(pause), [1_000, 1_100, 1_200, 1_200].map(Duration::from_millis));
    }
}
