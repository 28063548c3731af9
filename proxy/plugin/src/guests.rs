//! The guests of one worker.
//!
//! A guest is started by the first decision it owes and asked by plain calls on the worker's own
//! thread. One that failed is dropped; the next decision starts another.

use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use crate::{
    Bound, CandidatesView, Failure, Mark, Program, RequestView, Role, RouteDecision, Session,
    fault::Fault,
    instance::{Ask, Configured, Instance},
    ledger::Ledger,
    tally::Tally,
};

/// How long a guest that would not start, or a binding it would not take, is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// All guests of one worker. Not for sharing: each thread has its own.
#[derive(Default)]
pub struct Guests {
    /// Ordered by program.
    slots: RefCell<Vec<Slot>>,
    took: Cell<Duration>,
    _own_thread: PhantomData<*const ()>,
}

/// A program's place on this worker.
struct Slot {
    id: u64,
    program: Weak<Program>,
    ledger: Arc<Ledger>,
    tally: Arc<Tally>,
    /// Of one call.
    deadline: Duration,
    instance: Option<Instance>,
    paused: Vec<Pause>,
}

/// What need not be tried again for a while.
struct Pause {
    /// The binding; none is the whole program.
    binding: Option<u32>,
    until: Instant,
    failure: Failure,
}

impl Guests {
    /// None running yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the request goes.
    ///
    /// # Errors
    /// No decision came about; the caller does what [`Program::on_failure`] says.
    pub fn route(&self, bound: &Bound, request: &dyn RequestView) -> Result<RouteDecision, Failure> {
        self.ask(bound, Role::Router, request, |instance, ask| Ok(instance.route(ask)?.try_into()?))
    }

    /// Index of the endpoint to take, which is below the number of candidates; none leaves the
    /// choice to the caller.
    ///
    /// # Errors
    /// As [`Guests::route`].
    pub fn pick(
        &self,
        bound: &Bound,
        request: &dyn RequestView,
        candidates: &dyn CandidatesView,
    ) -> Result<Option<u32>, Failure> {
        self.ask(bound, Role::Balancer, request, |instance, ask| match instance.pick(ask, candidates)? {
            Some(index) if index >= candidates.len() => Err(bad_index(index, candidates.len())),
            choice => Ok(choice),
        })
    }

    /// The session the request belongs to; none when it has none yet.
    ///
    /// # Errors
    /// As [`Guests::route`].
    pub fn session(&self, bound: &Bound, request: &dyn RequestView) -> Result<Option<Session>, Failure> {
        self.ask(bound, Role::Affinity, request, |instance, ask| {
            let session = instance.lookup(ask)?.map(Session::from);
            Ok(session.map(Session::checked).transpose()?)
        })
    }

    /// How the client is marked now that its request was bound to an endpoint.
    ///
    /// # Errors
    /// As [`Guests::route`].
    pub fn bound(
        &self,
        bound: &Bound,
        request: &dyn RequestView,
        key: Option<&str>,
        endpoint: &str,
    ) -> Result<Mark, Failure> {
        self.ask(bound, Role::Affinity, request, |instance, ask| Ok(instance.bound(ask, key, endpoint)?.try_into()?))
    }

    /// How long the last decision took.
    pub fn took(&self) -> Duration {
        self.took.get()
    }

    /// The last decision turned out to be impossible, such as an unknown cluster: count it as a
    /// failure and replace the guest.
    pub fn reject(&self, bound: &Bound, why: impl Into<String>) -> Failure {
        let failure = Failure::BadAnswer(why.into());
        if let Ok(mut slots) = self.slots.try_borrow_mut()
            && let Some(slot) = slot_of(&mut slots, &bound.program)
        {
            slot.instance = None;
            slot.tally.fail(bound.role(), &failure);
            slot.ledger.log_failure(Some(bound.role()), &failure, None);
        }
        failure
    }

    /// Drop the guests of which nobody holds a binding any more, and have the others forget bindings
    /// that nobody holds.
    pub fn prune(&self) {
        if let Ok(mut slots) = self.slots.try_borrow_mut() {
            slots.retain(|slot| slot.program.strong_count() > 0);
            slots.iter_mut().for_each(Slot::release);
        }
    }

    /// Guests that are alive.
    pub fn instances(&self) -> usize {
        let slots = self.slots.try_borrow();
        slots.map_or(0, |slots| slots.iter().filter(|slot| slot.instance.is_some()).count())
    }

