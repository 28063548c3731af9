//! The clock that ends calls. Whoever calls a guest says how long it may take, and the clock ticks until
//! all of them have had their time: a process whose plugins nobody asks is woken by nothing.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use wasmtime::Engine;

/// Time between two ticks, unless a plugin has a shorter deadline. Each wakes a thread, which costs more
/// than some dozen calls of a guest.
const SLOW: Duration = Duration::from_millis(5);
/// However short a deadline is.
const FAST: Duration = Duration::from_millis(1);
/// Ticks for which the clock goes on beyond what it was asked for, so that a plugin in use asks for them
/// now and then rather than with every call.
const AHEAD: u64 = 1_000;

/// Counts an engine's epochs.
pub(crate) struct Clock {
    shared: Arc<Shared>,
    /// There once the thread runs; dropping it ends the thread.
    waker: Mutex<Option<Sender<()>>>,
}

struct Shared {
    engine: Engine,
    ahead: u64,
    /// Microseconds between two ticks.
    tick: AtomicU64,
    /// Ticks so far.
    now: AtomicU64,
    /// The tick up to which it is needed.
    needed: AtomicU64,
    asleep: AtomicBool,
}

impl Clock {
    pub(crate) fn new(engine: Engine) -> Self {
        Self::going_on(engine, AHEAD)
    }

    fn going_on(engine: Engine, ahead: u64) -> Self {
        let (now, needed, asleep) = Default::default();
        let tick = AtomicU64::new(micros(SLOW));
        Self { shared: Arc::new(Shared { engine, ahead, tick, now, needed, asleep }), waker: Mutex::new(None) }
    }

    /// Start the thread, once, and tick often enough for this deadline from now on.
    pub(crate) fn start(&self, deadline: Duration) -> std::io::Result<()> {
        self.shared.tick.fetch_min(micros(deadline.max(FAST)), Relaxed);
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if waker.is_none() {
            let (wake, wakes) = mpsc::channel();
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name("weir-deadline".into()).stack_size(64 << 10);
            thread.spawn(move || shared.run(&wakes))?;
            *waker = Some(wake);
        }
        Ok(())
    }

    /// Time between two ticks.
    pub(crate) fn tick(&self) -> Duration {
        Duration::from_micros(self.shared.tick.load(Relaxed))
    }

    /// Something begins that may take so long. Costs three loads nearly always.
    pub(crate) fn need(&self, time: Duration) {
        let shared = &*self.shared;
        let ticks = micros(time) / shared.tick.load(Relaxed).max(1) + 1;
        let until = shared.now.load(Relaxed).saturating_add(ticks);
        if shared.needed.load(Relaxed) >= until.saturating_add(shared.ahead / 2) {
            return;
        }
        shared.needed.fetch_max(until.saturating_add(shared.ahead), SeqCst);
        if shared.asleep.load(SeqCst) {
            let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(waker) = &*waker {
                // It is there for as long as we are.
                let _ = waker.send(());
            }
        }
    }
}

impl Shared {
    fn run(&self, wakes: &Receiver<()>) {
        while self.wait(wakes) {
            self.now.fetch_add(1, Relaxed);
            self.engine.increment_epoch();
        }
    }

    /// Until the next tick; false at the end.
    fn wait(&self, wakes: &Receiver<()>) -> bool {
        if self.needed.load(Relaxed) < self.now.load(Relaxed) {
            // Whoever needs it from here on sees that it is asleep, or is seen to need it.
            self.asleep.store(true, SeqCst);
            let ended = self.needed.load(SeqCst) < self.now.load(Relaxed) && wakes.recv().is_err();
            self.asleep.store(false, SeqCst);
            return !ended;
        }
        wakes.recv_timeout(Duration::from_micros(self.tick.load(Relaxed))) != Err(RecvTimeoutError::Disconnected)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Waits for a condition.
    fn until(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            thread::yield_now();
        }
    }

    #[test]
    fn ticks_as_long_as_it_is_needed_and_again_when_it_is() {
        let clock = Clock::going_on(Engine::default(), 4);
        clock.start(FAST).unwrap();
        let now = || clock.shared.now.load(SeqCst);
        until("it to sleep before anybody asked", || clock.shared.asleep.load(SeqCst));
        for _ in 0..3 {
            let begun = now();
            clock.need(2 * FAST);
            until("its ticks", || now() >= begun + 3);
            until("it to sleep", || clock.shared.asleep.load(SeqCst));
            assert!(now() <= begun + 3 + 4 + 1, "{} after {begun}", now());
        }
    }

    #[test]
    fn the_shortest_deadline_sets_the_pace_within_bounds() {
        let clock = Clock::new(Engine::default());
        let pace = |deadline| {
            clock.start(deadline).unwrap();
            clock.tick()
        };
        let ms = Duration::from_millis;
        assert_eq!([ms(50), ms(3), ms(20), ms(1)].map(pace), [SLOW, ms(3), ms(3), FAST]);
    }
}
