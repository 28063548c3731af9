//! The host: one a process.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use weir_config::{ByteSize, Plugin};

use crate::{
    Bound, CompileTerms, CompilerProgram, Compiling, Failure, HealthVerdict, HostError, OpenBreaker, Program, Refused,
    Role, Skip, Target,
    cache::{Cache, sha256},
    checking,
    compiler::Compiler,
    component,
    contract::Exports,
    engine::{MEMORY_CEILING, Machine},
    fault::Fault,
    imports,
    ledger::Ledger,
    page,
    prepared::Prepared,
    troubles::Troubles,
};

/// What a host is made with.
#[derive(Debug, Clone, Default)]
pub struct HostOptions {
    /// Folder for compiled plugins, made with mode 0700; none is `weir` in `$XDG_CACHE_HOME`, in
    /// `/var/cache` for root, or in `~/.cache`.
    pub cache: Option<PathBuf>,
    /// The program that compiles; without one it is this process itself.
    pub compiler: Option<CompilerProgram>,
    /// Instances of plugins that may be alive at a time, over all workers. There is room for 1,000 at least, and for
    /// 12,000 at most.
    pub instances: u32,
}

/// Compiles plugins, runs their health checks and writes their metrics.
pub struct Host {
    machine: Arc<Machine>,
    cache: Cache,
    compiler: Compiler,
    /// By name of the plugin; they outlive its versions.
    ledgers: Mutex<BTreeMap<Arc<str>, Arc<Ledger>>>,
}

impl Host {
    /// # Errors
    /// The engine does not start, or the cache folder that was named cannot be used.
    pub fn try_new(options: HostOptions) -> Result<Arc<Self>, HostError> {
        let machine = Machine::try_new(options.instances);
        let machine = machine.map_err(|error| HostError::Engine(format!("{error:#}")))?;
        Ok(Arc::new(Self {
            cache: Cache::open(options.cache)?,
            compiler: Compiler::new(options.compiler, machine.instances.is_none()),
            machine: Arc::new(machine),
            ledgers: Mutex::default(),
        }))
    }

    /// Compile and check a component. Blocks for up to seconds: call it off the workers.
    ///
    /// # Errors
    /// With all that is wrong with it, for the operator.
    pub fn load(&self, plugin: &Plugin, bytes: &[u8]) -> Result<Arc<Program>, Refused> {
        self.load_under(plugin, bytes, &CompileTerms::default())
    }

    /// The same under these terms, as far as it has to be compiled.
    ///
    /// # Errors
    /// As [`Host::load`], or it is not wanted any more.
    pub fn load_under(&self, plugin: &Plugin, bytes: &[u8], terms: &CompileTerms) -> Result<Arc<Program>, Refused> {
        let memory = memory(plugin.memory)?;
        component::check_bytes(bytes)?;
        component::check(bytes, &plugin.name, &plugin.grants, &terms.limits)?;
        let sha256 = sha256(bytes);
        let engine = &self.machine.engine;
        let (compiled, stored) = self.cache.load(engine, &sha256, || {
            let plugin = Arc::clone(&plugin.name);
            let task = Compiling { plugin, sha256: sha256.clone(), size: bytes.len(), since: SystemTime::now() };
            self.compiler.compile(engine, task, bytes, terms)
        })?;
        let linked = imports::for_decisions(engine, &plugin.grants);
        let decisions = linked.and_then(|linker| linker.instantiate_pre(&compiled)).map_err(misfit)?;
        let linked = imports::for_checks(engine, &plugin.grants);
        let checks = linked.and_then(|linker| linker.instantiate_pre(&compiled)).map_err(misfit)?;
        let exports = Exports::of(&decisions).ok_or(Refused::NoRole(Role::NAMES))?;
        let roles = exports.roles();
        if roles.is_empty() {
            return Err(Refused::NoRole(Role::NAMES));
        }
        let ticking = self.machine.clock.start(plugin.deadline);
        ticking.map_err(|error| Refused::Host(format!("no thread for deadlines: {error}")))?;
        let (id, ledger) = (next_id(), self.ledger(&plugin.name));
        Ok(Arc::new(Program {
            id,
            sha256,
            size: bytes.len(),
            stored,
            loaded: SystemTime::now(),
            on_failure: plugin.on_failure,
            deadline: plugin.deadline,
            worker_share: plugin.worker_share,
            check_cpu: plugin.check_cpu,
            checking: Mutex::new(Troubles::new(id, None, Arc::clone(&ledger))),
            memory,
            roles,
            machine: Arc::clone(&self.machine),
            ledger,
            exports,
            decisions,
            checks,
            idle: Mutex::default(),
            bindings: Mutex::default(),
            prepared: Prepared::default(),
        }))
    }

