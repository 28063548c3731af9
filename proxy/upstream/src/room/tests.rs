use std::{
    cell::Cell,
    future::poll_fn,
    pin::Pin,
    sync::atomic::AtomicBool,
    task::{Context, Poll, Wake, Waker},
};

use proptest::prelude::*;

use super::*;

/// Whether the waiter was called since it was last asked.
fn is_called(place: &Place<'_>) -> bool {
    pin!(place.call.notified()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn the_first_in_line_is_called_first() {
    let room = Room::default();
    room.call();
    let (first, second) = (room.join(2, false).unwrap(), room.join(2, false).unwrap());
    assert!(room.has_line() && first.is_due() && !second.is_due());
    assert!(!is_called(&first), "a call before there was a line is for nobody");
    room.call();
    assert!(is_called(&first) && !is_called(&second));
    drop(first);
    assert!(second.is_due() && is_called(&second), "whoever leaves calls the next");
    drop(second);
    assert_eq!((room.waiting(), room.has_line()), (0, false));
}

#[test]
fn a_call_that_cannot_be_used_goes_on() {
    let room = Room::default();
    let (picky, easy) = (room.join(3, true).unwrap(), room.join(3, false).unwrap());
    room.call();
    assert!(is_called(&picky) && !is_called(&easy));
    picky.pass_on();
    assert!(is_called(&easy) && easy.is_due(), "nobody before it would take what is left");
    let (other, third) = (room.join(4, false).unwrap(), room.join(4, true).unwrap());
    assert!(third.is_due(), "it takes nothing from those who would take anything");
    easy.pass_on();
    assert!(!is_called(&other) && is_called(&third), "what one finds nothing in, another like it does not either");
    drop(other);
    drop(easy);
    assert!(!room.has_line(), "newcomers need not wait for those who wait for something else");
}

proptest! {
    /// Waiters come, leave and are called in any order.
    #[test]
    fn the_line_is_never_longer_than_its_length(length in 0_usize..6, steps in prop::collection::vec((0_u8..4, any::<bool>(), 0_usize..6), 0..100)) {
        let room = Room::default();
        let mut places = VecDeque::new();
        for (step, picky, which) in steps {
            match step {
                0 | 1 => match room.join(length, picky) {
                    Some(place) => places.push_back(place),
                    None => prop_assert_eq!(places.len(), length),
                },
                2 => drop(places.remove(which)),
                _ => room.call(),
            }
            prop_assert!(room.waiting() <= length);
            prop_assert_eq!(room.waiting(), places.len());
            prop_assert_eq!(room.has_line(), places.iter().any(|place| !place.picky));
        }
        // As long as somebody waits, a call reaches the first.
        room.call();
        prop_assert!(places.front().is_none_or(is_called));
    }
}

#[test]
fn no_more_enter_than_may() {
    let room = Room::default();
    let most = 7;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    if room.try_enter(most) {
                        assert!(room.under_way() <= most);
                        room.leave();
                    }
                }
            });
        }
    });
    assert_eq!(room.under_way(), 0);
}

/// Endpoints, how many each takes, and how many the cluster does.
struct Stage {
    room: Room,
    clock: Cell<u32>,
    in_flight: [Cell<u32>; 3],
    each: u32,
    most: u32,
    /// The last of those that any endpoint would do for that was let in from the line.
    served: Cell<usize>,
}

/// Waits of requests are this long.
const TIMEOUT: u32 = 5;

#[derive(Debug, Clone)]
enum Step {
    /// A request comes, which needs this endpoint, or any.
    Arrive(Option<usize>),
    Finish(prop::sample::Index),
    Abandon(prop::sample::Index),
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::option::of(0_usize..3).prop_map(Step::Arrive),
        3 => any::<prop::sample::Index>().prop_map(Step::Finish),
        1 => any::<prop::sample::Index>().prop_map(Step::Abandon),
        1 => (1..TIMEOUT).prop_map(Step::Pass),
    ]
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// A request in line.
struct Waiting<'a> {
    wants: Option<usize>,
    due: u32,
    woken: Arc<Woken>,
    /// The endpoint it found; none past its time.
    found: Pin<Box<dyn Future<Output = Result<usize, ()>> + 'a>>,
}

impl Waiting<'_> {
    fn poll(&mut self) -> Poll<Result<usize, ()>> {
        self.woken.0.store(false, SeqCst);
        self.found.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&self.woken))))
    }
}

