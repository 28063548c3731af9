//! One limit, many keys, and times that are given.

use std::collections::HashSet;

use proptest::prelude::*;
use weir_config::{Algorithm, KeyPart, Rate, Tell, WithoutKey};

use super::*;

fn config(rate: Option<Rate>, max_in_flight: Option<u32>, capacity: usize) -> RateLimit {
    RateLimit {
        name: "test".into(),
        rate,
        max_in_flight,
        key: vec![KeyPart::Route],
        without_key: WithoutKey::Pass,
        capacity,
        except: Vec::new(),
        dry_run: false,
        tell: Tell::Refused,
    }
}

fn per_second(count: u32, burst: u32) -> Option<Rate> {
    Some(Rate { count, per: Duration::from_secs(1), algorithm: Algorithm::TokenBucket { burst } })
}

fn limit(rate: Option<Rate>, max_in_flight: Option<u32>, capacity: usize) -> (Arc<Limit>, Instant) {
    let now = Instant::now();
    (Arc::new(Limit::new(&config(rate, max_in_flight, capacity), now)), now)
}

fn key(limit: &Limit, text: &str) -> Key {
    let mut digest = limit.digest();
    digest.part(text.as_bytes());
    digest.key()
}

/// How many of so many requests of a key pass.
fn passing(limit: &Arc<Limit>, name: &str, tries: usize, now: Instant) -> usize {
    (0..tries).filter(|_| limit.take(key(limit, name), now).is_ok()).count()
}

#[test]
fn each_key_has_an_allowance_of_its_own() {
    let (limit, now) = limit(per_second(10, 3), None, 100);
    assert_eq!((passing(&limit, "a", 9, now), passing(&limit, "b", 2, now)), (3, 2));
    let later = now + Duration::from_millis(200);
    assert_eq!((passing(&limit, "a", 9, later), passing(&limit, "b", 9, later)), (2, 3));
    let figures = limit.figures();
    assert_eq!((figures.allowed, figures.limited, figures.keys), (10, 19, 2));
}

#[test]
fn parts_of_keys_are_apart() {
    let (limit, _) = limit(per_second(1, 1), None, 100);
    let of = |parts: &[&str]| {
        let mut digest = limit.digest();
        parts.iter().for_each(|part| digest.part(part.as_bytes()));
        digest.key()
    };
    assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
    assert_ne!(of(&["a", ""]), of(&["a"]));
    let mut nothing = limit.digest();
    nothing.nothing();
    assert_ne!(nothing.key(), of(&[""]));
}

#[test]
fn requests_in_flight_count_until_they_end() {
    let (limit, now) = limit(None, Some(2), 100);
    let take = || limit.take(key(&limit, "a"), now);
    let (one, two) = (take().unwrap(), take().unwrap());
    assert_eq!((one.in_flight, two.in_flight), (Some(1), Some(2)));
    assert_eq!(take().unwrap_err(), Refused::Busy);
    assert!(limit.take(key(&limit, "b"), now).is_ok());
    drop(one);
    assert!(take().is_ok());
    assert_eq!(limit.figures().busy, 1);
}

#[test]
fn what_is_given_back_can_be_taken_again() {
    let (limit, now) = limit(per_second(1, 1), Some(1), 100);
    limit.take(key(&limit, "a"), now).unwrap().held.give_back();
    let taken = limit.take(key(&limit, "a"), now).unwrap();
    assert_eq!((taken.quota.unwrap().remaining, taken.in_flight), (0, Some(1)));
    assert_eq!(limit.figures().allowed, 2);
}

#[test]
fn keys_that_have_used_nothing_are_forgotten() {
    let (limit, now) = limit(per_second(10, 1), Some(5), 100);
    let held = limit.take(key(&limit, "busy"), now).unwrap();
    passing(&limit, "idle", 1, now);
    limit.sweep(now + Duration::from_millis(50));
    assert_eq!(limit.figures().keys, 2);
    limit.sweep(now + Duration::from_millis(100));
    assert_eq!(limit.figures().keys, 1);
    drop(held);
    limit.sweep(now + Duration::from_millis(100));
    assert_eq!((limit.figures().keys, limit.figures().evicted), (0, 0));
}

