//! The guests of one worker.
//!
//! A guest is started by the first decision it owes and asked by plain calls on the worker's own
//! thread. One that failed is dropped; the next decision starts another.

use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    Bound, Budget, CandidatesView, Failure, Mark, Program, RequestView, Role, RouteDecision, Session,
    fault::Fault,
    instance::{Ask, Instance},
    slot::Slot,
};

/// All guests of one worker. Not for sharing: each thread has its own.
#[derive(Default)]
pub struct Guests {
    /// Ordered by program.
    slots: RefCell<Vec<Slot>>,
    worker: usize,
    took: Cell<Duration>,
    spent: Cell<Duration>,
    _own_thread: PhantomData<*const ()>,
}

impl Guests {
    /// None running yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of the worker of this number.
    pub fn of_worker(worker: usize) -> Self {
        Self { worker, ..Self::default() }
    }

    /// Where the request goes.
    ///
    /// # Errors
    /// No decision came about; the caller does what [`Program::on_failure`] says.
    pub fn route(&self, bound: &Bound, budget: &Budget, request: &dyn RequestView) -> Result<RouteDecision, Failure> {
        self.ask(bound, Role::Router, budget, request, |instance, ask| Ok(instance.route(ask)?.try_into()?))
    }

    /// Index of the endpoint to take, which is below the number of candidates; none leaves the
    /// choice to the caller.
    ///
    /// # Errors
    /// As [`Guests::route`].
    pub fn pick(
        &self,
        bound: &Bound,
        budget: &Budget,
        request: &dyn RequestView,
        candidates: &dyn CandidatesView,
    ) -> Result<Option<u32>, Failure> {
        self.ask(bound, Role::Balancer, budget, request, |instance, ask| match instance.pick(ask, candidates)? {
            Some(index) if index >= candidates.len() => Err(bad_index(index, candidates.len())),
            choice => Ok(choice),
        })
    }

    /// The session the request belongs to; none when it has none yet.
    ///
    /// # Errors
    /// As [`Guests::route`].
    pub fn session(
        &self,
        bound: &Bound,
        budget: &Budget,
        request: &dyn RequestView,
    ) -> Result<Option<Session>, Failure> {
        self.ask(bound, Role::Affinity, budget, request, |instance, ask| {
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
        budget: &Budget,
        request: &dyn RequestView,
        key: Option<&str>,
        endpoint: &str,
    ) -> Result<Mark, Failure> {
        self.ask(bound, Role::Affinity, budget, request, |instance, ask| {
            Ok(instance.bound(ask, key, endpoint)?.try_into()?)
        })
    }

    /// How long the last decision took.
    pub fn took(&self) -> Duration {
        self.took.get()
    }

    /// What the last decision takes of its request's budget: a busy machine and the start of an instance do not count.
    pub fn spent(&self) -> Duration {
        self.spent.get()
    }

    /// The last decision turned out to be impossible, such as an unknown cluster: count it as a
    /// failure and replace the guest.
    pub fn reject(&self, bound: &Bound, why: impl Into<String>) -> Failure {
        let failure = Failure::BadAnswer(why.into());
        if let Ok(mut slots) = self.slots.try_borrow_mut()
            && let Some(slot) = slot_of(&mut slots, &bound.program, self.worker)
        {
            slot.reject(bound, &failure);
        }
        failure
    }

    /// Drop the guests of which nobody holds a binding any more, and have the others forget bindings
    /// that nobody holds.
    pub fn prune(&self) {
        if let Ok(mut slots) = self.slots.try_borrow_mut() {
            slots.retain(|slot| slot.program.strong_count() > 0);
            slots.iter_mut().for_each(Slot::prune);
        }
    }

    /// Go on with what [`Guests::prune`] has left, so that no request waits for all of it.
    pub fn go_on(&self) {
        if let Ok(mut slots) = self.slots.try_borrow_mut() {
            slots.iter_mut().filter(|slot| slot.releasing).for_each(Slot::release);
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
        budget: &Budget,
        request: &dyn RequestView,
        call: impl FnOnce(&mut Instance, &Ask<'_>) -> Result<R, Fault>,
    ) -> Result<R, Failure> {
        self.took.set(Duration::ZERO);
        self.spent.set(Duration::ZERO);
        if bound.role() != role {
            return Err(Failure::Start(format!("it is bound as {}", bound.role())));
        }
        let Ok(mut slots) = self.slots.try_borrow_mut() else {
            return Err(Failure::Start("asked in the middle of a decision".into()));
        };
        let Some(slot) = slot_of(&mut slots, &bound.program, self.worker) else {
            return Err(Failure::Start("no place for it".into()));
        };
        let begun = Instant::now();
        let deadline = slot.admit(bound, budget, begun)?;
        let called = slot.ask(bound, &Ask { number: bound.number(), deadline, request }, begun, call);
        self.took.set(called.ended.saturating_duration_since(begun));
        self.spent.set(called.spent);
        slot.settle(bound, self.took.get(), called)
    }
}

/// The program's slot, made at its first decision on this worker.
fn slot_of<'a>(slots: &'a mut Vec<Slot>, program: &Arc<Program>, worker: usize) -> Option<&'a mut Slot> {
    let place = match slots.binary_search_by_key(&program.id, |slot| slot.id) {
        Ok(place) => place,
        Err(_) => {
            slots.retain(|slot| slot.program.strong_count() > 0);
            let place = slots.partition_point(|slot| slot.id < program.id);
            slots.insert(place, Slot::new(program, worker));
            place
        }
    };
    slots.get_mut(place)
}

fn bad_index(index: u32, len: u32) -> Fault {
    Failure::BadAnswer(format!("index {index} of {len} candidates")).into()
}