impl Stage {
    fn new(each: u32, most: u32) -> Self {
        let (room, clock, in_flight, served) = Default::default();
        Self { room, clock, in_flight, each, most, served }
    }

    /// The endpoint that there is room at; the last is there only for those who need it, as one that drains is.
    fn with_room(&self, wants: Option<usize>) -> Option<usize> {
        wants.map_or(0..2, |wanted| wanted..wanted + 1).find(|at| self.in_flight[*at].get() < self.each)
    }

    fn enter(&self, wants: Option<usize>) -> Option<usize> {
        let at = self.with_room(wants)?;
        self.room.try_enter(self.most).then(|| self.in_flight[at].update(|count| count + 1))?;
        Some(at)
    }

    fn finish(&self, at: usize) {
        self.in_flight[at].update(|count| count - 1);
        self.room.leave();
        self.room.call();
    }

    fn join(&self, number: usize, wants: Option<usize>) -> Option<Waiting<'_>> {
        let place = self.room.join(4, wants.is_some())?;
        let due = self.clock.get() + TIMEOUT;
        let over = poll_fn(move |_| if self.clock.get() < due { Poll::Pending } else { Poll::Ready(()) });
        let attempt = move || {
            assert!(self.clock.get() < due, "nobody is let in past its time");
            let found = self.enter(wants);
            if found.is_some() && wants.is_none() {
                assert!(self.served.replace(number) < number, "in the order they came");
            }
            Ok(found)
        };
        let found = Box::pin(place.wait(over, attempt));
        Some(Waiting { wants, due, woken: Arc::default(), found })
    }

    /// Whoever was woken, or is past its time, goes on, until there is nothing left to do.
    fn settle(&self, line: &mut Vec<Waiting<'_>>, under_way: &mut Vec<usize>) {
        let is_ready = |waiting: &Waiting<'_>| waiting.woken.0.load(SeqCst) || waiting.due <= self.clock.get();
        while let Some(next) = line.iter().position(is_ready) {
            if let Poll::Ready(found) = line[next].poll() {
                under_way.extend(found);
                drop(line.remove(next));
            }
        }
    }
}

proptest! {
    /// Requests come, end, are given up and wait in any order, and now and then several things happen at once.
    #[test]
    fn nobody_waits_past_the_deadline_or_beside_room(
        each in 1_u32..3,
        most in 1_u32..6,
        steps in prop::collection::vec((step(), prop::bool::weighted(0.8)), 0..200),
    ) {
        let stage = Stage::new(each, most);
        let (mut line, mut under_way) = (Vec::new(), Vec::new());
        for (number, (step, settles)) in (1..).zip(steps) {
            match step {
                Step::Arrive(wants) => match (!stage.room.has_line()).then(|| stage.enter(wants)).flatten() {
                    Some(at) => under_way.push(at),
                    None => if let Some(mut waiting) = stage.join(number, wants) {
                        match waiting.poll() {
                            Poll::Ready(found) => under_way.extend(found),
                            Poll::Pending => line.push(waiting),
                        }
                    },
                },
                Step::Finish(which) if !under_way.is_empty() => stage.finish(under_way.swap_remove(which.index(under_way.len()))),
                Step::Abandon(which) if !line.is_empty() => drop(line.remove(which.index(line.len()))),
                Step::Pass(time) => stage.clock.update(|clock| clock + time),
                Step::Finish(_) | Step::Abandon(_) => {}
            }
            if settles {
                stage.settle(&mut line, &mut under_way);
                let full = stage.room.under_way() == most;
                for waiting in &line {
                    prop_assert!(stage.clock.get() < waiting.due);
                    prop_assert!(full || stage.with_room(waiting.wants).is_none(), "it waits beside room");
                }
            }
            prop_assert!(stage.room.under_way() <= most && stage.in_flight.iter().all(|count| count.get() <= each));
            prop_assert_eq!(stage.room.under_way() as usize, under_way.len());
            prop_assert_eq!(stage.room.waiting(), line.len());
            prop_assert_eq!(stage.room.has_line(), line.iter().any(|waiting| waiting.wants.is_none()));
        }
        line.clear();
        under_way.into_iter().for_each(|at| stage.finish(at));
        prop_assert_eq!((stage.room.waiting(), stage.room.has_line(), stage.room.under_way()), (0, false, 0));
    }
}