    fn ask<R>(
        &self,
        bound: &Bound,
        role: Role,
        request: &dyn RequestView,
        call: impl FnOnce(&mut Instance, &Ask<'_>) -> Result<R, Fault>,
    ) -> Result<R, Failure> {
        self.took.set(Duration::ZERO);
        if bound.role() != role {
            return Err(Failure::Start(format!("it is bound as {}", bound.role())));
        }
        let Ok(mut slots) = self.slots.try_borrow_mut() else {
            return Err(Failure::Start("asked in the middle of a decision".into()));
        };
        let Some(slot) = slot_of(&mut slots, &bound.program) else {
            return Err(Failure::Start("no place for it".into()));
        };
        let begun = Instant::now();
        let outcome = slot.ask(bound, request, call);
        self.took.set(begun.elapsed());
        slot.settle(role, self.took.get(), outcome)
    }
}

impl Slot {
    fn new(program: &Arc<Program>) -> Self {
        Self {
            id: program.id,
            program: Arc::downgrade(program),
            ledger: Arc::clone(&program.ledger),
            tally: program.ledger.tally(),
            deadline: program.deadline,
            instance: None,
            paused: Vec::new(),
        }
    }

    fn ask<R>(
        &mut self,
        bound: &Bound,
        request: &dyn RequestView,
        call: impl FnOnce(&mut Instance, &Ask<'_>) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        let ask = Ask { number: bound.binding.number, deadline: self.deadline, request };
        let outcome = match self.ready(bound)? {
            Some(instance) => call(instance, &ask),
            None => self.prepare(bound).and_then(|instance| call(instance, &ask)),
        };
        if outcome.is_err() {
            self.instance = None;
        }
        outcome
    }

    /// The instance, if it has taken up the binding. One that is paused is left in peace.
    fn ready(&mut self, bound: &Bound) -> Result<Option<&mut Instance>, Failure> {
        if self.instance.as_ref().is_some_and(|guest| guest.is_configured(&bound.binding)) {
            return Ok(self.instance.as_mut());
        }
        self.check_pause(bound.binding.number)?;
        Ok(None)
    }

    /// Start an instance if there is none and have it take up the binding.
    fn prepare(&mut self, bound: &Bound) -> Result<&mut Instance, Fault> {
        if self.instance.is_none() {
            let started = Instance::start(&bound.program);
            self.instance = Some(started.inspect_err(|fault| self.pause(None, &fault.failure))?);
        }
        let number = bound.binding.number;
        let configured = self.configure(bound);
        configured.inspect_err(|fault| self.pause(Some(number), &fault.failure))?;
        self.instance.as_mut().ok_or_else(|| Failure::Start("it is gone".into()).into())
    }

    fn configure(&mut self, bound: &Bound) -> Result<(), Fault> {
        let Some(instance) = &mut self.instance else { return Ok(()) };
        match instance.configure(&bound.program, &bound.binding)? {
            Configured::Done => Ok(()),
            Configured::Refused(why) => Err(Failure::Start(format!("it refuses its settings: {why}")).into()),
        }
    }

    fn pause(&mut self, binding: Option<u32>, failure: &Failure) {
        let until = Instant::now() + PAUSE;
        self.paused.push(Pause { binding, until, failure: failure.clone() });
    }

    fn check_pause(&mut self, number: u32) -> Result<(), Failure> {
        if self.paused.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        self.paused.retain(|pause| pause.until > now);
        let concerns = |pause: &&Pause| pause.binding.is_none_or(|binding| binding == number);
        self.paused.iter().find(concerns).map_or(Ok(()), |pause| Err(pause.failure.clone()))
    }

    fn release(&mut self) {
        if self.instance.as_ref().is_some_and(|guest| !guest.is_bound()) {
            self.instance = None;
        }
        let released = self.instance.as_mut().map(|instance| instance.release(self.deadline));
        if let Some(Err(fault)) = released {
            self.instance = None;
            self.ledger.log_failure(None, &fault.failure, fault.cause.as_ref());
        }
    }

    /// Count the call and tell of its failure.
    fn settle<R>(&mut self, role: Role, took: Duration, outcome: Result<R, Fault>) -> Result<R, Failure> {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        match outcome {
            Ok(answer) => {
                self.tally.count(role, nanos, None);
                Ok(answer)
            }
            Err(Fault { failure, cause }) => {
                self.tally.count(role, nanos, Some(&failure));
                self.ledger.log_failure(Some(role), &failure, cause.as_ref());
                Err(failure)
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.ledger.retire(&self.tally);
    }
}

/// The program's slot, made at its first decision on this worker.
fn slot_of<'a>(slots: &'a mut Vec<Slot>, program: &Arc<Program>) -> Option<&'a mut Slot> {
    let place = match slots.binary_search_by_key(&program.id, |slot| slot.id) {
        Ok(place) => place,
        Err(_) => {
            slots.retain(|slot| slot.program.strong_count() > 0);
            let place = slots.partition_point(|slot| slot.id < program.id);
            slots.insert(place, Slot::new(program));
            place
        }
    };
    slots.get_mut(place)
}

fn bad_index(index: u32, len: u32) -> Fault {
    Failure::BadAnswer(format!("index {index} of {len} candidates")).into()
}
