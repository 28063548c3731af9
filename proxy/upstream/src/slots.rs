//! Places for open connections to endpoints, those that are kept idle among them.
//!
//! A connection takes a place at its endpoint and one in its cluster. Where there is none, somebody keeps a
//! connection that is idle, since requests under way are no more than connections may be open: workers
//! are called to close such connections, and whoever asked waits for that.

use std::{
    cell::Cell,
    pin::pin,
    ptr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    },
};

use tokio::sync::Notify;

use crate::descriptors::{self, Taken};

use crate::room::{Full, count_below};

/// Connections of an endpoint or of a cluster, over all workers. Outlives reloads.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    open: AtomicU32,
    wants: Wants,
    freed: Notify,
}

impl Slots {
    /// Connections that are open.
    pub(crate) fn open(&self) -> u32 {
        self.open.load(SeqCst)
    }

    fn try_take(&self, most: Option<u32>) -> bool {
        count_below(&self.open, most.unwrap_or(u32::MAX))
    }

    fn give_back(&self) {
        self.open.fetch_sub(1, SeqCst);
        self.call();
    }

    /// There may be a place: call one of those who wait, if any does.
    fn call(&self) {
        if self.wants.waiting() > 0 {
            self.freed.notify_one();
        }
    }
}

/// Who waits for a connection to be closed. In one number, that is how many they are, and for how many of
/// them nobody has closed one yet.
#[derive(Debug, Default)]
struct Wants(AtomicU64);

impl Wants {
    const ONE: u64 = 1 << 32;

    fn of(wants: u64) -> (u64, u64) {
        (wants / Self::ONE, wants % Self::ONE)
    }

    fn waiting(&self) -> u64 {
        Self::of(self.0.load(SeqCst)).0
    }

    fn begin(&self) {
        self.0.fetch_add(Self::ONE + 1, SeqCst);
    }

    /// Whoever stops waiting had one closed, or does not need it any more.
    fn end(&self) {
        let _ = self.0.fetch_update(SeqCst, SeqCst, |wants| {
            let (waiting, unmet) = Self::of(wants);
            let waiting = waiting.saturating_sub(1);
            Some(waiting * Self::ONE + unmet.min(waiting))
        });
    }

    /// Undertake to close one for somebody who waits, unless that is done for all of them.
    fn meet(&self) -> bool {
        let less = |wants| (Self::of(wants).1 > 0).then(|| wants - 1);
        self.0.fetch_update(SeqCst, SeqCst, less).is_ok()
    }
}

/// Calls workers to close connections that are idle.
#[derive(Debug, Default)]
pub struct Recall {
    wanting: AtomicU32,
    called: Notify,
}

impl Recall {
    /// Whether somebody waits for a connection to be closed.
    pub fn is_wanted(&self) -> bool {
        self.wanting.load(SeqCst) > 0
    }

    /// Ends when somebody does.
    pub async fn called(&self) {
        self.called.notified().await;
    }
}

/// Whoever waits for a connection to be closed; gives up when dropped.
struct Wanting<'a> {
    slots: &'a Slots,
    recall: &'a Recall,
}

impl<'a> Wanting<'a> {
    fn begin(slots: &'a Slots, recall: &'a Recall) -> Self {
        slots.wants.begin();
        recall.wanting.fetch_add(1, SeqCst);
        Self { slots, recall }
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.slots.wants.end();
        self.recall.wanting.fetch_sub(1, SeqCst);
    }
}

/// The place of an open connection; free again when dropped.
#[derive(Debug)]
#[must_use = "the connection counts only while this lives"]
pub struct Slot {
    at: [Arc<Slots>; 2],
    descriptor: Option<Taken>,
}

