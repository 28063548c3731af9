//! Places for connections of the admin address. While all are taken, the one that has been without a command for
//! the longest makes room for whoever comes: health checks get through, whatever others keep open.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    seats: Mutex<Seats>,
    /// That a place is free, or might be freed.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Seats {
    taken: HashMap<u64, Seat>,
    next: u64,
}

#[derive(Debug)]
struct Seat {
    leave: CancellationToken,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// A request is being answered.
    Busy,
    /// None is, since then: it may still take up the last answer.
    Resting(Instant),
    /// It was resting, and has been asked to leave.
    Leaving,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Places> {
        Arc::new(Places { most, seats: Mutex::default(), changed: Notify::new() })
    }

    /// A place, as soon as there is one. Only one at a time may wait for it.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        loop {
            match self.try_take(Instant::now()) {
                Some(place) => return place,
                None => self.changed.notified().await,
            }
        }
    }

    /// A place, or none, and then somebody who rests has been asked for theirs.
    fn try_take(self: &Arc<Self>, now: Instant) -> Option<Place> {
        let mut seats = self.seats();
        if seats.taken.len() >= self.most {
            seats.ask();
            return None;
        }
        let (number, leave) = (seats.next, CancellationToken::new());
        seats.next += 1;
        seats.taken.insert(number, Seat { leave: leave.clone(), standing: Standing::Resting(now) });
        Some(Place { places: Arc::clone(self), number, leave })
    }

    fn stand(&self, number: u64, standing: Standing) {
        if let Some(seat) = self.seats().taken.get_mut(&number) {
            seat.standing = standing;
        }
        self.changed.notify_one();
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    /// Ask the one that has rested longest to leave, unless somebody is about to. Whoever took up one more command when
    /// asked leaves after it, without being asked again.
    fn ask(&mut self) {
        if self.taken.values().any(|seat| seat.standing == Standing::Leaving) {
            return;
        }
        let resting = self.taken.values_mut().filter_map(|seat| match seat.standing {
            Standing::Resting(since) if !seat.leave.is_cancelled() => Some((since, seat)),
            _ => None,
        });
        if let Some((_, seat)) = resting.min_by_key(|(since, _)| *since) {
            seat.standing = Standing::Leaving;
            seat.leave.cancel();
        }
    }
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    leave: CancellationToken,
}

impl Place {
    /// A request is being answered from now on.
    pub(super) fn work(&self) {
        self.places.stand(self.number, Standing::Busy);
    }

    /// It has been answered.
    pub(super) fn rest(&self) {
        self.places.stand(self.number, Standing::Resting(Instant::now()));
    }

    /// Whether a request is being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.places.seats().taken.get(&self.number).is_some_and(|seat| seat.standing == Standing::Busy)
    }

    /// Ends once the place is asked for.
    pub(super) async fn asked_for(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.seats().taken.remove(&self.number);
        self.places.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn is_asked_for(place: &Place) -> bool {
        place.leave.is_cancelled()
    }

    #[test]
    fn the_one_that_rests_longest_makes_room() {
        let (places, begin) = (Places::new(3), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        let [first, second, third] = [1, 2, 3].map(|at| places.try_take(after(at)).unwrap());
        first.work();
        assert!(places.try_take(after(4)).is_none());
        assert_eq!([&first, &second, &third].map(is_asked_for), [false, true, false]);
        assert!(places.try_take(after(5)).is_none());
        assert!(!is_asked_for(&third), "one leaves for one who comes");
        drop(second);
        assert!(places.try_take(after(6)).is_some());
    }

    #[tokio::test]
    async fn whoever_begins_a_request_when_asked_to_leave_is_not_waited_for() {
        let places = Places::new(2);
        let (a, b) = (places.take().await, places.take().await);
        assert!(places.try_take(Instant::now()).is_none());
        assert!(is_asked_for(&a));
        a.work();
        assert!(a.is_busy());
        tokio::select! {
            _ = places.take() => panic!("all are taken"),
            () = b.asked_for() => {}
        }
        drop(b);
        places.take().await;
    }

    #[test]
    fn whoever_has_been_asked_before_is_passed_over() {
        let places = Places::new(2);
        let [first, second] = [1, 2].map(|_| places.try_take(Instant::now()).unwrap());
        assert!(places.try_take(Instant::now()).is_none());
        assert_eq!([&first, &second].map(is_asked_for), [true, false]);
        first.work();
        second.work();
        first.rest();
        assert!(places.try_take(Instant::now()).is_none());
        second.rest();
        assert!(places.try_take(Instant::now()).is_none());
        assert!(is_asked_for(&second), "the first hears it once, and may take its time");
    }

    #[tokio::test]
    async fn while_all_are_busy_the_first_that_is_not_makes_room() {
        let places = Places::new(1);
        let busy = places.take().await;
        busy.work();
        assert!(places.try_take(Instant::now()).is_none());
        assert!(!is_asked_for(&busy));
        let leaving = async {
            busy.rest();
            busy.asked_for().await;
            drop(busy);
        };
        tokio::join!(places.take(), leaving);
    }
}
