//! One guest of one worker: a store with an instance in it, and the bindings it has taken up.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use wasmtime::{Store, UpdateDeadline, component::Instance as Linked};

use crate::{
    CandidatesView, Failure, RequestView, Role,
    allowance::thread_time,
    answer::{HANDED_OVER, complaint},
    contract::sync::{affinity, balancer, lifecycle, router},
    decision::{Decision, during},
    fault::Fault,
    ledger::Alive,
    limits::Limits,
    program::{Binding, Program},
};

/// Bindings that a guest forgets at a time, and for how long it does so.
const RELEASES: usize = 32;
const SLICE: Duration = Duration::from_millis(1);

/// A started guest.
pub(crate) struct Instance {
    store: Store<Decision>,
    exports: Functions,
    /// Bindings it has taken up, by number.
    configured: Vec<Option<Weak<Binding>>>,
    _alive: Alive,
}

/// The interfaces a guest exports.
struct Functions {
    lifecycle: lifecycle::Guest,
    router: Option<router::Guest>,
    balancer: Option<balancer::Guest>,
    affinity: Option<affinity::Guest>,
}

/// What `configure` said.
pub(crate) enum Configured {
    /// The binding may be asked.
    Done,
    /// Its settings are no good.
    Refused(String),
}

impl Instance {
    pub(crate) fn start(program: &Program, within: Duration) -> Result<Self, Fault> {
        let limits = Limits::new(program.memory);
        let data = Decision::new(program.ledger.clone(), program.machine.clone(), limits);
        let mut store = Store::new(&program.machine.engine, data);
        store.limiter(|data| &mut data.limits);
        store.epoch_deadline_callback(|mut store| {
            let data = store.data_mut();
            let clock = &data.machine.clock;
            let left = data.allowance.left(thread_time(), clock.tick());
            clock.need(clock.tick() * u32::try_from(left.unwrap_or_default()).unwrap_or(u32::MAX));
            Ok(left.map_or(UpdateDeadline::Interrupt, UpdateDeadline::Continue))
        });
        begin(&mut store, within);
        store.set_hostcall_fuel(HANDED_OVER);
        let linked = program.decisions.instantiate(&mut store);
        let exports = linked.and_then(|linked| Functions::of(program, &mut store, &linked));
        match exports {
            Ok(exports) => {
                let _alive = Alive::new(&program.ledger);
                Ok(Self { store, exports, configured: Vec::new(), _alive })
            }
            Err(cause) => Err(Fault::of_start(cause, &store.data().limits)),
        }
    }

    pub(crate) fn is_configured(&self, binding: &Binding) -> bool {
        self.configured.get(binding.number as usize).is_some_and(Option::is_some)
    }

    /// Whether anybody holds a binding that it has taken up.
    pub(crate) fn is_bound(&self) -> bool {
        self.configured.iter().flatten().any(|binding| binding.strong_count() > 0)
    }

    pub(crate) fn configure(&mut self, binding: &Arc<Binding>, within: Duration) -> Result<Configured, Fault> {
        begin(&mut self.store, within);
        let Self { store, exports, .. } = self;
        let answer =
            exports.lifecycle.call_configure(&mut *store, binding.number, binding.role.into(), &binding.settings);
        match answer {
            Ok(Ok(())) => {
                self.remember(binding);
                Ok(Configured::Done)
            }
            Ok(Err(why)) => Ok(Configured::Refused(complaint(why))),
            Err(cause) => Err(Fault::of_call(cause, &store.data().limits)),
        }
    }

    pub(crate) fn route(&mut self, ask: &Ask<'_>) -> Result<router::Decision, Fault> {
        begin(&mut self.store, ask.deadline);
        let Self { store, exports, .. } = self;
        let router = exports.router.as_ref().ok_or_else(|| lacks(Role::Router))?;
        let answer = during(store, ask.request, None, |store| router.call_route(store, ask.number));
        answer.map_err(|cause| self.fault(cause))
    }

    pub(crate) fn pick(&mut self, ask: &Ask<'_>, candidates: &dyn CandidatesView) -> Result<Option<u32>, Fault> {
        begin(&mut self.store, ask.deadline);
        let Self { store, exports, .. } = self;
        let balancer = exports.balancer.as_ref().ok_or_else(|| lacks(Role::Balancer))?;
        let answer = during(store, ask.request, Some(candidates), |store| balancer.call_pick(store, ask.number));
        answer.map_err(|cause| self.fault(cause))
    }

