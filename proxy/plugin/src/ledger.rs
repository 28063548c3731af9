//! What all versions and instances of a plugin share under its name: its figures, its store, and
//! how often it may speak.

use std::{
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use crate::{
    Failure, Role, Skip,
    bodies::{ROOM_OF_ONE, Room},
    custom::Custom,
    kv::Kv,
    rate::Rate,
    tally::{Tally, Totals},
    troubles::Breakers,
};

/// Lines a second that guests of a plugin may log.
const GUEST_LINES: u64 = 100;

/// The shared side of a plugin.
pub(crate) struct Ledger {
    pub name: Arc<str>,
    /// The name as a label of a metric.
    pub label: String,
    /// Figures the guests keep themselves.
    pub custom: Custom,
    /// Values the guests keep.
    pub kv: Mutex<Kv>,
    /// Lines from guests.
    pub lines: Rate,
    /// Instances alive.
    pub instances: AtomicI64,
    /// Bindings that are not asked.
    pub breakers: Breakers,
    /// Bodies of its own answers that clients have not taken yet.
    pub bodies: Room,
    /// Answers for whose bodies there was no room.
    pub answers_refused: AtomicU64,
    /// Where `clock.monotonic` starts.
    pub born: Instant,
    failures_logged: Rate,
    failures_silent: AtomicU64,
    tallies: Mutex<Tallies>,
}

#[derive(Default)]
struct Tallies {
    alive: Vec<Arc<Tally>>,
    retired: Totals,
    checks: Tally,
}

impl Ledger {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            label: name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"),
            name,
            custom: Custom::default(),
            kv: Mutex::default(),
            lines: Rate::new(GUEST_LINES),
            instances: AtomicI64::new(0),
            breakers: Breakers::default(),
            bodies: Room::new(ROOM_OF_ONE),
            answers_refused: AtomicU64::new(0),
            born: Instant::now(),
            failures_logged: Rate::new(1),
            failures_silent: AtomicU64::new(0),
            tallies: Mutex::default(),
        }
    }

    /// A tally for one worker, which alone writes to it.
    pub(crate) fn tally(&self) -> Arc<Tally> {
        let tally = Arc::<Tally>::default();
        self.tallies().alive.push(Arc::clone(&tally));
        tally
    }

    /// Keep what a tally counted and forget it.
    pub(crate) fn retire(&self, tally: &Arc<Tally>) {
        let mut tallies = self.tallies();
        tallies.alive.retain(|alive| !Arc::ptr_eq(alive, tally));
        tallies.retired.add(tally);
    }

    /// Count a health check.
    pub(crate) fn checked(&self, nanos: u64, failure: Option<&Failure>) {
        self.tallies().checks.count(Role::Health, nanos, failure);
    }

    /// Count a health check that the plugin was not asked for.
    pub(crate) fn skipped_check(&self, skip: Skip) {
        self.tallies().checks.skip(Role::Health, skip);
    }

    /// Tell the operator of a failure, at most once a second. Outside a decision there is no role.
    pub(crate) fn log_failure(&self, role: Option<Role>, failure: &Failure, cause: Option<&wasmtime::Error>) {
        if !self.failures_logged.pass(self.born.elapsed()) {
            self.failures_silent.fetch_add(1, Relaxed);
            return;
        }
        let silent = self.failures_silent.swap(0, Relaxed);
        let cause = cause.map(|cause| format!("{cause:#}")).unwrap_or_default();
        tracing::warn!(
            plugin = &*self.name,
            role = role.map(Role::name),
            kind = failure.kind(),
            error = %failure,
            cause,
            silent,
            "plugin failed"
        );
    }

    /// What was counted, over all workers.
    pub(crate) fn totals(&self) -> Totals {
        let tallies = self.tallies();
        let mut totals = tallies.retired.clone();
        tallies.alive.iter().for_each(|tally| totals.add(tally));
        totals.add(&tallies.checks);
        totals
    }

    pub(crate) fn write_instances(&self, out: &mut String) {
        let (name, alive) = (&self.label, self.instances.load(Relaxed));
        _ = writeln!(out, "weir_plugin_instances{{plugin=\"{name}\"}} {alive}");
    }

    pub(crate) fn write_breakers(&self, out: &mut String) {
        for role in Role::ALL {
            let (name, open) = (&self.label, self.breakers.count(role));
            _ = writeln!(out, "weir_plugin_breakers_open{{plugin=\"{name}\",role=\"{role}\"}} {open}");
        }
    }

    pub(crate) fn write_bodies(&self, out: &mut String) {
        let (name, taken) = (&self.label, self.bodies.taken());
        _ = writeln!(out, "weir_plugin_answer_bytes{{plugin=\"{name}\"}} {taken}");
    }

    pub(crate) fn write_refused(&self, out: &mut String) {
        let (name, refused) = (&self.label, self.answers_refused.load(Relaxed));
        _ = writeln!(out, "weir_plugin_answers_refused_total{{plugin=\"{name}\"}} {refused}");
    }

    fn tallies(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts an instance as long as it lives.
pub(crate) struct Alive(Arc<Ledger>);

impl Alive {
    pub(crate) fn new(ledger: &Arc<Ledger>) -> Self {
        ledger.instances.fetch_add(1, Relaxed);
        Self(Arc::clone(ledger))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.instances.fetch_sub(1, Relaxed);
    }
}