impl Slot {
    /// Places at an endpoint and in its cluster, each with the most connections there may be. `missing` tells which of
    /// them is waited for.
    pub(crate) async fn take(places: [(&Arc<Slots>, Option<u32>); 2], recall: &Recall, missing: &Cell<Full>) -> Self {
        let mut called: Option<&Slots> = None;
        loop {
            let full = match Self::try_take(places) {
                Ok(slot) => return slot,
                Err(full) => full,
            };
            // What is free there is of no use here as long as the other place is missing.
            if let Some(called) = called.take().filter(|called| !ptr::eq(*called, full)) {
                called.call();
            }
            let _wanting = Wanting::begin(full, recall);
            let mut freed = pin!(full.freed.notified());
            // In line from now on: of two calls that come before anybody listens, one would be lost.
            freed.as_mut().enable();
            // One may have been closed before it was known to be wanted.
            match Self::try_take(places) {
                Ok(slot) => return slot,
                Err(now) if !ptr::eq(now, full) => continue,
                Err(_) => {}
            }
            missing.set(if ptr::eq(full, &**places[0].0) { Full::Endpoint } else { Full::Cluster });
            recall.called.notify_waiters();
            freed.await;
            called = Some(full);
        }
    }

    /// The full one where there is no room.
    fn try_take([one, other]: [(&Arc<Slots>, Option<u32>); 2]) -> Result<Self, &Slots> {
        if !one.0.try_take(one.1) {
            return Err(one.0);
        }
        if !other.0.try_take(other.1) {
            one.0.give_back();
            return Err(other.0);
        }
        Ok(Self { at: [Arc::clone(one.0), Arc::clone(other.0)], descriptor: Some(descriptors::take(1)) })
    }

    /// The descriptor of its connection was counted before.
    pub fn is_counted(&mut self) {
        self.descriptor = None;
    }

    /// Whether its connection is to be closed because somebody waits for its place, or for one that is as good. That
    /// is asked of as many connections as there are such, over all workers.
    pub(crate) fn gives_way(&self) -> bool {
        let met = self.at.each_ref().map(|slots| slots.wants.meet());
        met.contains(&true)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.at.iter().for_each(|slots| slots.give_back());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        sync::Barrier,
        task::{Context, Poll, Wake, Waker},
        thread,
    };

    use super::*;

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    /// No place is missing yet.
    fn nothing() -> Cell<Full> {
        Cell::new(Full::Endpoint)
    }

    #[test]
    fn who_finds_no_place_has_one_when_another_is_closed() {
        let (endpoint, cluster, recall) = (Arc::default(), Arc::default(), Recall::default());
        for (limits, full) in [([Some(1), None], Full::Endpoint), ([None, Some(1)], Full::Cluster)] {
            let places = [(&endpoint, limits[0]), (&cluster, limits[1])];
            let (first, missing) = (Slot::try_take(places).unwrap(), nothing());
            let mut waits = pin!(Slot::take(places, &recall, &missing));
            let mut called = pin!(recall.called());
            assert!(called.as_mut().poll(&mut cx()).is_pending());
            assert!(waits.as_mut().poll(&mut cx()).is_pending());
            assert!(called.as_mut().poll(&mut cx()).is_ready(), "workers are called");
            assert_eq!(missing.get(), full);
            assert!(recall.is_wanted() && first.gives_way());
            assert!(!first.gives_way(), "one is enough");
            drop(first);
            assert!(waits.as_mut().poll(&mut cx()).is_ready());
            assert!(!recall.is_wanted());
        }
        assert_eq!((endpoint.open(), cluster.open()), (0, 0));
    }

    #[test]
    fn who_stops_waiting_wants_nothing() {
        let (endpoint, cluster, recall) = (Arc::default(), Arc::default(), Recall::default());
        let places = [(&endpoint, Some(1)), (&cluster, None)];
        let (first, missing) = (Slot::try_take(places).unwrap(), nothing());
        {
            let mut waits = pin!(Slot::take(places, &recall, &missing));
            assert!(waits.as_mut().poll(&mut cx()).is_pending());
        }
        assert!(!first.gives_way() && !recall.is_wanted());
    }

