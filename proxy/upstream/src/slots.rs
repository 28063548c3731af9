//! Places for open connections to endpoints, those that are kept idle among them.
//!
//! A connection takes a place at its endpoint and one in its cluster. Where there is none, somebody keeps a
//! connection that is idle, since requests under way are no more than connections may be open: workers
//! are called to close such connections, and whoever asked waits for that.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::SeqCst},
};

use tokio::sync::Notify;

use crate::room::count_below;

/// Connections of an endpoint or of a cluster, over all workers. Outlives reloads.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    open: AtomicU32,
    wanted: AtomicU32,
    freed: Notify,
}

impl Slots {
    /// Connections that are open.
    pub(crate) fn open(&self) -> u32 {
        self.open.load(SeqCst)
    }

    /// How many wait for one to be closed.
    fn wanted(&self) -> u32 {
        self.wanted.load(SeqCst)
    }

    fn try_take(&self, most: Option<u32>) -> bool {
        count_below(&self.open, most.unwrap_or(u32::MAX))
    }

    fn give_back(&self) {
        self.open.fetch_sub(1, SeqCst);
        if self.wanted() > 0 {
            self.freed.notify_one();
        }
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
        slots.wanted.fetch_add(1, SeqCst);
        recall.wanting.fetch_add(1, SeqCst);
        Self { slots, recall }
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.slots.wanted.fetch_sub(1, SeqCst);
        self.recall.wanting.fetch_sub(1, SeqCst);
    }
}

/// The place of an open connection; free again when dropped.
#[derive(Debug)]
#[must_use = "the connection counts only while this lives"]
pub struct Slot {
    at: [Arc<Slots>; 2],
}

impl Slot {
    /// Places at an endpoint and in its cluster, each with the most connections there may be.
    pub(crate) async fn take(places: [(&Arc<Slots>, Option<u32>); 2], recall: &Recall) -> Self {
        loop {
            let full = match Self::try_take(places) {
                Ok(slot) => return slot,
                Err(full) => full,
            };
            let _wanting = Wanting::begin(full, recall);
            // One may have been closed before it was known to be wanted.
            if let Ok(slot) = Self::try_take(places) {
                return slot;
            }
            recall.called.notify_waiters();
            full.freed.notified().await;
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
        Ok(Self { at: [Arc::clone(one.0), Arc::clone(other.0)] })
    }

    /// How many wait for its place, or for one that is as good.
    pub(crate) fn wanted(&self) -> u32 {
        self.at.iter().map(|slots| slots.wanted()).max().unwrap_or(0)
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
        task::{Context, Waker},
    };

    use super::*;

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn who_finds_no_place_has_one_when_another_is_closed() {
        let (endpoint, cluster, recall) = (Arc::default(), Arc::default(), Recall::default());
        for limits in [[Some(1), None], [None, Some(1)]] {
            let places = [(&endpoint, limits[0]), (&cluster, limits[1])];
            let first = Slot::try_take(places).unwrap();
            let mut waits = pin!(Slot::take(places, &recall));
            let mut called = pin!(recall.called());
            assert!(called.as_mut().poll(&mut cx()).is_pending());
            assert!(waits.as_mut().poll(&mut cx()).is_pending());
            assert!(called.as_mut().poll(&mut cx()).is_ready(), "workers are called");
            assert!(first.wanted() == 1 && recall.is_wanted());
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
        let first = Slot::try_take(places).unwrap();
        {
            let mut waits = pin!(Slot::take(places, &recall));
            assert!(waits.as_mut().poll(&mut cx()).is_pending());
        }
        assert!(first.wanted() == 0 && !recall.is_wanted());
    }

    #[test]
    fn no_worker_gets_past_a_limit() {
        let (endpoint, cluster) = (Arc::default(), Arc::default());
        std::thread::scope(|scope| {
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
