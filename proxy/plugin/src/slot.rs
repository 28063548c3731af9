//! A program's place on one worker: its instance, and whether it may be asked.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use crate::{
    Bound, Budget, Failure, Program, Skip,
    allowance::thread_time,
    bucket::Bucket,
    fault::Fault,
    instance::{Ask, Configured, Instance},
    ledger::Ledger,
    prepared,
    program::START,
    tally::Tally,
    troubles::Troubles,
};

/// Over which the share of a plugin in its worker's time is taken: what it may use at once after a rest.
const WINDOW: Duration = Duration::from_secs(1);
/// Thousandths of a worker's time that calls which fail may take, beyond what they may take at once: this, or as much as
/// some calls to the deadline.
const WASTE: u32 = 5;
const WASTE_AT_ONCE: Duration = Duration::from_millis(50);
const OVERRUNS_AT_ONCE: u32 = 4;

/// A program's place on this worker.
pub(crate) struct Slot {
    pub id: u64,
    pub program: Weak<Program>,
    pub instance: Option<Instance>,
    /// Its guest has bindings to forget.
    pub releasing: bool,
    ledger: Arc<Ledger>,
    tally: Arc<Tally>,
    /// Of one call.
    deadline: Duration,
    troubles: Troubles,
    /// Time that its calls may take.
    share: Bucket,
    /// Time that calls may take which fail.
    waste: Bucket,
}

/// What a call came to.
pub(crate) struct Called<R> {
    pub outcome: Result<R, Fault>,
    /// What it has cost the worker, without what a busy machine made its thread wait.
    pub spent: Duration,
    pub ended: Instant,
}

impl Slot {
    pub(crate) fn new(program: &Arc<Program>, worker: usize) -> Self {
        let now = Instant::now();
        let (ledger, share) = (Arc::clone(&program.ledger), program.worker_share.saturating_mul(10));
        Self {
            id: program.id,
            program: Arc::downgrade(program),
            instance: None,
            releasing: false,
            tally: ledger.tally(),
            deadline: program.deadline,
            troubles: Troubles::new(program.id, Some(worker), Arc::clone(&ledger)),
            share: Bucket::new(share, WINDOW * program.worker_share / 100, now),
            waste: Bucket::new(WASTE, WASTE_AT_ONCE.max(program.deadline * OVERRUNS_AT_ONCE), now),
            ledger,
        }
    }

    /// How long a call may take that begins now.
    ///
    /// # Errors
    /// It is not to be made.
    pub(crate) fn admit(&mut self, bound: &Bound, budget: &Budget, now: Instant) -> Result<Duration, Failure> {
        let skip = match budget.left(self.deadline, now) {
            None => Skip::Budget,
            Some(_) if !self.share.has_some(now) => Skip::Share,
            Some(_) if !self.is_trusted(bound.number(), now) => Skip::Breaker,
            Some(_) if !self.is_provided(bound) => Skip::NotReady,
            Some(left) => return Ok(left),
        };
        self.tally.skip(bound.role(), skip);
        Err(Failure::Skipped(skip))
    }

    /// Whether a binding has not failed too often of late.
    fn is_trusted(&mut self, number: u32, now: Instant) -> bool {
        let may_try = !self.troubles.has_open(number) || self.waste.has_some(now);
        may_try && self.troubles.allow(number, now)
    }

    /// Ask the instance, which is made and takes up the binding first where that is needed.
    pub(crate) fn ask<R>(
        &mut self,
        bound: &Bound,
        ask: &Ask<'_>,
        begun: Instant,
        call: impl FnOnce(&mut Instance, &Ask<'_>) -> Result<R, Fault>,
    ) -> Called<R> {
        let mut begun = begun;
        if !self.is_ready(bound) {
            let before = thread_time();
            let prepared = self.prepare(bound);
            let spent = thread_time().saturating_sub(before);
            self.share.take(spent);
            begun = Instant::now();
            if let Err(fault) = prepared {
                self.instance = None;
                return Called { outcome: Err(fault), spent, ended: begun };
            }
        }
        let Some(instance) = &mut self.instance else {
            let outcome = Err(Failure::Start("it is gone".into()).into());
            return Called { outcome, spent: Duration::ZERO, ended: begun };
        };
        let outcome = call(instance, ask);
        let ended = Instant::now();
        let spent = instance.spent(ended.saturating_duration_since(begun));
        if outcome.is_err() {
            self.instance = None;
        }
        self.share.take(spent);
        Called { outcome, spent, ended }
    }

    fn is_ready(&self, bound: &Bound) -> bool {
        self.instance.as_ref().is_some_and(|guest| guest.is_configured(&bound.binding))
    }

    /// For a binding that takes long to be taken up: an instance that has done so, or none for now.
    fn is_provided(&mut self, bound: &Bound) -> bool {
        if self.is_ready(bound) || !bound.binding.is_slow() {
            return true;
        }
        let found = bound.program.prepared.take(&bound.binding);
        // The next is for when this one fails.
        if found.is_none() || bound.program.prepared.is_empty() {
            prepared::order(&bound.program);
        }
        let is_there = found.is_some();
        self.instance = found.or(self.instance.take());
        is_there
    }

    /// Start an instance if there is none and have it take up the binding.
    fn prepare(&mut self, bound: &Bound) -> Result<(), Fault> {
        let instance = match &mut self.instance {
            Some(instance) => instance,
            None => self.instance.insert(Instance::start(&bound.program, START)?),
        };
        match instance.configure(&bound.binding, START)? {
            Configured::Done => Ok(()),
            Configured::Refused(why) => Err(Failure::Start(format!("it refuses its settings: {why}")).into()),
        }
    }

    /// Count a call and tell of its failure.
    pub(crate) fn settle<R>(&mut self, bound: &Bound, took: Duration, called: Called<R>) -> Result<R, Failure> {
        let (role, nanos) = (bound.role(), u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        match called.outcome {
            Ok(answer) => {
                self.tally.count(role, nanos, None);
                self.troubles.succeed(bound.number());
                Ok(answer)
            }
            Err(Fault { failure, cause }) => {
                self.tally.count(role, nanos, Some(&failure));
                self.waste.take(called.spent);
                self.ledger.log_failure(Some(role), &failure, cause.as_ref());
                let last = !self.waste.has_some(called.ended);
                self.troubles.fail(bound, &failure, last, called.ended);
                Err(failure)
            }
        }
    }

    /// The answer of the last call is impossible.
    pub(crate) fn reject(&mut self, bound: &Bound, failure: &Failure) {
        self.instance = None;
        self.tally.fail(bound.role(), failure);
        self.ledger.log_failure(Some(bound.role()), failure, None);
        self.troubles.fail(bound, failure, false, Instant::now());
    }

    /// Let go of what nothing needs any more.
    pub(crate) fn prune(&mut self) {
        self.troubles.prune();
        if self.instance.as_ref().is_some_and(|guest| !guest.is_bound()) {
            self.instance = None;
        }
        if let Some(program) = self.program.upgrade() {
            program.prepared.prune();
        }
        self.release();
    }

    /// Have the guest forget bindings that nothing holds any more; the rest of them the next time.
    pub(crate) fn release(&mut self) {
        let released = self.instance.as_mut().map(|instance| instance.release(self.deadline));
        self.releasing = matches!(released, Some(Ok(false)));
        if let Some(Err(fault)) = released {
            self.instance = None;
            self.ledger.log_failure(None, &fault.failure, fault.cause.as_ref());
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.ledger.retire(&self.tally);
    }
}
