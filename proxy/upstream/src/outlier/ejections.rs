//! Who is out, until when, and how often that was: pure.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use weir_config::OutlierDetection;

/// The ejections of one cluster, by the ids of endpoints.
#[derive(Debug, Default)]
pub(crate) struct Ejections {
    records: HashMap<u64, Ejected>,
}

#[derive(Debug, Clone, Copy)]
struct Ejected {
    began: Instant,
    until: Instant,
    /// How often in a row; one less for each `ejection` it stays in.
    times: u32,
}

impl Ejections {
    /// Whether an endpoint is out.
    pub(crate) fn is_out(&self, id: u64, now: Instant) -> bool {
        self.records.get(&id).is_some_and(|record| now < record.until)
    }

    /// Take an endpoint out that is in, and say until when; none when enough are out of those that could serve.
    pub(crate) fn eject(&mut self, id: u64, able: &[u64], config: &OutlierDetection, now: Instant) -> Option<Instant> {
        self.forget(config, now);
        let out = able.iter().filter(|id| self.is_out(**id, now)).count();
        if out >= most(able.len(), config.max_ejected) {
            return None;
        }
        let times = self.records.get(&id).map_or(0, |record| left(record, config.ejection, now)).saturating_add(1);
        let until = now + config.ejection.saturating_mul(times).min(config.max_ejection);
        self.records.insert(id, Ejected { began: now, until, times });
        Some(until)
    }

    /// Let an endpoint come back for what began then, if it is out since before.
    pub(crate) fn forgive(&mut self, id: u64, began: Instant, now: Instant) -> bool {
        let record = self.records.get_mut(&id).filter(|record| now < record.until && record.began < began);
        record.map(|record| record.until = now).is_some()
    }

    /// Those that were in for long enough have a clean record.
    fn forget(&mut self, config: &OutlierDetection, now: Instant) {
        self.records.retain(|_, record| left(record, config.ejection, now) > 0);
    }
}

/// What still counts of a record.
fn left(record: &Ejected, ejection: Duration, now: Instant) -> u32 {
    let stayed = now.saturating_duration_since(record.until).as_nanos() / ejection.as_nanos().max(1);
    record.times.saturating_sub(u32::try_from(stayed).unwrap_or(u32::MAX))
}

/// How many of so many may be out: their share, but one at least, and never all.
fn most(able: usize, percent: u32) -> usize {
    let share = able.saturating_mul(percent as usize) / 100;
    share.max(1).min(able.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seconds(number: u32) -> Duration {
        SECOND * number
    }

    #[test]
    fn ejections_grow_up_to_the_longest_and_shrink_again() {
        let config = OutlierDetection::default();
        let (mut ejections, mut now) = (Ejections::default(), Instant::now());
        let mut eject = |now: Instant| ejections.eject(7, &[5, 6, 7], &config, now).unwrap() - now;
        for times in 1..=10 {
            assert_eq!(eject(now), seconds(30 * times));
            now += seconds(30 * times);
        }
        assert_eq!(eject(now), seconds(300), "the eleventh");
        now += seconds(300) + seconds(30 * 9);
        assert_eq!(eject(now), seconds(90), "eleven, less nine");
        now += seconds(90 + 3_600);
        assert_eq!(eject(now), seconds(30));
    }

    #[test]
    fn the_only_endpoint_is_never_out_and_one_of_two_may_be() {
        let config = OutlierDetection { max_ejected: 100, ..OutlierDetection::default() };
        let now = Instant::now();
        assert_eq!(Ejections::default().eject(1, &[1], &config, now), None);
        let mut ejections = Ejections::default();
        assert!(ejections.eject(1, &[1, 2], &config, now).is_some());
        assert_eq!(ejections.eject(2, &[1, 2], &config, now), None);
        assert!(ejections.eject(2, &[2, 3], &config, now).is_some(), "one that has left is not counted");
    }

    #[test]
    fn only_what_began_after_the_ejection_ends_it() {
        let config = OutlierDetection::default();
        let (mut ejections, now) = (Ejections::default(), Instant::now());
        ejections.eject(1, &[1, 2, 3], &config, now).unwrap();
        assert!(!ejections.forgive(1, now - SECOND, now + SECOND));
        assert!(ejections.is_out(1, now + SECOND));
        assert!(ejections.forgive(1, now + SECOND, now + seconds(2)));
        assert!(!ejections.is_out(1, now + seconds(2)));
        assert!(!ejections.forgive(2, now + SECOND, now + seconds(2)));
        let again = ejections.eject(1, &[1, 2, 3], &config, now + seconds(2)).unwrap();
        assert_eq!(again - now, seconds(62), "an early return is not forgotten at once");
    }

    proptest! {
        #[test]
        fn never_too_many_are_out_and_everyone_comes_back(
            members in 1_usize..40,
            percent in 1_u32..=100,
            steps in prop::collection::vec((0_u64..40, 0_u32..60), 1..200),
        ) {
            let config = OutlierDetection { max_ejected: percent, ..OutlierDetection::default() };
            let (mut ejections, mut now) = (Ejections::default(), Instant::now());
            let able: Vec<u64> = (0..members as u64).collect();
            for (id, pause) in steps {
                now += seconds(pause);
                let id = id % members as u64;
                if !ejections.is_out(id, now)
                    && let Some(until) = ejections.eject(id, &able, &config, now)
                {
                    prop_assert!((config.ejection..=config.max_ejection).contains(&(until - now)));
                    prop_assert!(ejections.is_out(id, until - Duration::from_millis(1)));
                    prop_assert!(!ejections.is_out(id, until));
                }
                let out = (0..members as u64).filter(|id| ejections.is_out(*id, now)).count();
                prop_assert!(out < members.max(1) && out <= (members * percent as usize / 100).max(1));
            }
        }
    }
}
