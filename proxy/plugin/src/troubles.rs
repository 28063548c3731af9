//! Bindings whose last call failed, on one worker or in one health check, and what the operator sees of those that are not asked.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use crate::{
    Bound, Failure, Role,
    breaker::{Breaker, Open},
    ledger::Ledger,
    program::Binding,
};

/// A binding that is not asked on some worker, because its circuit breaker is open.
#[derive(Debug, Clone)]
pub struct OpenBreaker {
    /// The worker; none is the health checks'.
    pub worker: Option<usize>,
    /// What the binding decides.
    pub role: Role,
    /// The program of the binding.
    pub program: u64,
    /// The number of the binding within its program.
    pub binding: u32,
    /// When it opened.
    pub since: SystemTime,
    /// When it is tried next.
    pub until: Instant,
    /// Failures in a row.
    pub failures: u32,
    /// Trials that failed since it opened.
    pub trials: u32,
    /// The last failure.
    pub failure: String,
}

/// All open breakers of a plugin. Written when one opens, closes or fails at a trial, and never otherwise.
#[derive(Default)]
pub(crate) struct Breakers(Mutex<BTreeMap<(u64, u64, u32), OpenBreaker>>);

impl Breakers {
    pub(crate) fn all(&self) -> Vec<OpenBreaker> {
        self.open().values().cloned().collect()
    }

    /// Bindings of this role that are not asked, counted once for each worker.
    pub(crate) fn count(&self, role: Role) -> usize {
        self.open().values().filter(|open| open.role == role).count()
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<(u64, u64, u32), OpenBreaker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The troubled bindings of one program in one place. Nearly always empty.
pub(crate) struct Troubles {
    /// No other has it.
    id: u64,
    program: u64,
    worker: Option<usize>,
    ledger: Arc<Ledger>,
    list: Vec<Trouble>,
    /// What the last call has ended, unless its answer turns out to be impossible.
    ending: Option<Trouble>,
}

struct Trouble {
    binding: Weak<Binding>,
    number: u32,
    role: Role,
    breaker: Breaker,
}

impl Troubles {
    pub(crate) fn new(program: u64, worker: Option<usize>, ledger: Arc<Ledger>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Relaxed);
        Self { id, program, worker, ledger, list: Vec::new(), ending: None }
    }

    /// Whether the next call on this binding is a trial.
    pub(crate) fn has_open(&self, number: u32) -> bool {
        self.list.iter().any(|trouble| trouble.number == number && trouble.breaker.open().is_some())
    }

    /// Whether the binding may be asked now.
    pub(crate) fn allow(&mut self, number: u32, now: Instant) -> bool {
        self.end();
        let trouble = self.list.iter_mut().find(|trouble| trouble.number == number);
        trouble.is_none_or(|trouble| trouble.breaker.allows(now))
    }

    pub(crate) fn succeed(&mut self, number: u32) {
        self.end();
        if let Some(place) = self.list.iter().position(|trouble| trouble.number == number) {
            self.ending = Some(self.list.swap_remove(place));
        }
    }

    /// A call on the binding was a success, and its answer is possible.
    pub(crate) fn recover(&mut self, number: u32) {
        self.succeed(number);
        self.end();
    }

    /// A call on the binding has failed, the `last` that may fail for now or not.
    pub(crate) fn fail(&mut self, bound: &Bound, failure: &Failure, last: bool, now: Instant) {
        let number = bound.number();
        if let Some(ended) = self.ending.take_if(|ended| ended.number == number) {
            self.list.push(ended);
        }
        let place = self.list.iter().position(|trouble| trouble.number == number).unwrap_or_else(|| {
            let (binding, role) = (Arc::downgrade(&bound.binding), bound.role());
            self.list.push(Trouble { binding, number, role, breaker: Breaker::default() });
            self.list.len() - 1
        });
        let Some(trouble) = self.list.get_mut(place) else { return };
        let opened = trouble.breaker.fail(failure, last, now, chance());
        let failures = trouble.breaker.failures();
        let Some(open) = trouble.breaker.open() else { return };
        self.register(number, bound.role(), open, failures, failure);
        let (plugin, role) = (&*self.ledger.name, bound.role().name());
        let again = open.until.saturating_duration_since(now);
        if opened {
            tracing::warn!(
                plugin, role, binding = number, worker = self.worker, failures, error = %failure, again = ?again,
                "plugin binding is not asked for now: it failed too often in a row"
            );
        } else {
            tracing::debug!(plugin, role, binding = number, worker = self.worker, again = ?again, "trial of a plugin failed");
        }
    }

    fn register(&self, number: u32, role: Role, open: Open, failures: u32, failure: &Failure) {
        let since = SystemTime::now().checked_sub(open.since.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
        let shown = OpenBreaker {
            worker: self.worker,
            role,
            program: self.program,
            binding: number,
            since,
            until: open.until,
            failures,
            trials: open.trials,
            failure: failure.to_string(),
        };
        self.ledger.breakers.open().insert((self.id, self.program, number), shown);
    }

    /// The last call was a success after all.
    fn end(&mut self) {
        let Some(ended) = self.ending.take() else { return };
        if let Some(open) = ended.breaker.open() {
            self.ledger.breakers.open().remove(&(self.id, self.program, ended.number));
            let (plugin, role, open) = (&*self.ledger.name, ended.role.name(), open.since.elapsed());
            tracing::info!(plugin, role, binding = ended.number, worker = self.worker, after = ?open, "plugin binding is asked again");
        }
    }

    /// Forget bindings that nothing holds any more.
    pub(crate) fn prune(&mut self) {
        self.end();
        let (breakers, id, program) = (&self.ledger.breakers, self.id, self.program);
        self.list.retain(|trouble| {
            let held = trouble.binding.strong_count() > 0;
            if !held && trouble.breaker.open().is_some() {
                breakers.open().remove(&(id, program, trouble.number));
            }
            held
        });
    }
}

impl Drop for Troubles {
    fn drop(&mut self) {
        if !self.list.is_empty() || self.ending.is_some() {
            self.ledger.breakers.open().retain(|(id, ..), _| *id != self.id);
        }
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

/// The pause that is left of an open breaker.
impl OpenBreaker {
    /// Time until the next trial.
    pub fn again(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}
