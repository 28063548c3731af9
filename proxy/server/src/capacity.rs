//! So many at a time over all workers, where how many may change.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places, taken and given back.
#[derive(Debug)]
pub struct Capacity {
    free: Arc<Semaphore>,
    most: Mutex<usize>,
}

/// A place that is taken until this goes.
pub type Place = OwnedSemaphorePermit;

impl Capacity {
    /// So many places; none is more than anybody takes.
    pub fn new(most: Option<usize>) -> Self {
        let most = count(most);
        Self { free: Arc::new(Semaphore::new(most)), most: Mutex::new(most) }
    }

    /// Have another number of places. What is taken stays taken.
    pub fn change(&self, most: Option<usize>) {
        let wanted = count(most);
        let mut most = self.most.lock().unwrap_or_else(PoisonError::into_inner);
        match wanted.checked_sub(*most) {
            Some(more) => self.free.add_permits(more),
            // Those that are taken keep their place: what cannot be taken back now never is.
            None => *most -= self.free.forget_permits(*most - wanted),
        }
        *most = (*most).max(wanted);
    }

    /// A place, once there is one.
    ///
    /// # Errors
    /// There will never be one.
    pub async fn take(&self) -> std::io::Result<Place> {
        Arc::clone(&self.free).acquire_owned().await.map_err(std::io::Error::other)
    }

    /// A place, if there is one.
    pub fn try_take(&self) -> Option<Place> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }
}

fn count(most: Option<usize>) -> usize {
    most.unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use super::*;

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