    #[test]
    fn as_many_give_way_as_wait() {
        let (endpoint, cluster, recall) = (Arc::default(), Arc::default(), Recall::default());
        let places = [(&endpoint, None), (&cluster, Some(4))];
        let (held, missing) = ([0; 4].map(|_| Slot::try_take(places).unwrap()), nothing());
        let mut waiting = [0; 2].map(|_| Box::pin(Slot::take(places, &recall, &missing)));
        assert!(waiting.iter_mut().all(|one| one.as_mut().poll(&mut cx()).is_pending()));
        let giving: Vec<_> = held.into_iter().filter(Slot::gives_way).collect();
        assert_eq!(giving.len(), 2);
        drop(giving);
        assert!(waiting.iter_mut().all(|one| one.as_mut().poll(&mut cx()).is_ready()));
    }

    #[test]
    fn one_that_gives_way_serves_who_waits_for_either_place() {
        let (endpoint, other, cluster, recall) = (Arc::default(), Arc::default(), Arc::default(), Recall::default());
        let (here, there) = ([(&endpoint, Some(1)), (&cluster, Some(1))], [(&other, None), (&cluster, Some(1))]);
        let (first, missing) = (Slot::try_take(here).unwrap(), nothing());
        let mut waits = [Box::pin(Slot::take(here, &recall, &missing)), Box::pin(Slot::take(there, &recall, &missing))];
        assert!(waits.iter_mut().all(|one| one.as_mut().poll(&mut cx()).is_pending()));
        assert!(first.gives_way() && !first.gives_way());
    }

    #[test]
    fn who_cannot_use_a_place_passes_the_call_on() {
        let [small, large, cluster, elsewhere]: [Arc<Slots>; 4] = Default::default();
        let (recall, missing) = (Recall::default(), nothing());
        let held = Slot::try_take([(&large, None), (&cluster, Some(1))]).unwrap();
        let mut first = pin!(Slot::take([(&small, Some(1)), (&cluster, Some(1))], &recall, &missing));
        let mut second = pin!(Slot::take([(&large, None), (&cluster, Some(1))], &recall, &missing));
        assert!(first.as_mut().poll(&mut cx()).is_pending() && second.as_mut().poll(&mut cx()).is_pending());
        let filled = Slot::try_take([(&small, Some(1)), (&elsewhere, None)]).unwrap();
        drop(held);
        assert!(first.as_mut().poll(&mut cx()).is_pending(), "its endpoint is full meanwhile");
        assert!(second.as_mut().poll(&mut cx()).is_ready(), "the place in the cluster is free");
        drop(filled);
    }

    /// Holds up whoever calls, until the test has met it twice.
    struct Held(Barrier);

    impl Wake for Held {
        fn wake(self: Arc<Self>) {
            self.0.wait();
            self.0.wait();
        }
    }

    #[test]
    fn two_that_begin_to_wait_while_two_places_are_freed_have_them() {
        let (endpoint, cluster, begun) = (Arc::default(), Arc::default(), Arc::new(Held(Barrier::new(3))));
        let places = [(&endpoint, Some(2)), (&cluster, None)];
        let taken = [0; 2].map(|_| Slot::try_take(places).unwrap());
        // Each on a worker of its own, held up when it calls that worker to close what is idle.
        let take = || {
            let (recall, missing, waker) = (Recall::default(), nothing(), Waker::from(Arc::clone(&begun)));
            let mut called = pin!(recall.called());
            let _ = called.as_mut().poll(&mut Context::from_waker(&waker));
            pin!(Slot::take(places, &recall, &missing)).poll(&mut cx())
        };
        let found = thread::scope(|scope| {
            let both = [0; 2].map(|_| scope.spawn(take));
            begun.0.wait();
            drop(taken);
            begun.0.wait();
            both.map(|one| one.join().unwrap())
        });
        assert!(found.iter().all(Poll::is_ready));
    }

    #[test]
    fn no_worker_gets_past_a_limit() {
        let (endpoint, cluster) = (Arc::default(), Arc::default());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let taken = [0; 3].map(|_| Slot::try_take([(&endpoint, Some(3)), (&cluster, Some(5))]).ok());
                        assert!(endpoint.open() <= 3);
                        drop(taken);
                    }
                });
            }
        });
        assert_eq!((endpoint.open(), cluster.open()), (0, 0));
    }
}