    pub(crate) fn lookup(&mut self, ask: &Ask<'_>) -> Result<Option<affinity::Session>, Fault> {
        begin(&mut self.store, ask.deadline);
        let Self { store, exports, .. } = self;
        let affinity = exports.affinity.as_ref().ok_or_else(|| lacks(Role::Affinity))?;
        let answer = during(store, ask.request, None, |store| affinity.call_lookup(store, ask.number));
        answer.map_err(|cause| self.fault(cause))
    }

    pub(crate) fn bound(&mut self, ask: &Ask<'_>, key: Option<&str>, endpoint: &str) -> Result<affinity::Mark, Fault> {
        begin(&mut self.store, ask.deadline);
        let Self { store, exports, .. } = self;
        let affinity = exports.affinity.as_ref().ok_or_else(|| lacks(Role::Affinity))?;
        let answer = during(store, ask.request, None, |store| affinity.call_bound(store, ask.number, key, endpoint));
        answer.map_err(|cause| self.fault(cause))
    }

    /// Have the guest forget bindings that nothing holds any more, as many as a worker can do between two requests.
    /// True when that was all.
    pub(crate) fn release(&mut self, deadline: Duration) -> Result<bool, Fault> {
        let begun = Instant::now();
        let held = |binding: &Option<Weak<Binding>>| binding.as_ref().is_none_or(|binding| binding.strong_count() > 0);
        for done in 0..=RELEASES {
            let Some(place) = self.configured.iter().position(|binding| !held(binding)) else { return Ok(true) };
            if done == RELEASES || begun.elapsed() >= SLICE {
                break;
            }
            if let Some(configured) = self.configured.get_mut(place) {
                *configured = None;
            }
            begin(&mut self.store, deadline);
            let number = u32::try_from(place).unwrap_or(u32::MAX);
            let released = self.exports.lifecycle.call_release(&mut self.store, number);
            released.map_err(|cause| self.fault(cause))?;
        }
        Ok(false)
    }

    /// What the last call has cost its thread, which took so long by the wall.
    pub(crate) fn spent(&self, took: Duration) -> Duration {
        let data = self.store.data();
        data.allowance.spent(took, data.machine.clock.tick())
    }

    fn fault(&self, cause: wasmtime::Error) -> Fault {
        Fault::of_call(cause, &self.store.data().limits)
    }

    fn remember(&mut self, binding: &Arc<Binding>) {
        let place = binding.number as usize;
        if self.configured.len() <= place {
            self.configured.resize(place + 1, None);
        }
        if let Some(configured) = self.configured.get_mut(place) {
            *configured = Some(Arc::downgrade(binding));
        }
    }
}

/// A call that may take so long begins.
fn begin(store: &mut Store<Decision>, deadline: Duration) {
    let data = store.data_mut();
    data.limits.refused = false;
    data.machine.clock.need(deadline);
    let first = data.allowance.begin(deadline, data.machine.clock.tick());
    store.set_epoch_deadline(first);
}

/// One question to a guest.
pub(crate) struct Ask<'a> {
    /// Of the binding.
    pub number: u32,
    /// Its deadline.
    pub deadline: Duration,
    pub request: &'a dyn RequestView,
}

impl Functions {
    fn of(program: &Program, store: &mut Store<Decision>, linked: &Linked) -> wasmtime::Result<Self> {
        let exports = &program.exports;
        let (router, balancer) = (exports.router.as_ref(), exports.balancer.as_ref());
        let (affinity, health) = (exports.affinity.as_ref(), exports.health.as_ref());
        // Asked for only to see that its types fit.
        health.map(|health| health.load(&mut *store, linked)).transpose()?;
        Ok(Self {
            lifecycle: exports.lifecycle.load(&mut *store, linked)?,
            router: router.map(|router| router.load(&mut *store, linked)).transpose()?,
            balancer: balancer.map(|balancer| balancer.load(&mut *store, linked)).transpose()?,
            affinity: affinity.map(|affinity| affinity.load(&mut *store, linked)).transpose()?,
        })
    }
}

fn lacks(role: Role) -> Fault {
    Failure::Start(format!("it has not the role {role}")).into()
}
