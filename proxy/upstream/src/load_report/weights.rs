//! Weights that follow load reports: pure.
//!
//! What an endpoint could carry is its requests a second through its utilisation (gRFC A58 calls this
//! its weight). Its percent is that, for each unit of configured weight, beside the mean of all that
//! report: an endpoint that does as much with less of itself gets more. Requests a second are as
//! reported, or else as many as there were reports.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Between two looks at the reports.
const STEP: Duration = Duration::from_secs(1);
/// How much a look counts beside those before it.
const SHARE: f64 = 0.25;
/// Below this utilisation nothing is divided.
const LEAST_UTILIZATION: f64 = 0.01;
/// No report takes an endpoint out, or gives it everything.
const LEAST_PERCENT: f64 = 10.0;
const MOST_PERCENT: f64 = 400.0;
/// Smaller changes are let be, one part in so many: each change makes another set of candidates.
const SLACK: u32 = 20;

/// What is known of the endpoints of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct LoadWeights {
    /// A capacity is forgotten so long after the last report.
    expire: Duration,
    looked: Option<Instant>,
    seen: HashMap<u64, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    count: u32,
    heard: Instant,
    /// Smoothed, for each unit of weight.
    capacity: Option<f64>,
}

/// An endpoint at a look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) id: u64,
    /// As configured.
    pub(crate) weight: u32,
    /// The percent in force.
    pub(crate) percent: u32,
    /// Reports so far.
    pub(crate) count: u32,
    pub(crate) utilization: f64,
    /// Requests a second; 0 where the endpoint does not say.
    pub(crate) rate: f64,
}

impl LoadWeights {
    pub(crate) fn new(expire: Duration) -> Self {
        Self { expire, looked: None, seen: HashMap::new() }
    }

    /// The same under another configuration.
    pub(crate) fn succeed(&self, expire: Duration) -> Self {
        Self { expire, ..self.clone() }
    }

    /// Whether it is time to look again.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= STEP)
    }

    /// Look at all endpoints of the cluster. Gives those whose percent is to change.
    pub(crate) fn look(&mut self, samples: &[Sample], now: Instant) -> Vec<(u64, u32)> {
        let since = self.looked.replace(now).map_or(STEP, |looked| now.saturating_duration_since(looked));
        let before = std::mem::take(&mut self.seen);
        self.seen =
            samples.iter().map(|sample| (sample.id, self.see(sample, before.get(&sample.id), since, now))).collect();
        let known: Vec<f64> = self.seen.values().filter_map(|seen| seen.capacity).collect();
        let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
        let wanted = |sample: &Sample| match self.seen.get(&sample.id).and_then(|seen| seen.capacity) {
            Some(capacity) if mean > 0.0 => (100.0 * capacity / mean).clamp(LEAST_PERCENT, MOST_PERCENT).round() as u32,
            _ => 100,
        };
        let changes = samples.iter().map(|sample| (sample, wanted(sample)));
        changes
            .filter(|(sample, wanted)| is_change(sample.percent, *wanted))
            .map(|(sample, wanted)| (sample.id, wanted))
            .collect()
    }

    fn see(&self, sample: &Sample, before: Option<&Seen>, since: Duration, now: Instant) -> Seen {
        let Some(before) = before else {
            return Seen { count: sample.count, heard: now, capacity: None };
        };
        let reports = sample.count.wrapping_sub(before.count);
        if reports == 0 {
            let is_old = now.saturating_duration_since(before.heard) > self.expire;
            return Seen { capacity: before.capacity.filter(|_| !is_old), ..*before };
        }
        let rate = if sample.rate > 0.0 { sample.rate } else { f64::from(reports) / since.as_secs_f64() };
        let capacity = rate / sample.utilization.max(LEAST_UTILIZATION) / f64::from(sample.weight.max(1));
        let smoothed = before.capacity.map_or(capacity, |before| before + (capacity - before) * SHARE);
        Seen { count: sample.count, heard: now, capacity: Some(smoothed) }
    }
}

