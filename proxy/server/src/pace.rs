//! Patience with a client that has to be earned: so many octets for each second of it.

use std::time::{Duration, Instant};

/// How long a client may still make us wait. There is never more of it than at the beginning, waiting
/// uses it up, and octets that the client sends or takes earn it back.
#[derive(Debug)]
pub struct Pace {
    /// Octets that earn a second.
    rate: u64,
    most: Duration,
    left: Duration,
    /// Octets that were not counted yet.
    octets: u64,
    waiting: Option<Instant>,
}

impl Pace {
    /// So many octets a second, with this much patience.
    pub fn new(rate: u64, most: Duration) -> Self {
        Self { rate: rate.max(1), most, left: most, octets: 0, waiting: None }
    }

    /// The client has sent or taken octets.
    pub fn moved(&mut self, octets: usize) {
        self.octets += octets as u64;
    }

    /// The client is waited for: by when it has to move more.
    pub fn wait(&mut self, now: Instant) -> Instant {
        self.settle(now);
        self.waiting = Some(now);
        now + self.left
    }

    /// Somebody else is waited for.
    pub fn rest(&mut self, now: Instant) {
        self.settle(now);
    }

    fn settle(&mut self, now: Instant) {
        let waited = self.waiting.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let earned = u128::from(std::mem::take(&mut self.octets)) * 1_000_000_000 / u128::from(self.rate);
        let earned = Duration::from_nanos(u64::try_from(earned).unwrap_or(u64::MAX));
        self.left = self.left.saturating_sub(waited).saturating_add(earned).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn few_octets_earn_little() {
        let start = Instant::now();
        let mut pace = Pace::new(100, 10 * SECOND);
        assert_eq!(pace.wait(start), start + 10 * SECOND);
        pace.moved(100);
        assert_eq!(pace.wait(start + 5 * SECOND), start + 11 * SECOND, "five seconds gone, one earned");
        pace.moved(1_000_000);
        assert_eq!(pace.wait(start + 6 * SECOND), start + 16 * SECOND, "never more than at the beginning");
    }

    #[test]
    fn what_others_take_costs_the_client_nothing() {
        let start = Instant::now();
        let mut pace = Pace::new(100, 10 * SECOND);
        pace.wait(start);
        pace.rest(start + 3 * SECOND);
        assert_eq!(pace.wait(start + 60 * SECOND), start + 67 * SECOND);
    }

    proptest! {
        /// Whoever is waited for all the time and keeps going has moved at least so much.
        #[test]
        fn nobody_goes_on_below_the_rate(
            rate in 1_u64..10_000,
            patience in 1_u64..100_000,
            steps in proptest::collection::vec((0_u64..5_000, 0_usize..20_000), 1..200),
        ) {
            let start = Instant::now();
            let mut pace = Pace::new(rate, Duration::from_millis(patience));
            let (mut now, mut moved) = (start, 0);
            let mut until = pace.wait(now);
            for (millis, octets) in steps {
                now += Duration::from_millis(millis);
                if now >= until {
                    break;
                }
                pace.moved(octets);
                moved += octets as u64;
                until = pace.wait(now);
                let owed = (now - start).saturating_sub(Duration::from_millis(patience)).as_secs_f64() * rate as f64;
                prop_assert!(moved as f64 >= owed - 1.0, "{moved} octets where {owed} are owed");
            }
        }
    }
}
