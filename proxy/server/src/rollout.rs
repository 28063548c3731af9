//! A rollout as workers and the control side share it: workers read the share and count what came of
//! their exchanges, the control side judges.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use weir_upstream::{
    rollout::{BUCKETS, Phase, Sample, Steer, bucket},
    split::{Arm, hash},
};

use crate::{access_log::rfc3339, upgrade::RolloutEstate};

/// A route's rollout. It goes on over reloads that leave its configuration as it is.
#[derive(Debug)]
pub struct Rollout {
    route: Arc<str>,
    config: weir_config::Rollout,
    seeds: [u64; 2],
    percent: AtomicU32,
    /// Of the old and the new cluster, a pair for each core.
    figures: Box<[[Figures; 2]]>,
    judge: Mutex<Judge>,
}

#[derive(Debug)]
struct Judge {
    rollout: weir_upstream::rollout::Rollout,
    since: SystemTime,
    announced: bool,
}

#[derive(Debug)]
#[repr(align(64))]
struct Figures {
    requests: AtomicU64,
    errors: AtomicU64,
    latencies: [AtomicU64; BUCKETS],
}

impl Default for Figures {
    fn default() -> Self {
        let (requests, errors) = Default::default();
        Self { requests, errors, latencies: [const { AtomicU64::new(0) }; BUCKETS] }
    }
}

/// Which of the two clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that had the traffic.
    From,
    /// The one that is to have it.
    To,
}

