//! Health checks: guests that may wait for their target, on the control runtime.
//!
//! A guest serves one check at a time and is kept for the next; checks that run at once have one
//! each. It yields with every tick, so that a loop in it delays nothing, and ends once it has had its CPU time.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use wasmtime::{Store, UpdateDeadline};

use crate::{
    Bound, CandidatesView, Failure, HealthVerdict, Program, RequestView, Target,
    answer::{HANDED_OVER, complaint},
    contract::waiting,
    decision::Data,
    fault::Fault,
    ledger::{Alive, Ledger},
    limits::Limits,
    meter::Meter,
    program::Binding,
};

/// Guests of a program that are kept between checks.
const KEPT: usize = 4;
/// What a guest has left of a check's timeout when its target stays silent, at most.
const RESERVE: Duration = Duration::from_millis(100);

/// Data of a store for health checks.
pub(crate) struct Checking {
    limits: Limits,
    ledger: Arc<Ledger>,
    meter: Arc<Meter>,
    /// The endpoint of the check under way.
    pub held: Option<Held>,
}

/// An endpoint under check.
pub(crate) struct Held {
    pub target: Arc<dyn Target>,
    /// When the guest must have heard from it.
    pub until: Instant,
}

impl Data for Checking {
    fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    fn request(&self) -> Option<&'static dyn RequestView> {
        None
    }

    fn candidates(&self) -> Option<&'static dyn CandidatesView> {
        None
    }

    /// Only ever asked for text of a request, and there is none.
    fn lend(&mut self, _: Cow<'static, str>) -> &'static str {
        ""
    }
}

/// A guest between two checks.
pub(crate) struct Idle {
    store: Store<Checking>,
    lifecycle: waiting::lifecycle::Guest,
    health: waiting::health::Guest,
    configured: HashSet<u32>,
    meter: Arc<Meter>,
    /// CPU time of a check, and of starting or configuring.
    most: (Duration, Duration),
    _alive: Alive,
}

/// One check. Dropping the future ends the guest.
pub(crate) async fn check(bound: &Bound, target: Arc<dyn Target>, timeout: Duration) -> Result<HealthVerdict, Fault> {
    let program = &bound.program;
    let until = Instant::now() + timeout.saturating_sub(RESERVE.min(timeout / 10));
    let permit = program.machine.checks.acquire().await;
    let _permit = permit.map_err(|error| Failure::Start(error.to_string()))?;
    let idle = kept(program).pop();
    let mut guest = match idle {
        Some(guest) => guest,
        None => Idle::start(program).await?,
    };
    let verdict = guest.check(&bound.binding, Held { target, until }).await?.try_into()?;
    let mut kept = kept(program);
    if kept.len() < KEPT {
        kept.push(guest);
    }
    Ok(verdict)
}

fn kept(program: &Program) -> MutexGuard<'_, Vec<Idle>> {
    program.idle.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Idle {
    async fn start(program: &Program) -> Result<Self, Fault> {
        let limits = Limits::new(program.memory);
        let meter = Arc::<Meter>::default();
        let data = Checking { limits, ledger: program.ledger.clone(), meter: Arc::clone(&meter), held: None };
        let mut store = Store::new(&program.machine.engine, data);
        store.limiter(|data| &mut data.limits);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| {
            let is_over = store.data().meter.is_over();
            Ok(if is_over { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
        });
        store.set_hostcall_fuel(HANDED_OVER);
        let most = (program.check_cpu, program.start_deadline());
        match meter.run(most.1, Self::link(program, &mut store)).await {
            Ok((lifecycle, health)) => {
                let _alive = Alive::new(&program.ledger);
                Ok(Self { store, lifecycle, health, configured: HashSet::new(), meter, most, _alive })
            }
            Err(cause) => Err(Fault::of_start(cause, &store.data().limits)),
        }
    }

    async fn link(
        program: &Program,
        store: &mut Store<Checking>,
    ) -> wasmtime::Result<(waiting::lifecycle::Guest, waiting::health::Guest)> {
        let pre = &program.checks;
        let linked = pre.instantiate_async(&mut *store).await?;
        let lifecycle = waiting::lifecycle::GuestIndices::new(pre)?.load(&mut *store, &linked)?;
        let health = waiting::health::GuestIndices::new(pre)?.load(&mut *store, &linked)?;
        Ok((lifecycle, health))
    }

    async fn check(&mut self, binding: &Binding, held: Held) -> Result<waiting::health::Verdict, Fault> {
        self.store.data_mut().limits.refused = false;
        if !self.configured.contains(&binding.number) {
            self.configure(binding).await?;
        }
        self.store.data_mut().held = Some(held);
        let check = self.health.call_check(&mut self.store, binding.number);
        let verdict = self.meter.run(self.most.0, check).await;
        self.store.data_mut().held = None;
        verdict.map_err(|cause| self.fault(cause))
    }

    async fn configure(&mut self, binding: &Binding) -> Result<(), Fault> {
        let Self { store, lifecycle, meter, most, .. } = self;
        let answer = lifecycle.call_configure(store, binding.number, binding.role.into(), &binding.settings);
        match meter.run(most.1, answer).await {
            Ok(Ok(())) => {
                self.configured.insert(binding.number);
                Ok(())
            }
            Ok(Err(why)) => Err(Failure::Start(format!("it refuses its settings: {}", complaint(why))).into()),
            Err(cause) => Err(self.fault(cause)),
        }
    }

    fn fault(&self, cause: wasmtime::Error) -> Fault {
        Fault::of_call(cause, &self.store.data().limits)
    }
}
