//! Room at a cluster whose requests are limited: what is under way, and the line of those that wait.
//!
//! Whoever leaves an endpoint looks at one number, which is zero as long as nobody waits. Only then a
//! lock is taken, to call the first in line. A call is no promise: the waiter tries again, and stays
//! where it is when there is nothing for it, but passes the call on to those behind it who may find something.
//! Whoever leaves the line, for whatever reason, calls the next, so that no call is lost with a waiter that has gone.

use std::{
    collections::VecDeque,
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::sync::Notify;

/// Why a request may not be begun now, or a connection not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The whole cluster has as many as it takes, or others wait for it already.
    Cluster,
    /// This endpoint has as many as it takes.
    Endpoint,
}

/// Shared by all workers; outlives reloads.
#[derive(Debug, Default)]
pub struct Room {
    under_way: AtomicU32,
    waiting: AtomicUsize,
    /// Those of them that any endpoint would do for.
    easy: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    tickets: u64,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    picky: bool,
    call: Arc<Notify>,
}

impl Line {
    /// The ticket of the first that any endpoint would do for.
    fn first_easy(&self) -> Option<u64> {
        self.waiters.iter().find(|waiter| !waiter.picky).map(|waiter| waiter.ticket)
    }
}

impl Room {
    /// Requests under way to the cluster, where their number is limited.
    pub fn under_way(&self) -> u32 {
        self.under_way.load(SeqCst)
    }

    /// Requests in line.
    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Whether a newcomer has to let others go first.
    pub(crate) fn has_line(&self) -> bool {
        self.easy.load(SeqCst) > 0
    }

    /// Count a request, unless there are `most` already.
    pub(crate) fn try_enter(&self, most: u32) -> bool {
        count_below(&self.under_way, most)
    }

    pub(crate) fn leave(&self) {
        self.under_way.fetch_sub(1, SeqCst);
    }

    /// There may be room: call the first in line, if there is a line.
    pub(crate) fn call(&self) {
        if self.waiting() > 0 {
            self.line().waiters.front().into_iter().for_each(|waiter| waiter.call.notify_one());
        }
    }

    /// Take the last place in a line of at most `length`; none when it is that long already. `picky` is
    /// whoever needs a particular endpoint.
    pub fn join(&self, length: usize, picky: bool) -> Option<Place<'_>> {
        let mut line = self.line();
        if line.waiters.len() >= length {
            return None;
        }
        let (ticket, call) = (line.tickets, Arc::<Notify>::default());
        line.tickets += 1;
        line.waiters.push_back(Waiter { ticket, picky, call: Arc::clone(&call) });
        self.waiting.store(line.waiters.len(), SeqCst);
        self.easy.fetch_add(usize::from(!picky), SeqCst);
        Some(Place { room: self, ticket, picky, call })
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in line; given up when dropped.
#[derive(Debug)]
#[must_use = "the place is given up at once"]
pub struct Place<'a> {
    room: &'a Room,
    ticket: u64,
    picky: bool,
    call: Arc<Notify>,
}

impl Place<'_> {
    /// What `attempt` finds, which is made at once and whenever there may be room, but only while it is this one's
    /// turn; what `over` comes to if that is first.
    ///
    /// # Errors
    /// Those of `attempt`, and the wait is over.
    pub async fn wait<T, E>(
        self,
        over: impl Future<Output = E>,
        mut attempt: impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<T, E> {
        let mut over = pin!(over);
        loop {
            if self.is_due() {
                if let Some(found) = attempt()? {
                    return Ok(found);
                }
                self.pass_on();
            }
            tokio::select! {
                biased;
                why = &mut over => return Err(why),
                () = self.call.notified() => {}
            }
        }
    }

    /// Whether it is this one's turn: nobody is before it who would take the same.
    fn is_due(&self) -> bool {
        self.picky || self.room.line().first_easy() == Some(self.ticket)
    }

    /// The room there is cannot be used here: whoever is the next to try may have it.
    fn pass_on(&self) {
        let line = self.room.line();
        let easy = line.first_easy();
        let mut behind = line.waiters.iter().skip_while(|waiter| waiter.ticket <= self.ticket);
        let next = behind.find(|waiter| waiter.picky || Some(waiter.ticket) == easy);
        next.into_iter().for_each(|waiter| waiter.call.notify_one());
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut line = self.room.line();
        if let Ok(at) = line.waiters.binary_search_by_key(&self.ticket, |waiter| waiter.ticket) {
            line.waiters.remove(at);
        }
        self.room.waiting.store(line.waiters.len(), SeqCst);
        self.room.easy.fetch_sub(usize::from(!self.picky), SeqCst);
        line.waiters.front().into_iter().for_each(|waiter| waiter.call.notify_one());
    }
}

/// Add one, unless there are `most` already.
pub(crate) fn count_below(count: &AtomicU32, most: u32) -> bool {
    count.fetch_update(SeqCst, SeqCst, |count| (count < most).then_some(count + 1)).is_ok()
}

#[cfg(test)]
mod tests;
