//! Memory that connections of clients hold: octets that came from one side and were not taken by the other yet. While
//! memory is short, the connections that hold the most of it are closed first.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Waker},
};

/// Less than this is no reason to close a connection.
const WORTH_CLOSING: usize = 64 * 1024;
/// Octets of responses that one HTTP/2 connection queues for its socket; streams wait from then on.
const QUEUE: usize = 512 * 1024;

/// The connections of one worker's clients.
#[derive(Debug, Default)]
pub struct Holdings(Rc<RefCell<Vec<Rc<Account>>>>);

/// The account of one connection, listed as long as this lives.
#[derive(Debug)]
pub struct Listed {
    list: Rc<RefCell<Vec<Rc<Account>>>>,
    account: Rc<Account>,
}

/// Octets that one connection holds.
#[derive(Debug, Default)]
pub struct Account {
    place: Cell<usize>,
    /// Held by its exchanges, for either side.
    held: Cell<usize>,
    /// Handed to its HTTP/2 connection, and not to its socket yet.
    queued: Cell<usize>,
    closing: Cell<bool>,
    over: Cell<bool>,
    task: RefCell<Option<Waker>>,
    streams: RefCell<Vec<Waker>>,
}

/// The share of one exchange in the account of its connection.
#[derive(Debug)]
pub struct Share {
    account: Rc<Account>,
    octets: usize,
}

impl Holdings {
    /// Another connection, which holds nothing.
    pub fn open(&self) -> Listed {
        let account = Rc::new(Account::default());
        let mut list = self.0.borrow_mut();
        account.place.set(list.len());
        list.push(Rc::clone(&account));
        Listed { list: Rc::clone(&self.0), account }
    }

    /// Close the connections that hold the most, until they held so many octets. Gives the number of those that are
    /// closed.
    pub fn close_largest(&self, mut octets: usize) -> usize {
        let list = self.0.borrow();
        let worth = list.iter().map(|account| (account.octets(), account));
        let mut worth: Vec<_> =
            worth.filter(|(held, account)| *held >= WORTH_CLOSING && !account.closing.get()).collect();
        worth.sort_unstable_by_key(|(held, _)| std::cmp::Reverse(*held));
        let mut closed = 0;
        for (held, account) in worth {
            if octets == 0 {
                break;
            }
            octets = octets.saturating_sub(held);
            account.close();
            closed += 1;
        }
        closed
    }
}

impl Listed {
    /// The account.
    pub fn account(&self) -> &Rc<Account> {
        &self.account
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.account.end();
        let mut list = self.list.borrow_mut();
        let place = self.account.place.get();
        if place < list.len() {
            list.swap_remove(place);
        }
        if let Some(moved) = list.get(place) {
            moved.place.set(place);
        }
    }
}

impl Account {
    fn octets(&self) -> usize {
        self.held.get() + self.queued.get()
    }

    fn close(&self) {
        self.closing.set(true);
        if let Some(task) = self.task.borrow_mut().take() {
            task.wake();
        }
    }

    /// Whether the connection is to be closed at once, whatever it is at.
    pub fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// The same, to be asked by the task that serves the connection: it is woken when that comes to be.
    pub fn poll_closing(&self, cx: &Context<'_>) -> bool {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
        self.closing.get()
    }

    /// So many octets more are queued for the socket.
    pub fn queue(&self, octets: usize) {
        self.queued.set(self.queued.get() + octets);
    }

    /// The socket has taken so many octets.
    pub fn taken(&self, octets: usize) {
        self.queued.set(self.queued.get().saturating_sub(octets));
    }

    /// The socket has taken all that was queued and could be sent. Streams that were reset take theirs with them, so
    /// that this alone says what the queue has.
    pub fn emptied(&self) {
        self.queued.set(0);
        if !self.streams.borrow().is_empty() {
            self.streams.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Whether a stream may not queue more now; its task is woken when it may.
    pub fn is_full(&self, cx: &Context<'_>) -> bool {
        if self.queued.get() < QUEUE || self.over.get() {
            return false;
        }
        let mut streams = self.streams.borrow_mut();
        if !streams.iter().any(|stream| stream.will_wake(cx.waker())) {
            streams.push(cx.waker().clone());
        }
        true
    }

    /// The connection has ended: its streams wait no longer.
    fn end(&self) {
        self.over.set(true);
        self.emptied();
    }
}

impl Share {
    /// Of an exchange that holds nothing.
    pub fn new(account: &Rc<Account>) -> Self {
        Self { account: Rc::clone(account), octets: 0 }
    }

    /// It holds so many octets now.
    pub fn set(&mut self, octets: usize) {
        if octets != self.octets {
            self.account.held.set(self.account.held.get() + octets - self.octets);
            self.octets = octets;
        }
    }

    /// The account it belongs to.
    pub fn account(&self) -> &Account {
        &self.account
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn the_largest_are_closed_first_and_no_more_than_needed() {
        let holdings = Holdings::default();
        let connections: Vec<_> = (0..6).map(|_| holdings.open()).collect();
        let mut shares: Vec<_> = connections.iter().map(|listed| Share::new(listed.account())).collect();
        for (share, size) in shares.iter_mut().zip([100, 10, 300, 200, 65, 0]) {
            share.set(size * 1024);
        }
        let closing = || connections.iter().map(|listed| listed.account().is_closing()).collect::<Vec<_>>();
        assert_eq!(holdings.close_largest(0), 0);
        assert_eq!(holdings.close_largest(301 * 1024), 2);
        assert_eq!(closing(), [false, false, true, true, false, false]);
        shares.remove(0);
        assert_eq!(holdings.close_largest(usize::MAX), 1, "one ended its exchange, two hold little");
        assert_eq!(closing(), [false, false, true, true, true, false]);
    }

    #[test]
    fn connections_leave_the_list_in_any_order() {
        let holdings = Holdings::default();
        let mut connections: Vec<_> = (0..5).map(|_| holdings.open()).collect();
        for place in [1, 3, 0] {
            connections.remove(place);
        }
        let mut last = Share::new(connections.last().unwrap().account());
        last.set(1 << 20);
        assert_eq!(holdings.0.borrow().len(), 2);
        assert_eq!(holdings.close_largest(1), 1);
        assert!(last.account().is_closing());
    }

    #[test]
    fn streams_wait_while_the_queue_is_full() {
        let holdings = Holdings::default();
        let listed = holdings.open();
        let account = Rc::clone(listed.account());
        account.queue(QUEUE - 1);
        assert!(!account.is_full(&context()));
        account.queue(1);
        assert!(account.is_full(&context()) && account.is_full(&context()));
        account.taken(QUEUE + 9);
        assert!(!account.is_full(&context()));
        account.queue(QUEUE);
        account.emptied();
        assert!(!account.is_full(&context()) && account.streams.borrow().is_empty());
        drop(listed);
        account.queue(QUEUE);
        assert!(!account.is_full(&context()), "of a connection that has ended nothing is waited for");
    }
}
