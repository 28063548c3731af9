//! The wish that connections end, as one worker feels it: all of them after what they are at, or some of
//! those that idle.

mod idle;

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::sync::{Notify, futures::Notified};

use self::idle::{Idlers, Seat};
use crate::worker::FIRST_WORD;

/// Whether a worker drains, or has no room for connections that idle. Lives on that worker's thread, so
/// that asking costs no lock.
#[derive(Debug, Default)]
pub struct Draining {
    /// When connections that idle are to end, once it has begun.
    begun: Cell<Option<Instant>>,
    pressed: Cell<bool>,
    begins: Notify,
    idlers: Idlers,
}

impl Draining {
    /// From now on. Connections that are asked nothing more end then.
    pub fn cancel(&self, end_of_idle: Instant) {
        self.begun.set(Some(end_of_idle));
        self.begins.notify_waiters();
    }

    /// Have no room for connections to idle after what they are at, or have it again.
    pub fn press(&self, on: bool) {
        self.pressed.set(on);
    }

    /// Ends so many connections that idle, the longest idle ones first. Gives the number of those that are about to end.
    pub fn make_room(&self, most: usize, now: Instant) -> usize {
        self.idlers.make_room(most, FIRST_WORD, now)
    }

    /// Whether it has begun.
    pub fn is_cancelled(&self) -> bool {
        self.begun.get().is_some()
    }

    /// Whether connections are to end rather than to idle.
    pub fn ends_idle(&self) -> bool {
        self.is_cancelled() || self.pressed.get()
    }

    /// What a [`Watch`] waits with.
    pub fn begins(&self) -> Notified<'_> {
        self.begins.notified()
    }
}

/// Looks again and again in one task whether its connection is to end: its waker is left once.
pub struct Watch<'a, 'f> {
    draining: &'a Draining,
    begins: Pin<&'f mut Notified<'a>>,
    seat: Seat<'a>,
    left: bool,
}

impl<'a, 'f> Watch<'a, 'f> {
    /// With what [`Draining::begins`] gave.
    pub fn new(draining: &'a Draining, begins: Pin<&'f mut Notified<'a>>) -> Self {
        Self { draining, begins, seat: draining.idlers.seat(), left: false }
    }

    /// When a connection that has idled since then is to end; none while it may go on. To be asked by the same task
    /// always.
    pub fn idle(&mut self, since: Instant, cx: &mut Context<'_>) -> Option<Instant> {
        self.busy_or_idle(cx);
        let leaves = self.seat.idle(since, cx).then_some(since + FIRST_WORD);
        let ends = self.draining.begun.get().map(|end| end.max(since + FIRST_WORD));
        leaves.or(ends)
    }

    /// It does not idle.
    pub fn busy(&mut self, cx: &mut Context<'_>) {
        self.busy_or_idle(cx);
        self.seat.busy();
    }

    /// It does not idle, and its task looks again without being woken.
    pub fn is_asked(&mut self) {
        self.seat.busy();
    }

    fn busy_or_idle(&mut self, cx: &mut Context<'_>) {
        if !self.left {
            self.left = true;
            // Where it has begun already, that is seen without being woken.
            let _: Poll<()> = self.begins.as_mut().poll(cx);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        pin::pin,
        time::{Duration, Instant},
    };

    use super::*;

    #[tokio::test]
    async fn one_waker_is_woken_however_often_it_was_asked() {
        let (draining, now) = (Draining::default(), Instant::now());
        let begins = pin!(draining.begins());
        let mut watch = Watch::new(&draining, begins);
        for _ in 0..2 {
            assert_eq!(poll_fn(|cx| Poll::Ready(watch.idle(now, cx))).await, None);
        }
        let end = now + Duration::from_secs(60);
        let waited = poll_fn(|cx| watch.idle(now, cx).map_or(Poll::Pending, Poll::Ready));
        let (ends, ()) = tokio::join!(waited, async { draining.cancel(end) });
        assert_eq!(ends, end);
        assert!(draining.is_cancelled());
    }

    #[tokio::test]
    async fn one_that_is_to_make_room_is_woken_and_stays_when_it_is_asked_something() {
        let (draining, since) = (Draining::default(), Instant::now());
        let begins = pin!(draining.begins());
        let mut watch = Watch::new(&draining, begins);
        assert_eq!(poll_fn(|cx| Poll::Ready(watch.idle(since, cx))).await, None);
        let waited = poll_fn(|cx| watch.idle(since, cx).map_or(Poll::Pending, Poll::Ready));
        let (ends, ()) = tokio::join!(waited, async {
            assert_eq!(draining.make_room(1, since + FIRST_WORD), 1);
        });
        assert_eq!(ends, since + FIRST_WORD);
        watch.is_asked();
        assert_eq!(poll_fn(|cx| Poll::Ready(watch.idle(since, cx))).await, None);
        assert!(!draining.is_cancelled() && !draining.ends_idle());
    }
}
