//! A rollout: traffic moves from one cluster to another step by step, and back at once when the new
//! one is worse.
//!
//! Pure: who drives it gives the time and what was counted so far. What is compared is what was
//! counted since the step began.
//!
//! # When it judges
//! As soon as both clusters have `min-requests` in the step, again whenever the requests of the new
//! one have doubled, and when the interval is over. Looking at every request would find some
//! difference in the end, however equal the two are.
//!
//! # How it judges
//! *Errors*: the new cluster is worse when its share of errors exceeds that of the old one by more
//! than the allowed points with 99 % confidence (a one-sided test of two proportions, each with one
//! success and one failure added: Agresti and Caffo, 2000).
//!
//! *Latency*: a response is slow when it takes longer than the old cluster's percentile with the
//! allowed increase, and a millisecond more. The new one is worse when its share of slow responses
//! exceeds what the percentile leaves above itself, with the same confidence.
//!
//! At the last step the old cluster has no requests of its own: the figures of the step before stand
//! in for it.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

pub use crate::latency::{BUCKETS, Latencies, bucket};

/// 99 % one-sided.
const CONFIDENCE: f64 = 2.326;
/// A difference below this is none, in microseconds.
const SMALLEST_DIFFERENCE: u64 = 1_000;

/// What one cluster did on a route since the process began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Exchanges.
    pub requests: u64,
    /// Of those, the ones that ended with 5xx.
    pub errors: u64,
    /// Times to the response's head.
    pub latencies: Latencies,
}

impl Sample {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            errors: self.errors.saturating_sub(earlier.errors),
            latencies: self.latencies.since(&earlier.latencies),
        }
    }

    fn error_percent(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { 100.0 * self.errors as f64 / self.requests as f64 }
    }
}

/// Where a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It judges, and goes on by itself.
    Rolling,
    /// An operator stopped it where it is.
    Paused,
    /// The new cluster was worse, or an operator said so: all traffic is with the old one.
    RolledBack,
    /// All traffic is with the new one.
    Complete,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rolling => "rolling",
            Self::Paused => "paused",
            Self::RolledBack => "rolled-back",
            Self::Complete => "complete",
        })
    }
}

/// What an operator may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    /// Go to the next step now.
    Advance,
    /// Stay as it is.
    Pause,
    /// Go on, with the present step from its beginning.
    Resume,
    /// Send all traffic back.
    RollBack,
    /// Begin again with the first step.
    Restart,
}

/// A rollout under way.
#[derive(Debug)]
pub struct Rollout {
    plan: weir_config::Rollout,
    phase: Phase,
    step: usize,
    began: Instant,
    why: String,
    /// Counts when the step began: of the old cluster, of the new one.
    base: [Sample; 2],
    /// What the old cluster did in the step before.
    before: Sample,
    /// Requests of the new cluster at which it is judged even before the interval is over.
    next_look: u64,
}

