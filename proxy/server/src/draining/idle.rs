//! Connections of one worker that idle, in the order in which they began to: those that have idled for longest
//! are the first to make room for others. Joining and leaving cost a few writes, however many there are.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Waker},
    time::{Duration, Instant},
};

/// No seat.
const NONE: usize = usize::MAX;

/// Seats of connections, in a list of those that idle.
#[derive(Debug)]
pub struct Idlers {
    list: RefCell<List>,
    /// Connections that were asked to leave and are there still.
    leaving: Cell<usize>,
}

#[derive(Debug)]
struct List {
    seats: Vec<Place>,
    free: Vec<usize>,
    /// The one that has idled for longest.
    first: usize,
    last: usize,
}

#[derive(Debug)]
struct Place {
    waker: Option<Waker>,
    state: State,
    before: usize,
    after: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Busy,
    Idle(Instant),
    Leaving,
}

impl Default for Idlers {
    fn default() -> Self {
        let list = List { seats: Vec::new(), free: Vec::new(), first: NONE, last: NONE };
        Self { list: RefCell::new(list), leaving: Cell::new(0) }
    }
}

/// A connection among those that may idle.
#[derive(Debug)]
pub struct Seat<'a> {
    idlers: &'a Idlers,
    number: usize,
}

impl Idlers {
    /// Another connection, which is busy.
    pub fn seat(&self) -> Seat<'_> {
        let list = &mut *self.list.borrow_mut();
        let place = Place { waker: None, state: State::Busy, before: NONE, after: NONE };
        let number = list.free.pop().unwrap_or(list.seats.len());
        match list.seats.get_mut(number) {
            Some(free) => *free = place,
            None => list.seats.push(place),
        }
        Seat { idlers: self, number }
    }

    /// Asks so many connections to leave, the longest idle ones first; those that were asked before and are there still
    /// count. Connections that idle for less than `least` stay. Gives the number of those that are about to leave.
    pub fn make_room(&self, most: usize, least: Duration, now: Instant) -> usize {
        while self.leaving.get() < most
            && let Some(waker) = self.ask_longest(least, now)
        {
            self.leaving.set(self.leaving.get() + 1);
            waker.wake();
        }
        self.leaving.get()
    }

    fn ask_longest(&self, least: Duration, now: Instant) -> Option<Waker> {
        let list = &mut *self.list.borrow_mut();
        let number = list.first;
        let place = list.seats.get(number)?;
        let State::Idle(since) = place.state else { return None };
        if now.saturating_duration_since(since) < least {
            return None;
        }
        list.unlink(number);
        let place = list.seats.get_mut(number)?;
        place.state = State::Leaving;
        place.waker.clone()
    }
}

impl List {
    fn link(&mut self, number: usize) {
        let last = self.last;
        if let Some(place) = self.seats.get_mut(number) {
            (place.before, place.after) = (last, NONE);
        }
        match self.seats.get_mut(last) {
            Some(before) => before.after = number,
            None => self.first = number,
        }
        self.last = number;
    }

    fn unlink(&mut self, number: usize) {
        let Some(&Place { before, after, .. }) = self.seats.get(number) else { return };
        match self.seats.get_mut(before) {
            Some(place) => place.after = after,
            None => self.first = after,
        }
        match self.seats.get_mut(after) {
            Some(place) => place.before = before,
            None => self.last = before,
        }
    }
}

impl Seat<'_> {
    /// It idles, since then. To be said by the same task always. True when it is to leave.
    pub fn idle(&self, since: Instant, cx: &Context<'_>) -> bool {
        let list = &mut *self.idlers.list.borrow_mut();
        let Some(place) = list.seats.get_mut(self.number) else { return false };
        match place.state {
            State::Leaving => return true,
            State::Idle(_) => return false,
            State::Busy => {}
        }
        place.state = State::Idle(since);
        if place.waker.is_none() {
            place.waker = Some(cx.waker().clone());
        }
        list.link(self.number);
        false
    }

    /// It does not idle, or no longer.
    pub fn busy(&self) {
        let list = &mut *self.idlers.list.borrow_mut();
        let Some(place) = list.seats.get_mut(self.number) else { return };
        match std::mem::replace(&mut place.state, State::Busy) {
            State::Busy => {}
            State::Idle(_) => list.unlink(self.number),
            State::Leaving => self.idlers.leaving.set(self.idlers.leaving.get().saturating_sub(1)),
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.busy();
        let list = &mut *self.idlers.list.borrow_mut();
        if let Some(place) = list.seats.get_mut(self.number) {
            place.waker = None;
        }
        list.free.push(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_secs(1);

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn the_longest_idle_leave_first_and_no_more_than_are_wanted() {
        let (idlers, began) = (Idlers::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        let seats: Vec<_> = (0..6).map(|_| idlers.seat()).collect();
        for (seat, second) in seats.iter().zip(0..) {
            assert!(!seat.idle(at(second), &cx()));
        }
        seats[1].busy();
        assert_eq!(idlers.make_room(2, LEAST, at(9)), 2);
        assert_eq!(idlers.make_room(2, LEAST, at(9)), 2, "the same two");
        let leave: Vec<bool> = seats.iter().map(|seat| seat.idle(at(9), &cx())).collect();
        assert_eq!(leave, [true, false, true, false, false, false]);
        seats[2].busy();
        assert_eq!(idlers.make_room(2, LEAST, at(9)), 2, "one was asked something meanwhile: another one goes");
        assert!(seats[3].idle(at(9), &cx()) && !seats[4].idle(at(9), &cx()));
    }

    #[test]
    fn one_that_has_just_begun_to_idle_stays() {
        let (idlers, now) = (Idlers::default(), Instant::now());
        let seat = idlers.seat();
        seat.idle(now, &cx());
        assert_eq!(idlers.make_room(9, LEAST, now + LEAST / 2), 0);
        assert_eq!(idlers.make_room(9, LEAST, now + LEAST), 1);
        drop(seat);
        assert_eq!(idlers.make_room(9, LEAST, now + LEAST), 0);
    }

    #[test]
    fn seats_are_used_again() {
        let (idlers, now) = (Idlers::default(), Instant::now());
        let [one, two, three] = [0; 3].map(|_| idlers.seat());
        for seat in [&one, &two, &three] {
            seat.idle(now, &cx());
        }
        drop(two);
        let four = idlers.seat();
        four.idle(now, &cx());
        assert_eq!(idlers.list.borrow().seats.len(), 3);
        assert_eq!(idlers.make_room(9, LEAST, now + LEAST), 3);
        assert!([&one, &three, &four].iter().all(|seat| seat.idle(now, &cx())));
    }
}
