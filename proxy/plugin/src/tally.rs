//! Calls, failures and time of a plugin: counted by one thread each, summed when somebody looks.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{Failure, Role, Skip};

const ROLES: usize = Role::ALL.len();
const KINDS: usize = Failure::KINDS.len();
const SKIPS: usize = Skip::ALL.len();
/// Upper bounds of the buckets in nanoseconds, and as seconds.
const BOUNDS: [(u64, &str); 12] = [
    (1_000, "0.000001"),
    (2_000, "0.000002"),
    (5_000, "0.000005"),
    (10_000, "0.00001"),
    (20_000, "0.00002"),
    (50_000, "0.00005"),
    (100_000, "0.0001"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (5_000_000, "0.005"),
    (50_000_000, "0.05"),
    (1_000_000_000, "1"),
];
const BUCKETS: usize = BOUNDS.len() + 1;

/// Counters of one role.
#[derive(Default)]
struct Line {
    nanos: AtomicU64,
    /// Calls by time; the last is for those above all bounds.
    buckets: [AtomicU64; BUCKETS],
    failures: [AtomicU64; KINDS],
    skipped: [AtomicU64; SKIPS],
}

/// Counters with a single writer.
#[derive(Default)]
pub(crate) struct Tally([Line; ROLES]);

impl Tally {
    /// Count one call. Only the tally's own thread calls this: counters are not incremented in one step.
    pub(crate) fn count(&self, role: Role, nanos: u64, failure: Option<&Failure>) {
        let Some(line) = self.0.get(role as usize) else { return };
        bump(Some(&line.nanos), nanos);
        let bucket = BOUNDS.iter().position(|(bound, _)| nanos <= *bound).unwrap_or(BOUNDS.len());
        bump(line.buckets.get(bucket), 1);
        if let Some(failure) = failure {
            bump(failure.index().and_then(|kind| line.failures.get(kind)), 1);
        }
    }

    /// Count a call that was not made.
    pub(crate) fn skip(&self, role: Role, skip: Skip) {
        bump(self.0.get(role as usize).and_then(|line| line.skipped.get(skip as usize)), 1);
    }

    /// Count a failure of a call that was counted before.
    pub(crate) fn fail(&self, role: Role, failure: &Failure) {
        let line = self.0.get(role as usize);
        bump(line.zip(failure.index()).and_then(|(line, kind)| line.failures.get(kind)), 1);
    }
}

fn bump(counter: Option<&AtomicU64>, by: u64) {
    if let Some(counter) = counter {
        counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
    }
}

#[derive(Default, Clone, Copy)]
struct Sum {
    nanos: u64,
    buckets: [u64; BUCKETS],
    failures: [u64; KINDS],
    skipped: [u64; SKIPS],
}

impl Sum {
    fn add(&mut self, line: &Line) {
        self.nanos += line.nanos.load(Relaxed);
        add_all(&mut self.buckets, &line.buckets);
        add_all(&mut self.failures, &line.failures);
        add_all(&mut self.skipped, &line.skipped);
    }

    fn calls(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

fn add_all(sums: &mut [u64], counters: &[AtomicU64]) {
    sums.iter_mut().zip(counters).for_each(|(sum, counter)| *sum += counter.load(Relaxed));
}

/// Sums over tallies.
#[derive(Default, Clone)]
pub(crate) struct Totals([Sum; ROLES]);

impl Totals {
    pub(crate) fn add(&mut self, tally: &Tally) {
        self.0.iter_mut().zip(&tally.0).for_each(|(sum, line)| sum.add(line));
    }

    /// Roles that were called, with their sums.
    fn called(&self) -> impl Iterator<Item = (Role, &Sum)> {
        Role::ALL
            .into_iter()
            .zip(&self.0)
            .filter(|(_, sum)| sum.calls() > 0 || sum.skipped.iter().any(|count| *count > 0))
    }

    pub(crate) fn write_skipped(&self, plugin: &str, out: &mut String) {
        for (role, sum) in self.called() {
            for (skip, count) in Skip::ALL.iter().zip(sum.skipped) {
                let reason = skip.name();
                _ = writeln!(
                    out,
                    "weir_plugin_skipped_total{{plugin=\"{plugin}\",role=\"{role}\",reason=\"{reason}\"}} {count}"
                );
            }
        }
    }

    pub(crate) fn write_calls(&self, plugin: &str, out: &mut String) {
        for (role, sum) in self.called() {
            let calls = sum.calls();
            _ = writeln!(out, "weir_plugin_calls_total{{plugin=\"{plugin}\",role=\"{role}\"}} {calls}");
        }
    }

    pub(crate) fn write_failures(&self, plugin: &str, out: &mut String) {
        for (role, sum) in self.called() {
            for (kind, count) in Failure::KINDS.iter().zip(sum.failures) {
                _ = writeln!(
                    out,
                    "weir_plugin_failures_total{{plugin=\"{plugin}\",role=\"{role}\",kind=\"{kind}\"}} {count}"
                );
            }
        }
    }

    pub(crate) fn write_seconds(&self, plugin: &str, out: &mut String) {
        for (role, sum) in self.called() {
            let labels = format!("plugin=\"{plugin}\",role=\"{role}\"");
            let mut below = 0;
            let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
            for (bound, count) in bounds.zip(sum.buckets) {
                below += count;
                _ = writeln!(out, "weir_plugin_seconds_bucket{{{labels},le=\"{bound}\"}} {below}");
            }
            let seconds = sum.nanos as f64 / 1e9;
            _ = writeln!(out, "weir_plugin_seconds_sum{{{labels}}} {seconds}");
            _ = writeln!(out, "weir_plugin_seconds_count{{{labels}}} {below}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_are_summed_by_role() {
        let (one, other) = (Tally::default(), Tally::default());
        one.count(Role::Balancer, 900, None);
        other.count(Role::Balancer, 6_000_000, Some(&Failure::Deadline));
        let mut totals = Totals::default();
        totals.add(&one);
        totals.add(&other);
        let mut text = String::new();
        totals.write_calls("p", &mut text);
        totals.write_failures("p", &mut text);
        totals.write_seconds("p", &mut text);
        for line in [
            "weir_plugin_calls_total{plugin=\"p\",role=\"balancer\"} 2\n",
            "weir_plugin_failures_total{plugin=\"p\",role=\"balancer\",kind=\"deadline\"} 1\n",
            "weir_plugin_seconds_bucket{plugin=\"p\",role=\"balancer\",le=\"0.000001\"} 1\n",
            "weir_plugin_seconds_bucket{plugin=\"p\",role=\"balancer\",le=\"+Inf\"} 2\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(!text.contains("router"));
    }
}