fn is_change(percent: u32, wanted: u32) -> bool {
    percent.abs_diff(wanted) * SLACK >= percent.max(1) && percent != wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Endpoints of weight 1 that report once a second.
    struct Stage {
        weights: LoadWeights,
        now: Instant,
        samples: Vec<Sample>,
    }

    impl Stage {
        fn new(utilizations: &[f64]) -> Self {
            let sample = |(id, &utilization): (u64, &f64)| Sample {
                id,
                weight: 1,
                percent: 100,
                count: 0,
                utilization,
                rate: 100.0,
            };
            let samples = (0..).zip(utilizations).map(sample).collect();
            Self { weights: LoadWeights::new(Duration::from_secs(180)), now: Instant::now(), samples }
        }

        /// A look after a second in which these reported; takes up what it says.
        fn second(&mut self, reporting: impl Fn(u64) -> bool) -> usize {
            self.now += STEP;
            for sample in self.samples.iter_mut().filter(|sample| reporting(sample.id)) {
                sample.count += 10;
            }
            let changes = self.weights.look(&self.samples, self.now);
            for (id, percent) in &changes {
                self.samples[*id as usize].percent = *percent;
            }
            changes.len()
        }

        fn seconds(&mut self, count: usize, reporting: impl Fn(u64) -> bool) {
            for _ in 0..count {
                self.second(&reporting);
            }
        }

        fn percents(&self) -> Vec<u32> {
            self.samples.iter().map(|sample| sample.percent).collect()
        }
    }

    #[test]
    fn who_does_the_same_with_less_gets_more() {
        let mut stage = Stage::new(&[0.8, 0.4]);
        assert_eq!(stage.second(|_| true), 0, "the first look has nothing to compare with");
        stage.second(|_| true);
        assert_eq!(stage.percents(), [67, 133]);
    }

    #[test]
    fn weights_come_to_rest_where_all_are_equally_busy() {
        let mut stage = Stage::new(&[0.0, 0.0, 0.0]);
        let speeds = [50.0, 100.0, 300.0];
        for _ in 0..60 {
            let total: f64 = stage.samples.iter().map(|sample| f64::from(sample.percent)).sum();
            for (sample, speed) in stage.samples.iter_mut().zip(speeds) {
                sample.rate = 200.0 * f64::from(sample.percent) / total;
                sample.utilization = sample.rate / speed;
            }
            stage.second(|_| true);
        }
        assert_eq!(stage.percents(), [33, 67, 200]);
        assert_eq!(stage.second(|_| true), 0);
    }

    #[test]
    fn one_odd_report_moves_a_weight_by_a_part_only() {
        let mut stage = Stage::new(&[0.5, 0.5]);
        stage.seconds(5, |_| true);
        assert_eq!(stage.percents(), [100, 100]);
        stage.samples[0].utilization = 0.01;
        stage.second(|_| true);
        let odd = stage.percents()[0];
        assert!(odd <= 200, "{odd}");
        stage.samples[0].utilization = 0.5;
        stage.seconds(40, |_| true);
        assert!(stage.percents()[0].abs_diff(100) <= 5);
    }

    #[test]
    fn small_changes_are_let_be() {
        let mut stage = Stage::new(&[0.50, 0.51]);
        stage.second(|_| true);
        assert_eq!(stage.second(|_| true), 0);
    }

    #[test]
    fn silence_ends_a_weight() {
        let mut stage = Stage::new(&[0.8, 0.4, 0.4]);
        stage.seconds(3, |_| true);
        assert!(stage.percents()[0] < 70);
        stage.seconds(180, |id| id > 0);
        assert!(stage.percents()[0] < 70);
        stage.second(|id| id > 0);
        assert_eq!(stage.percents(), [100, 100, 100]);
    }

    #[test]
    fn percents_stay_within_their_limits() {
        let mut stage = Stage::new(&[0.9, 0.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]);
        stage.seconds(3, |_| true);
        assert_eq!(stage.percents(), [10, 400, 10, 10, 10, 10, 10, 10]);
    }

    #[test]
    fn a_configured_weight_is_what_it_is_compared_with() {
        let mut stage = Stage::new(&[0.5, 0.5]);
        stage.samples[0].weight = 3;
        stage.samples[0].rate = 300.0;
        stage.seconds(3, |_| true);
        assert_eq!(stage.percents(), [100, 100]);
    }

    #[test]
    fn without_a_rate_reports_are_counted() {
        let mut stage = Stage::new(&[0.5, 0.5]);
        stage.samples.iter_mut().for_each(|sample| sample.rate = 0.0);
        stage.second(|_| true);
        stage.samples[1].count += 30;
        stage.second(|_| true);
        assert_eq!(stage.percents(), [40, 160]);
    }

    #[test]
    fn it_is_due_once_a_second() {
        let mut stage = Stage::new(&[0.5]);
        assert!(stage.weights.is_due(stage.now));
        stage.second(|_| true);
        assert!(!stage.weights.is_due(stage.now + STEP / 2));
        assert!(stage.weights.is_due(stage.now + STEP));
    }
}