impl Rollout {
    /// At its first step.
    pub fn new(route: &Arc<str>, config: &weir_config::Rollout) -> Self {
        let rollout = weir_upstream::rollout::Rollout::new(config, Instant::now());
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            route: Arc::clone(route),
            seeds: [&config.from, &config.to].map(|name| hash(name.as_bytes())),
            config: config.clone(),
            percent: AtomicU32::new(rollout.percent()),
            figures: (0..cores).map(|_| Default::default()).collect(),
            judge: Mutex::new(Judge { rollout, since: SystemTime::now(), announced: false }),
        }
    }

    /// As configured.
    pub fn config(&self) -> &weir_config::Rollout {
        &self.config
    }

    /// The route it is about.
    pub fn route(&self) -> &Arc<str> {
        &self.route
    }

    /// The present shares: of the old cluster, of the new one.
    pub fn arms(&self) -> [Arm; 2] {
        let (percent, [from, to]) = (self.percent(), self.seeds);
        [Arm { seed: from, share: 100 - percent.min(100) }, Arm { seed: to, share: percent }]
    }

    /// Share of the new cluster, in percent.
    pub fn percent(&self) -> u32 {
        self.percent.load(Relaxed)
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.judge().rollout.phase()
    }

    /// The side that a cluster is on.
    pub fn side(&self, cluster: &str) -> Option<Side> {
        match cluster {
            name if *name == *self.config.to => Some(Side::To),
            name if *name == *self.config.from => Some(Side::From),
            _ => None,
        }
    }

    /// Count an exchange: its status, and the time to its response's head.
    pub fn record(&self, worker: usize, side: Side, status: u16, time: Duration) {
        let Some([from, to]) = self.figures.get(worker % self.figures.len().max(1)) else { return };
        let figures = if side == Side::To { to } else { from };
        figures.requests.fetch_add(1, Relaxed);
        figures.errors.fetch_add(u64::from((500..600).contains(&status)), Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = figures.latencies.get(bucket(micros)) {
            bucket.fetch_add(1, Relaxed);
        }
    }

    /// Judge what was counted so far, on the control side.
    pub fn look(&self, now: Instant) {
        let [from, to] = self.samples();
        let mut judge = self.judge();
        if !std::mem::replace(&mut judge.announced, true) {
            self.tell(&judge, "rollout begins");
        }
        if judge.rollout.look(now, &from, &to) {
            let message = match judge.rollout.phase() {
                Phase::RolledBack => "rollout rolled back",
                Phase::Complete => "rollout complete",
                Phase::Rolling | Phase::Paused => "rollout advances",
            };
            self.changed(&mut judge, message);
        }
    }

    /// Do as an operator says.
    ///
    /// # Errors
    /// Why that makes no sense now.
    pub fn order(&self, order: Steer, now: Instant) -> Result<(), String> {
        let [from, to] = self.samples();
        let mut judge = self.judge();
        judge.rollout.order(order, now, &from, &to)?;
        let message = match order {
            Steer::Advance if judge.rollout.phase() == Phase::Complete => "rollout complete",
            Steer::Advance => "rollout advances",
            Steer::Pause => "rollout paused",
            Steer::Resume => "rollout resumed",
            Steer::RollBack => "rollout rolled back",
            Steer::Restart => "rollout restarted",
        };
        self.changed(&mut judge, message);
        Ok(())
    }

    /// Where it is, for the process that takes the place of this one.
    pub fn estate(&self) -> RolloutEstate {
        let judge = self.judge();
        RolloutEstate {
            clusters: self.clusters(),
            steps: self.config.steps.clone(),
            step: judge.rollout.step(),
            phase: judge.rollout.phase(),
            why: judge.rollout.why().to_owned(),
        }
    }

    /// Go on from where it was in another process, if it was the same.
    pub fn inherit(&self, left: &RolloutEstate) {
        if left.clusters == self.clusters() && left.steps == self.config.steps {
            let mut judge = self.judge();
            judge.rollout.inherit(left.step, left.phase, left.why.clone(), Instant::now());
            judge.announced = true;
            self.percent.store(judge.rollout.percent(), Relaxed);
        }
    }

    fn clusters(&self) -> [String; 2] {
        [&self.config.from, &self.config.to].map(ToString::to_string)
    }

    /// For the status page.
    pub fn status(&self) -> Value {
        let [from, to] = self.samples();
        let judge = self.judge();
        let rollout = &judge.rollout;
        let percentile = self.config.latency_percentile;
        let side = |name: &str, sample: &Sample| {
            json!({
                "cluster": name,
                "requests": sample.requests,
                "errors": sample.errors,
                "latency_us": sample.latencies.percentile(percentile),
            })
        };
        let [old, new] = rollout.window(&from, &to);
        json!({
            "route": &*self.route,
            "phase": rollout.phase().to_string(),
            "percent": rollout.percent(),
            "step": rollout.step(),
            "steps": self.config.steps,
            "since": rfc3339(judge.since),
            "why": rollout.why(),
            "latency_percentile": percentile,
            "from": side(&self.config.from, &old),
            "to": side(&self.config.to, &new),
        })
    }

    fn changed(&self, judge: &mut Judge, message: &str) {
        self.percent.store(judge.rollout.percent(), Relaxed);
        judge.since = SystemTime::now();
        self.tell(judge, message);
    }

    fn tell(&self, judge: &Judge, message: &str) {
        let (route, rollout) = (&*self.route, &judge.rollout);
        let (percent, phase, why) = (rollout.percent(), rollout.phase(), rollout.why());
        match phase {
            Phase::RolledBack => tracing::warn!(route, percent, %phase, why, "{message}"),
            _ => tracing::info!(route, percent, %phase, why, "{message}"),
        }
    }

    fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn samples(&self) -> [Sample; 2] {
        let mut sums = [Sample::default(), Sample::default()];
        for figures in &self.figures {
            for (sum, figures) in sums.iter_mut().zip(figures) {
                sum.requests += figures.requests.load(Relaxed);
                sum.errors += figures.errors.load(Relaxed);
                let buckets = sum.latencies.0.iter_mut().zip(&figures.latencies);
                buckets.for_each(|(sum, count)| *sum += count.load(Relaxed));
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout() -> Rollout {
        let config = weir_config::Rollout {
            from: "stable".into(),
            to: "next".into(),
            steps: vec![10, 100],
            interval: Duration::from_secs(60),
            min_requests: 10,
            max_error_increase: 1,
            max_latency_increase: 50,
            latency_percentile: 95,
            key: None,
        };
        Rollout::new(&"r".into(), &config)
    }

    fn serve(rollout: &Rollout, status: u16) {
        for worker in 0..50 {
            rollout.record(worker, Side::From, 200, Duration::from_millis(1));
            rollout.record(worker, Side::To, status, Duration::from_millis(1));
        }
    }

    #[test]
    fn what_workers_count_decides() {
        let good = rollout();
        serve(&good, 200);
        good.look(Instant::now() + Duration::from_secs(61));
        assert_eq!(good.arms().map(|arm| arm.share), [0, 100]);
        let bad = rollout();
        serve(&bad, 503);
        bad.look(Instant::now());
        assert_eq!((bad.phase(), bad.arms().map(|arm| arm.share)), (Phase::RolledBack, [100, 0]));
        let status = bad.status();
        assert_eq!((&status["phase"], &status["to"]["errors"]), (&json!("rolled-back"), &json!(50)));
    }

    #[test]
    fn another_process_goes_on_where_it_was() {
        let before = rollout();
        before.order(Steer::Advance, Instant::now()).unwrap();
        before.order(Steer::Pause, Instant::now()).unwrap();
        let after = rollout();
        after.inherit(&before.estate());
        assert_eq!((after.phase(), after.percent()), (Phase::Paused, 100));
        let other = rollout();
        other.inherit(&RolloutEstate { steps: vec![50, 100], ..before.estate() });
        assert_eq!((other.phase(), other.percent()), (Phase::Rolling, 10), "it is another one");
    }

    #[test]
    fn orders_change_the_share_at_once() {
        let rollout = rollout();
        assert_eq!(rollout.percent(), 10);
        rollout.order(Steer::Advance, Instant::now()).unwrap();
        assert_eq!(rollout.percent(), 100);
        rollout.order(Steer::RollBack, Instant::now()).unwrap();
        assert_eq!(rollout.percent(), 0);
        assert!(rollout.order(Steer::Pause, Instant::now()).is_err());
    }
}