impl Rollout {
    /// At its first step from now on.
    pub fn new(plan: &weir_config::Rollout, now: Instant) -> Self {
        Self {
            plan: plan.clone(),
            phase: Phase::Rolling,
            step: 0,
            began: now,
            why: "begun".to_owned(),
            base: Default::default(),
            before: Sample::default(),
            next_look: u64::from(plan.min_requests),
        }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Why it is there, for people.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Share of the new cluster, in percent.
    pub fn percent(&self) -> u32 {
        match self.phase {
            Phase::RolledBack => 0,
            Phase::Complete => 100,
            Phase::Rolling | Phase::Paused => self.plan.steps.get(self.step).copied().unwrap_or(100),
        }
    }

    /// The present step, from 1.
    pub fn step(&self) -> usize {
        self.step + 1
    }

    /// What both clusters did since the step began.
    pub fn window(&self, from: &Sample, to: &Sample) -> [Sample; 2] {
        let [from_base, to_base] = &self.base;
        [from.since(from_base), to.since(to_base)]
    }

    /// Look at what was counted so far: of the old cluster, of the new one. True when the phase or
    /// the share changed.
    pub fn look(&mut self, now: Instant, from: &Sample, to: &Sample) -> bool {
        if self.phase != Phase::Rolling {
            return false;
        }
        let [old, new] = self.window(from, to);
        let over = now.saturating_duration_since(self.began) >= self.plan.interval;
        let reference =
            if self.is_last() && old.requests < u64::from(self.plan.min_requests) { &self.before } else { &old };
        if let Some(missing) = self.missing(reference, &new) {
            self.why = missing;
            return false;
        }
        if !over && new.requests < self.next_look {
            return false;
        }
        self.next_look = new.requests.saturating_mul(2);
        if let Some(worse) = self.worse(reference, &new) {
            (self.phase, self.why) = (Phase::RolledBack, worse);
            return true;
        }
        self.why = "not worse so far".to_owned();
        if over {
            let why = format!("not worse in {} requests", new.requests);
            self.go_on(now, why, from, to, old);
        }
        over
    }

    /// Do as an operator says.
    ///
    /// # Errors
    /// Why that makes no sense now.
    pub fn order(&mut self, order: Steer, now: Instant, from: &Sample, to: &Sample) -> Result<(), String> {
        let by_order = |what: &str| format!("{what} by order");
        match (order, self.phase) {
            (Steer::Restart, _) => {
                self.begin(0, now, by_order("restarted"), from, to);
                self.before = Sample::default();
                self.phase = Phase::Rolling;
            }
            (Steer::RollBack, Phase::RolledBack) => return Err("it is rolled back already".to_owned()),
            (Steer::RollBack, _) => (self.phase, self.why) = (Phase::RolledBack, by_order("rolled back")),
            (_, Phase::RolledBack) => return Err("it is rolled back: restart it".to_owned()),
            (_, Phase::Complete) => return Err("it is complete: roll it back, or restart it".to_owned()),
            (Steer::Advance, _) => {
                let [old, _] = self.window(from, to);
                self.phase = Phase::Rolling;
                self.go_on(now, by_order("advanced"), from, to, old);
            }
            (Steer::Pause, Phase::Paused) => return Err("it is paused already".to_owned()),
            (Steer::Pause, _) => (self.phase, self.why) = (Phase::Paused, by_order("paused")),
            (Steer::Resume, Phase::Paused) => {
                self.begin(self.step, now, by_order("resumed"), from, to);
                self.phase = Phase::Rolling;
            }
            (Steer::Resume, _) => return Err("it is not paused".to_owned()),
        }
        Ok(())
    }

    /// Go on from where it was in another process, with that step from its beginning.
    pub fn inherit(&mut self, step: usize, phase: Phase, why: String, now: Instant) {
        let last = self.plan.steps.len().saturating_sub(1);
        self.begin(step.saturating_sub(1).min(last), now, why, &Sample::default(), &Sample::default());
        self.phase = phase;
    }

    fn is_last(&self) -> bool {
        self.step + 1 >= self.plan.steps.len()
    }

    fn go_on(&mut self, now: Instant, why: String, from: &Sample, to: &Sample, old: Sample) {
        match self.is_last() {
            true => (self.phase, self.why) = (Phase::Complete, why),
            false => {
                self.before = old;
                self.begin(self.step + 1, now, why, from, to);
            }
        }
    }

    fn begin(&mut self, step: usize, now: Instant, why: String, from: &Sample, to: &Sample) {
        (self.step, self.began, self.why) = (step, now, why);
        self.base = [from.clone(), to.clone()];
        self.next_look = u64::from(self.plan.min_requests);
    }

    /// What it waits for before it can judge.
    fn missing(&self, old: &Sample, new: &Sample) -> Option<String> {
        let least = u64::from(self.plan.min_requests);
        let of = |sample: &Sample, cluster: &str| {
            (sample.requests < least).then(|| format!("{cluster} has {} of {least} requests", sample.requests))
        };
        of(new, &self.plan.to).or_else(|| of(old, &self.plan.from))
    }

    fn worse(&self, old: &Sample, new: &Sample) -> Option<String> {
        self.more_errors(old, new).or_else(|| self.slower(old, new))
    }

    fn more_errors(&self, old: &Sample, new: &Sample) -> Option<String> {
        let (old_share, old_variance) = proportion(old.errors, old.requests);
        let (new_share, new_variance) = proportion(new.errors, new.requests);
        let allowed = f64::from(self.plan.max_error_increase) / 100.0;
        let excess = new_share - old_share - allowed;
        (excess > CONFIDENCE * (old_variance + new_variance).sqrt()).then(|| {
            format!(
                "{:.1} % errors in {} requests of {}, {:.1} % in {} of {}",
                new.error_percent(),
                new.requests,
                self.plan.to,
                old.error_percent(),
                old.requests,
                self.plan.from
            )
        })
    }

    fn slower(&self, old: &Sample, new: &Sample) -> Option<String> {
        let percentile = self.plan.latency_percentile;
        let usual = old.latencies.percentile(percentile)?;
        let increased = usual.saturating_mul(100 + u64::from(self.plan.max_latency_increase)) / 100;
        let limit = increased.max(usual.saturating_add(SMALLEST_DIFFERENCE));
        let (share, variance) = proportion(new.latencies.above(limit), new.latencies.count());
        let excess = share - f64::from(100 - percentile) / 100.0;
        let found = new.latencies.percentile(percentile)?;
        (excess > CONFIDENCE * variance.sqrt()).then(|| {
            format!(
                "{percentile} % of {} take up to {:?}, of {} up to {:?}",
                self.plan.to,
                Duration::from_micros(found),
                self.plan.from,
                Duration::from_micros(usual)
            )
        })
    }
}

/// A proportion with its variance, one success and one failure added.
fn proportion(hits: u64, of: u64) -> (f64, f64) {
    let (hits, of) = (hits as f64 + 1.0, of as f64 + 2.0);
    let share = hits / of;
    (share, share * (1.0 - share) / of)
}