#[test]
fn ever_new_keys_drive_out_one_another_and_not_the_one_that_is_held_back() {
    let (limit, now) = limit(per_second(1, 10), None, 8);
    assert_eq!(passing(&limit, "held back", 11, now), 10);
    for number in 0..1_000 {
        assert_eq!(passing(&limit, &number.to_string(), 1, now), 1);
    }
    assert_eq!(passing(&limit, "held back", 1, now), 0);
    let figures = limit.figures();
    assert_eq!((figures.keys, figures.evicted), (8, 993));
}

#[test]
fn a_table_full_of_requests_in_flight_takes_no_further_key() {
    let (limit, now) = limit(per_second(1, 1), Some(1), 2);
    let held = ["a", "b"].map(|name| limit.take(key(&limit, name), now).unwrap());
    assert_eq!(limit.take(key(&limit, "c"), now).unwrap_err(), Refused::Full);
    drop(held);
    assert!(limit.take(key(&limit, "c"), now).is_ok());
    assert_eq!(limit.figures().full, 1);
}

#[test]
fn threads_share_one_allowance() {
    let (limit, now) = limit(per_second(1, 1_000), None, 100_000);
    let passed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| passing(&limit, "a", 600, now))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert_eq!(passed, 1_000);
}

proptest! {
    /// Whatever comes, no key passes more often than its burst and what came meanwhile, nothing beyond the most
    /// is in flight, and no more keys are remembered than there is room for.
    #[test]
    fn bounds_hold_for_every_key(
        steps in prop::collection::vec((0..6_u8, 0..60_u64, any::<bool>(), any::<bool>()), 1..200),
        capacity in 6..20_usize,
    ) {
        let (limit, mut now) = limit(per_second(10, 4), Some(3), capacity);
        let start = now;
        let (mut passed, mut held) = ([0_u32; 6], Vec::new());
        for (name, wait, keep, give_back) in steps {
            now += Duration::from_millis(wait);
            if let Ok(taken) = limit.take(key(&limit, &name.to_string()), now) {
                if give_back {
                    taken.held.give_back();
                    continue;
                }
                passed[usize::from(name)] += 1;
                held.push((name, taken));
                prop_assert!(held.iter().filter(|(other, _)| *other == name).count() <= 3);
            }
            if !keep {
                held.retain(|(other, _)| *other != name);
            }
            prop_assert!(passed[usize::from(name)] as u128 <= 4 + (now - start).as_millis() / 100);
            prop_assert!(limit.figures().keys <= capacity);
        }
    }

    /// A key is refused for want of room only when as many as there is room for have requests in flight.
    #[test]
    fn a_key_without_requests_in_flight_makes_room(
        steps in prop::collection::vec((0..24_u8, any::<bool>()), 1..300),
        capacity in 1..12_usize,
    ) {
        let (limit, now) = limit(per_second(1, 1_000), Some(2), capacity);
        let mut held: Vec<(u8, Taken)> = Vec::new();
        for (name, keep) in steps {
            let of = |held: &[(u8, Taken)]| held.iter().filter(|(other, _)| *other == name).count();
            let busy: HashSet<u8> = held.iter().map(|(name, _)| *name).collect();
            match limit.take(key(&limit, &name.to_string()), now) {
                Ok(taken) => {
                    held.push((name, taken));
                    prop_assert_eq!(held.last().unwrap().1.in_flight.unwrap() as usize, of(&held));
                }
                Err(Refused::Busy) => prop_assert_eq!(of(&held), 2),
                Err(Refused::Full) => prop_assert!(busy.len() == capacity && !busy.contains(&name)),
                Err(Refused::Rate(_)) => prop_assert!(false, "the rate is not used up"),
            }
            if !keep && let Some(place) = held.iter().position(|(other, _)| *other == name) {
                held.swap_remove(place);
            }
        }
    }

    /// However many keys in a row have requests in flight.
    #[test]
    fn keys_in_flight_in_a_row_hide_none_that_are_not(
        capacity in 1_100..2_048_usize,
        first in 0..2_048_usize,
        length in 0..2_048_usize,
    ) {
        let (limit, now) = limit(None, Some(1), capacity);
        let length = length.min(capacity);
        let mut held: Vec<_> =
            (0..capacity).map(|name| limit.take(key(&limit, &name.to_string()), now).unwrap()).collect();
        held.rotate_left(first % capacity);
        held.truncate(length);
        for other in capacity..2 * capacity - length {
            held.push(limit.take(key(&limit, &other.to_string()), now).unwrap());
        }
        prop_assert_eq!(limit.take(key(&limit, "one more"), now).unwrap_err(), Refused::Full);
        prop_assert_eq!(limit.figures().keys, capacity);
    }
}
