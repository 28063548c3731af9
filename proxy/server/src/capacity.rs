//! So many at a time over all workers, where how many may change.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::sync::{Notify, Semaphore};

/// Places, taken and given back.
#[derive(Debug)]
pub struct Capacity(Arc<Places>);

#[derive(Debug)]
struct Places {
    free: Semaphore,
    most: Mutex<usize>,
    /// Taken ones that are not to be given back, since there are to be fewer.
    surplus: AtomicUsize,
    lowered: Notify,
}

/// A place that is taken until this goes.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Capacity {
    /// So many places; none is more than anybody takes.
    pub fn new(most: Option<usize>) -> Self {
        let most = count(most);
        Self(Arc::new(Places {
            free: Semaphore::new(most),
            most: Mutex::new(most),
            surplus: AtomicUsize::new(0),
            lowered: Notify::new(),
        }))
    }

    /// Have another number of places. Who has one keeps it: where there are to be fewer, it is gone with them.
    pub fn change(&self, most: Option<usize>) {
        let (wanted, places) = (count(most), &self.0);
        let mut most = places.most.lock().unwrap_or_else(PoisonError::into_inner);
        match wanted.checked_sub(*most) {
            Some(more) => {
                let kept = places.settle(more);
                places.free.add_permits(more - kept);
            }
            None => {
                let fewer = *most - wanted;
                places.surplus.fetch_add(fewer, SeqCst);
                // What is free is gone at once.
                let gone = places.free.forget_permits(fewer);
                // Others were given back meanwhile, and went instead.
                places.free.add_permits(gone - places.settle(gone));
                places.lowered.notify_waiters();
            }
        }
        *most = wanted;
    }

    /// Ends when more places are taken than there are to be: who has one and does not use it is to give it back.
    pub async fn exceeded(&self) {
        loop {
            let lowered = self.0.lowered.notified();
            if self.0.surplus.load(SeqCst) > 0 {
                return;
            }
            lowered.await;
        }
    }

    /// Whether all places are taken.
    pub fn is_full(&self) -> bool {
        self.0.free.available_permits() == 0
    }

    /// A place, once there is one.
    ///
    /// # Errors
    /// There will never be one.
    pub async fn take(&self) -> std::io::Result<Place> {
        self.0.free.acquire().await.map_err(std::io::Error::other)?.forget();
        Ok(Place(Arc::clone(&self.0)))
    }

    /// A place, if there is one.
    pub fn try_take(&self) -> Option<Place> {
        self.0.free.try_acquire().ok()?.forget();
        Some(Place(Arc::clone(&self.0)))
    }
}

impl Places {
    /// Let so many fewer be surplus; how many of them were.
    fn settle(&self, most: usize) -> usize {
        let before = self.surplus.fetch_update(SeqCst, SeqCst, |surplus| Some(surplus.saturating_sub(most)));
        before.unwrap_or_else(|before| before).min(most)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.surplus.load(SeqCst) == 0 || self.0.settle(1) == 0 {
            self.0.free.add_permits(1);
        }
    }
}

fn count(most: Option<usize>) -> usize {
    most.unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn poll_once(future: Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn places_come_and_go_with_their_number() {
        let capacity = Capacity::new(Some(2));
        let (first, second) = (capacity.try_take().unwrap(), capacity.try_take().unwrap());
        assert!(capacity.try_take().is_none());
        capacity.change(Some(3));
        let third = capacity.try_take().unwrap();
        assert!(capacity.try_take().is_none());
        drop((first, second));
        capacity.change(Some(1));
        assert!(capacity.try_take().is_none(), "the third has the only place");
        drop(third);
        assert!(capacity.try_take().is_some());
    }

    #[test]
    fn fewer_places_are_fewer_once_those_who_have_them_go() {
        let capacity = Capacity::new(Some(6));
        let taken: Vec<_> = (0..6).map(|_| capacity.try_take().unwrap()).collect();
        capacity.change(Some(2));
        assert!(capacity.try_take().is_none());
        drop(taken);
        let taken = [capacity.try_take().unwrap(), capacity.try_take().unwrap()];
        assert!(capacity.try_take().is_none(), "two are all there are");
        capacity.change(Some(1));
        capacity.change(Some(3));
        let third = capacity.try_take().unwrap();
        assert!(capacity.try_take().is_none(), "what was surplus for a moment is a place again");
        drop((taken, third));
        assert_eq!(std::iter::from_fn(|| capacity.try_take()).take(9).collect::<Vec<_>>().len(), 3);
    }

    #[test]
    fn a_limit_that_comes_late_holds_too() {
        let capacity = Capacity::new(None);
        let taken: Vec<_> = (0..6).map(|_| capacity.try_take().unwrap()).collect();
        capacity.change(Some(2));
        drop(taken);
        assert_eq!(std::iter::from_fn(|| capacity.try_take()).take(9).collect::<Vec<_>>().len(), 2);
    }

    #[tokio::test]
    async fn who_waits_with_a_place_gives_it_back_when_there_are_to_be_fewer() {
        let capacity = Capacity::new(Some(9));
        let mut held: Vec<_> = (0..6).map(|_| capacity.try_take().unwrap()).collect();
        let mut exceeded = pin!(capacity.exceeded());
        assert!(poll_once(exceeded.as_mut()).is_pending());
        capacity.change(Some(6));
        assert!(poll_once(exceeded.as_mut()).is_pending(), "what was free has gone");
        capacity.change(Some(4));
        exceeded.await;
        held.pop();
        capacity.exceeded().await;
        held.pop();
        assert!(poll_once(pin!(capacity.exceeded())).is_pending(), "four are taken");
        assert!(capacity.try_take().is_none());
    }

    #[test]
    fn no_number_is_no_limit_and_may_become_one() {
        let capacity = Capacity::new(None);
        assert!(capacity.try_take().is_some());
        capacity.change(Some(1));
        let only = capacity.try_take().unwrap();
        assert!(capacity.try_take().is_none());
        capacity.change(None);
        assert!(capacity.try_take().is_some());
        drop(only);
    }
}
