use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

use proptest::prelude::*;

use super::*;

/// Whether the waiter was called since it was last asked.
fn is_called(place: &Place<'_>) -> bool {
    pin!(place.called()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
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
    assert!(is_called(&easy));
    easy.pass_on();
    let third = room.join(3, true).unwrap();
    assert!(third.is_due(), "it takes nothing from those who would take anything");
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
