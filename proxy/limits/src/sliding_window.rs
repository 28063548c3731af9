//! A window that slides: at no time have more requests passed within the last so many seconds.
//!
//! Time is cut in slots, and requests are counted by slot. A slot counts for as long as any part of it is within
//! the window, so that the limit holds exactly and a request is forgotten up to a slot late.

use std::time::Duration;

use crate::quota::{Quota, nanoseconds};

/// Slots of a window.
const SLOTS: u64 = 16;
/// Those that a window reaches into.
const REACHED: u64 = SLOTS + 1;

/// How many requests pass in a window. Times are nanoseconds since any one moment.
#[derive(Debug, Clone, Copy)]
pub struct SlidingWindow {
    most: u32,
    slot: u64,
}

/// What has passed lately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// Number of the last slot.
    last: u64,
    total: u32,
    counts: [u32; REACHED as usize],
}

impl SlidingWindow {
    /// `most` requests in each `per`.
    pub fn new(most: u32, per: Duration) -> Self {
        Self { most, slot: nanoseconds(per).div_ceil(SLOTS).max(1) }
    }

    /// Count a request, and tell how many may follow; or how long until one may.
    pub fn take(&self, window: &mut Window, now: u64) -> Result<Quota, Duration> {
        window.move_to(now / self.slot);
        if window.total >= self.most {
            return Err(self.until_more(window, now));
        }
        window.count(window.last);
        Ok(self.quota(window, now))
    }

    /// Count a request of just now no more.
    pub fn give_back(&self, window: &mut Window) {
        if let Some(count) = window.counts.get_mut((window.last % REACHED) as usize)
            && *count > 0
        {
            *count -= 1;
            window.total -= 1;
        }
    }

    /// How many may pass yet.
    pub fn quota(&self, window: &Window, now: u64) -> Quota {
        let remaining = u64::from(self.most.saturating_sub(window.total));
        let until = match remaining {
            0 => self.until_more(window, now),
            _ => Duration::from_nanos(((window.last + REACHED) * self.slot).saturating_sub(now)),
        };
        Quota { remaining, until }
    }

    /// How many count at this time, or did before.
    pub fn used(&self, window: &Window, now: u64) -> u64 {
        if now / self.slot >= window.last + REACHED { 0 } else { u64::from(window.total) }
    }

    /// Until the first that counts does no more.
    fn until_more(&self, window: &Window, now: u64) -> Duration {
        let first = (window.last.saturating_sub(SLOTS)..=window.last).find(|slot| window.of(*slot) > 0);
        let leaves = (first.unwrap_or(window.last) + REACHED) * self.slot;
        Duration::from_nanos(leaves.saturating_sub(now))
    }
}

impl Window {
    fn of(&self, slot: u64) -> u32 {
        self.counts.get((slot % REACHED) as usize).copied().unwrap_or_default()
    }

    fn count(&mut self, slot: u64) {
        if let Some(count) = self.counts.get_mut((slot % REACHED) as usize) {
            *count += 1;
            self.total += 1;
        }
    }

    /// Let time pass, and forget what is past.
    fn move_to(&mut self, slot: u64) {
        let passed = slot.saturating_sub(self.last).min(REACHED);
        self.last = self.last.max(slot);
        for slot in (self.last + 1).saturating_sub(passed)..=self.last {
            if let Some(count) = self.counts.get_mut((slot % REACHED) as usize) {
                self.total -= std::mem::take(count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLOT: u64 = 1_000_000_000;
    const WINDOW: Duration = Duration::from_secs(SLOTS);

    #[test]
    fn as_many_pass_as_may_and_no_more_until_they_are_past() {
        let (rule, mut window) = (SlidingWindow::new(3, WINDOW), Window::default());
        for (at, left) in [(0, 2), (SLOT / 2, 1), (3 * SLOT, 0)] {
            assert_eq!(rule.take(&mut window, at).unwrap().remaining, left);
        }
        assert_eq!(rule.take(&mut window, 4 * SLOT), Err(Duration::from_secs(REACHED - 4)));
        assert!(rule.take(&mut window, REACHED * SLOT - 1).is_err());
        for left in [1, 0] {
            assert_eq!(rule.take(&mut window, REACHED * SLOT).unwrap().remaining, left);
        }
        assert_eq!(rule.take(&mut window, REACHED * SLOT), Err(Duration::from_secs(3)));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (rule, mut window) = (SlidingWindow::new(1, WINDOW), Window::default());
        assert!(rule.take(&mut window, 5).is_ok() && rule.take(&mut window, 5).is_err());
        rule.give_back(&mut window);
        assert!(rule.take(&mut window, 5).is_ok());
        rule.give_back(&mut window);
        rule.give_back(&mut window);
        assert_eq!(rule.used(&window, 5), 0);
    }

    #[test]
    fn what_is_past_is_not_used() {
        let (rule, mut window) = (SlidingWindow::new(9, WINDOW), Window::default());
        rule.take(&mut window, 0).unwrap();
        assert_eq!((rule.used(&window, 2 * SLOT), rule.used(&window, REACHED * SLOT)), (1, 0));
    }

    proptest! {
        /// Within the window before any moment no more pass than may; whoever comes once a window and a slot have
        /// passed since the first of as many passes.
        #[test]
        fn never_more_than_may_in_any_window(
            most in 1..40_u32,
            per in 1..2_000_000_000_u64,
            steps in prop::collection::vec(0..100_000_000_u64, 1..400),
        ) {
            let rule = SlidingWindow::new(most, Duration::from_nanos(per));
            let (mut window, mut now, mut passed) = (Window::default(), 0_u64, Vec::<u64>::new());
            let within = |passed: &[u64], since: u64| passed.iter().filter(|at| **at > since).count() as u32;
            for step in steps {
                now += step;
                match rule.take(&mut window, now) {
                    Ok(quota) => {
                        passed.push(now);
                        prop_assert_eq!(u64::from(most) - rule.used(&window, now), quota.remaining);
                    }
                    Err(wait) => {
                        let long = per + 2 * rule.slot;
                        prop_assert!(now < long || within(&passed, now - long) >= most || now - long < passed[0]);
                        prop_assert!(rule.take(&mut window.clone(), now + nanoseconds(wait)).is_ok());
                        prop_assert!(rule.take(&mut window.clone(), now + nanoseconds(wait) - 1).is_err());
                    }
                }
                let since = now.checked_sub(per);
                prop_assert!(since.map_or(passed.len() as u32, |since| within(&passed, since)) <= most);
            }
        }

        /// A clock that is a little behind, as another thread's may be, does no harm.
        #[test]
        fn time_that_goes_back_counts_on(times in prop::collection::vec(0..100_u64, 1..200)) {
            let (rule, mut window) = (SlidingWindow::new(5, WINDOW), Window::default());
            for at in times {
                let _ = rule.take(&mut window, at * SLOT / 4);
                prop_assert!(window.total <= 5);
                prop_assert_eq!(window.total, window.counts.iter().sum::<u32>());
            }
        }
    }
}
