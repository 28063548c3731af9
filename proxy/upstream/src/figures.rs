//! What the health checks of a cluster, or its questions to agents, come to: for metrics.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counts checks. Lives as long as the cluster's name, over reloads.
#[derive(Debug, Default)]
pub struct CheckFigures {
    succeeded: AtomicU64,
    failed: AtomicU64,
    micros: AtomicU64,
}

impl CheckFigures {
    /// A check has ended.
    pub(crate) fn count(&self, succeeded: bool, took: Duration) {
        let counter = if succeeded { &self.succeeded } else { &self.failed };
        counter.fetch_add(1, Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Checks whose verdict was not unhealthy, and questions that were answered.
    pub fn succeeded(&self) -> u64 {
        self.succeeded.load(Relaxed)
    }

    /// The others.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Time that all of them took together.
    pub fn time(&self) -> Duration {
        Duration::from_micros(self.micros.load(Relaxed))
    }
}
