//! One compiled version of a plugin, and its uses.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use wasmtime::component::InstancePre;
use weir_config::OnFailure;

use crate::{
    Refused, Role, Stored,
    allowance::thread_time,
    checking::{Checking, Idle},
    contract::Exports,
    decision::Decision,
    engine::Machine,
    instance::{Configured, Instance},
    ledger::Ledger,
    prepared::{self, Prepared},
    troubles::Troubles,
};

/// CPU time of starting an instance and of one `configure` beyond which workers leave that to others.
const FELT: Duration = Duration::from_millis(2);
/// Least time for starting an instance and for one `configure`; all of it where a worker does that.
pub(crate) const START: Duration = Duration::from_millis(100);

/// One version of a plugin, compiled and linked.
pub struct Program {
    pub(crate) id: u64,
    pub(crate) sha256: String,
    pub(crate) size: usize,
    pub(crate) stored: Stored,
    pub(crate) loaded: SystemTime,
    pub(crate) on_failure: OnFailure,
    pub(crate) deadline: Duration,
    /// Percent of a worker's time.
    pub(crate) worker_share: u32,
    /// CPU time of a health check.
    pub(crate) check_cpu: Duration,
    /// Whether its health checks go well, by binding.
    pub(crate) checking: Mutex<Troubles>,
    /// Bytes an instance may take.
    pub(crate) memory: usize,
    pub(crate) roles: Vec<Role>,
    pub(crate) machine: Arc<Machine>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) exports: Exports,
    pub(crate) decisions: InstancePre<Decision>,
    pub(crate) checks: InstancePre<Checking>,
    /// Instances between two health checks.
    pub(crate) idle: Mutex<Vec<Idle>>,
    pub(crate) bindings: Mutex<Bindings>,
    /// Instances that wait for a worker.
    pub(crate) prepared: Prepared,
}

/// Bindings by what they are, as long as somebody uses them.
#[derive(Default)]
pub(crate) struct Bindings {
    known: HashMap<(Role, String), Weak<Binding>>,
    next: u32,
}

/// One use of a plugin.
pub(crate) struct Binding {
    pub number: u32,
    pub role: Role,
    /// JSON text.
    pub settings: String,
    /// Taking it up takes so long that no worker does it.
    pub slow: AtomicBool,
}

/// A program with the number of one binding: what a decision is asked of.
#[derive(Clone)]
pub struct Bound {
    /// The version that will decide.
    pub program: Arc<Program>,
    pub(crate) binding: Arc<Binding>,
}

impl Program {
    /// The plugin's name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.ledger.name
    }

    /// Of the component, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Bytes of the component.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Its code on disk, which stays there as long as this is kept.
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// What it can decide.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// When it was loaded.
    pub fn loaded(&self) -> SystemTime {
        self.loaded
    }

    /// No other program of the process has it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What the operator wants when it fails.
    pub fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    /// Try settings for a role on an instance of its own. The same role and settings give the same
    /// binding. Blocks for as long as the guest takes to `configure`: call it off the workers.
    ///
    /// # Errors
    /// The component lacks the role, refuses the settings, or fails over them.
    pub fn bind(self: &Arc<Self>, role: Role, settings: &serde_json::Value) -> Result<Bound, Refused> {
        self.check_role(role)?;
        let key = (role, settings.to_string());
        let mut bindings = self.bindings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(binding) = bindings.known.get(&key).and_then(Weak::upgrade) {
            return Ok(Bound { program: Arc::clone(self), binding });
        }
        let binding =
            Arc::new(Binding { number: bindings.next, role, settings: key.1.clone(), slow: AtomicBool::new(false) });
        self.rehearse(&binding)?;
        bindings.next += 1;
        bindings.known.retain(|_, binding| binding.strong_count() > 0);
        bindings.known.insert(key, Arc::downgrade(&binding));
        Ok(Bound { program: Arc::clone(self), binding })
    }

    fn check_role(&self, role: Role) -> Result<(), Refused> {
        if self.roles.contains(&role) {
            return Ok(());
        }
        let has: Vec<_> = self.roles.iter().map(|role| role.name()).collect();
        Err(Refused::MissingRole { wanted: role.name(), has: has.join(", ") })
    }

    fn rehearse(&self, binding: &Arc<Binding>) -> Result<(), Refused> {
        let begun = thread_time();
        let within = self.start_deadline();
        let mut instance = Instance::start(self, within).map_err(|fault| fault.failure)?;
        match instance.configure(binding, within).map_err(|fault| fault.failure)? {
            Configured::Done => {
                binding.slow.store(thread_time().saturating_sub(begun) > FELT, Relaxed);
                Ok(())
            }
            Configured::Refused(why) => Err(Refused::Settings(why)),
        }
    }

    /// Bindings that decide on requests, as long as something uses them.
    pub(crate) fn deciding(&self) -> Vec<Arc<Binding>> {
        let bindings = self.bindings.lock().unwrap_or_else(PoisonError::into_inner);
        let held = bindings.known.values().filter_map(Weak::upgrade);
        held.filter(|binding| binding.role != Role::Health).collect()
    }

    /// Have instances ready for this many workers, where a worker would be felt to start one or to take up a
    /// binding. Blocks for as long as that takes: call it off the workers, before the bindings are used.
    pub fn prepare(self: &Arc<Self>, workers: usize) {
        prepared::prepare(self, workers);
    }

    /// Time for starting an instance, and for one `configure`.
    pub(crate) fn start_deadline(&self) -> Duration {
        self.deadline.saturating_mul(20).max(START)
    }
}

impl Binding {
    pub(crate) fn is_slow(&self) -> bool {
        self.slow.load(Relaxed)
    }
}

impl Bound {
    /// What it is bound for.
    pub fn role(&self) -> Role {
        self.binding.role
    }

    /// Its number within its program.
    pub fn number(&self) -> u32 {
        self.binding.number
    }

    /// Let go of the guests that wait for the program's next health check; one that comes after all
    /// starts another.
    pub fn end_checks(&self) {
        self.program.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Its settings as JSON text.
    pub fn settings(&self) -> &str {
        &self.binding.settings
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("id", &self.id)
            .field("name", self.name())
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("program", &self.program)
            .field("number", &self.binding.number)
            .field("role", &self.binding.role)
            .finish_non_exhaustive()
    }
}
