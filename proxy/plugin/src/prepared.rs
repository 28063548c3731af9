//! Instances that are made beside the traffic, for plugins that take long to start or to take up a binding: a worker that
//! needs one takes it whole, with every binding in it, and asks for the next.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError, TryLockError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
        mpsc::{self, Sender},
    },
    thread,
};

use crate::{
    Program,
    fault::Fault,
    instance::{Configured, Instance},
    program::Binding,
};

/// Milliseconds before another attempt, after one that failed.
const REST: u64 = 1_000;

/// The instances of a program that wait for a worker.
#[derive(Default)]
pub(crate) struct Prepared {
    waiting: Mutex<Vec<Instance>>,
    /// One is being made.
    under_way: AtomicBool,
    /// After one could not be made: milliseconds of the plugin's life until the next attempt.
    rests_until: AtomicU64,
}

impl Prepared {
    /// One that has taken up this binding, if there is any. Waits for nothing.
    pub(crate) fn take(&self, binding: &Binding) -> Option<Instance> {
        let mut waiting = match self.waiting.try_lock() {
            Ok(waiting) => waiting,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        waiting.retain(Instance::is_bound);
        let place = waiting.iter().position(|instance| instance.is_configured(binding))?;
        Some(waiting.swap_remove(place))
    }

    /// Let go of those whose bindings nothing holds any more.
    pub(crate) fn prune(&self) {
        if let Ok(mut waiting) = self.waiting.try_lock() {
            waiting.retain(Instance::is_bound);
        }
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.try_lock().is_ok_and(|waiting| waiting.is_empty())
    }

    fn put(&self, instances: Vec<Instance>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let former = std::mem::replace(&mut *waiting, instances);
        drop((waiting, former));
    }
}

/// Replace what waits by instances that know the bindings of now: one for each worker, and one to go on with when one
/// fails. Nothing where every worker can do that itself.
pub(crate) fn prepare(program: &Arc<Program>, workers: usize) {
    let bindings = program.deciding();
    if !bindings.iter().any(|binding| binding.is_slow()) {
        return;
    }
    let instances = (0..=workers).map_while(|_| make(program, &bindings));
    program.prepared.put(instances.collect());
}

/// Have another one made by a thread that does nothing else.
pub(crate) fn order(program: &Arc<Program>) {
    static ORDERS: OnceLock<Option<Sender<Arc<Program>>>> = OnceLock::new();
    let prepared = &program.prepared;
    if age(program) < prepared.rests_until.load(Relaxed) || prepared.under_way.swap(true, SeqCst) {
        return;
    }
    let orders = ORDERS.get_or_init(|| {
        let (orders, taken) = mpsc::channel::<Arc<Program>>();
        let serve = move || taken.iter().for_each(|program| serve(&program));
        thread::Builder::new().name("weir-prepare".into()).spawn(serve).is_ok().then_some(orders)
    });
    let sent = orders.as_ref().is_some_and(|orders| orders.send(Arc::clone(program)).is_ok());
    if !sent {
        program.prepared.under_way.store(false, SeqCst);
    }
}

fn serve(program: &Arc<Program>) {
    let bindings = program.deciding();
    let instance = if bindings.is_empty() { None } else { make(program, &bindings) };
    drop(bindings);
    match instance {
        Some(instance) => program.prepared.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(instance),
        None => program.prepared.rests_until.store(age(program) + REST, Relaxed),
    }
    program.prepared.under_way.store(false, SeqCst);
}

/// Milliseconds that the plugin is known for.
fn age(program: &Program) -> u64 {
    u64::try_from(program.ledger.born.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// An instance with these bindings. One that it refuses is left to the decision that needs it.
fn make(program: &Arc<Program>, bindings: &[Arc<Binding>]) -> Option<Instance> {
    let made = Instance::start(program, program.start_deadline()).and_then(|mut instance| {
        for binding in bindings {
            if let Configured::Refused(why) = instance.configure(binding, program.start_deadline())? {
                let (plugin, binding) = (&**program.name(), binding.number);
                tracing::warn!(plugin, binding, why, "plugin refuses settings that it took before");
            }
        }
        Ok(instance)
    });
    let log = |Fault { failure, cause }: &Fault| program.ledger.log_failure(None, failure, cause.as_ref());
    made.inspect_err(log).ok()
}