    /// What is compiled now, or waits for that.
    pub fn compiling(&self) -> Vec<Compiling> {
        self.compiler.under_way()
    }

    /// Instances that can be alive at a time, over all plugins; none is as many as there is memory for.
    pub fn instances(&self) -> Option<u32> {
        self.machine.instances
    }

    /// One health check of the endpoint behind `target`. The timeout holds for everything, the
    /// guest's start and its waiting included; the guest's CPU time has a bound of its own. A binding that has failed
    /// too often in a row is not asked. Runs on any tokio runtime with time enabled.
    ///
    /// # Errors
    /// No verdict came about, which says nothing of the endpoint.
    pub async fn check(
        &self,
        bound: &Bound,
        target: Arc<dyn Target>,
        timeout: Duration,
    ) -> Result<HealthVerdict, Failure> {
        if bound.role() != Role::Health {
            return Err(Failure::Start(format!("it is bound as {}", bound.role())));
        }
        let begun = Instant::now();
        if !checks_of(&bound.program).allow(bound.number(), begun) {
            bound.program.ledger.skipped_check(Skip::Breaker);
            return Err(Failure::Skipped(Skip::Breaker));
        }
        bound.program.machine.clock.need(timeout);
        let check = checking::check(bound, target, timeout);
        let outcome = tokio::time::timeout(timeout, check).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Failure::Deadline.into()));
        let outcome = settle(&bound.program.ledger, begun.elapsed(), outcome);
        match &outcome {
            Ok(_) => checks_of(&bound.program).recover(bound.number()),
            Err(failure) => checks_of(&bound.program).fail(bound, failure, false, Instant::now()),
        }
        outcome
    }

    /// Bindings of a plugin that are not asked, because they failed too often in a row.
    pub fn open_breakers(&self, plugin: &str) -> Vec<OpenBreaker> {
        let ledger = self.ledgers().get(plugin).cloned();
        ledger.map(|ledger| ledger.breakers.all()).unwrap_or_default()
    }

    /// Append the metrics of all plugins in Prometheus text format.
    pub fn metrics(&self, out: &mut String) {
        let ledgers: Vec<_> = self.ledgers().values().cloned().collect();
        page::write(&ledgers, out);
    }

    fn ledger(&self, name: &Arc<str>) -> Arc<Ledger> {
        let mut ledgers = self.ledgers();
        let ledger = ledgers.entry(Arc::clone(name));
        Arc::clone(ledger.or_insert_with(|| Arc::new(Ledger::new(Arc::clone(name)))))
    }

    fn ledgers(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Ledger>>> {
        self.ledgers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn settle(ledger: &Ledger, took: Duration, outcome: Result<HealthVerdict, Fault>) -> Result<HealthVerdict, Failure> {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    outcome.inspect(|_| ledger.checked(nanos, None)).map_err(|Fault { failure, cause }| {
        ledger.checked(nanos, Some(&failure));
        ledger.log_failure(Some(Role::Health), &failure, cause.as_ref());
        failure
    })
}

/// How its health checks go.
fn checks_of(program: &Program) -> MutexGuard<'_, Troubles> {
    program.checking.lock().unwrap_or_else(PoisonError::into_inner)
}

fn memory(configured: ByteSize) -> Result<usize, Refused> {
    let ByteSize(bytes) = configured;
    match usize::try_from(bytes) {
        Ok(memory) if bytes <= MEMORY_CEILING => Ok(memory),
        _ => Err(Refused::Host(format!("memory of {bytes} bytes: at most {MEMORY_CEILING}"))),
    }
}

/// An import has our name and another type.
fn misfit(error: wasmtime::Error) -> Refused {
    Refused::Imports(vec![format!("does not fit the contract: {error:#}")])
}

fn next_id() -> u64 {
    static PROGRAMS: AtomicU64 = AtomicU64::new(1);
    PROGRAMS.fetch_add(1, Relaxed)
}
