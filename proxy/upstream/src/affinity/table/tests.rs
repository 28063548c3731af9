use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// A table that is asked by names.
struct Named(AffinityTable);

impl std::ops::Deref for Named {
    type Target = AffinityTable;

    fn deref(&self) -> &AffinityTable {
        &self.0
    }
}

impl Named {
    fn new(capacity: usize) -> Self {
        Self(AffinityTable::new(capacity))
    }

    fn put(&self, name: &str, endpoint: u64, idle: Duration, max: Duration, now: Instant) {
        self.0.put("", self.0.key("", name.as_bytes()), endpoint, [idle, max], now);
    }

    fn get(&self, name: &str, now: Instant) -> Option<u64> {
        self.0.get(self.0.key("", name.as_bytes()), now)
    }
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn a_session_ends_after_its_idle_time_unless_it_is_used() {
    let (table, start) = (Named::new(10), Instant::now());
    table.put("a", 7, Duration::from_secs(10), HOUR, start);
    assert_eq!(table.get("a", after(start, 9)), Some(7));
    assert_eq!(table.get("a", after(start, 18)), Some(7));
    assert_eq!(table.get("a", after(start, 28)), None);
}

#[test]
fn a_session_ends_after_its_longest_time_however_used() {
    let (table, start) = (Named::new(10), Instant::now());
    table.put("a", 7, HOUR, Duration::from_secs(10), start);
    assert_eq!(table.get("a", after(start, 9)), Some(7));
    assert_eq!(table.get("a", after(start, 10)), None);
}

#[test]
fn sessions_go_on_in_another_table_with_their_times() {
    let (table, start) = (Named::new(10), Instant::now());
    table.put("a", 7, Duration::from_secs(10), HOUR, start);
    table.put("b", 8, HOUR, Duration::from_secs(30), start);
    table.put("ended", 9, Duration::from_secs(1), HOUR, start);
    assert_eq!(table.get("a", after(start, 5)), Some(7));
    let (next, now) = (Named::new(2), after(start, 8));
    next.put("b", 1, HOUR, HOUR, now);
    let kept = table.kept(now);
    assert_eq!(kept.len(), 2);
    kept.iter().for_each(|kept| next.keep(kept, now));
    assert_eq!(next.get("b", now), Some(1), "what is known here counts");
    assert_eq!(next.get("a", after(start, 15)), None, "it was not used for longer than it may be");
    let (full, late) = (Named::new(1), after(start, 14));
    table.kept(late).iter().for_each(|kept| full.keep(kept, late));
    assert_eq!(full.len(), 1);
    let roomy = Named::new(10);
    table.kept(late).iter().for_each(|kept| roomy.keep(kept, late));
    assert_eq!((roomy.get("a", late), roomy.get("b", after(start, 29))), (Some(7), Some(8)));
    assert_eq!(roomy.get("b", after(start, 30)), None);
}

#[test]
fn a_full_table_gives_up_an_ended_session_first() {
    let (table, start) = (Named::new(3), Instant::now());
    table.put("old", 1, HOUR, HOUR, start);
    table.put("brief", 2, Duration::from_secs(1), HOUR, after(start, 1));
    table.put("late", 3, HOUR, HOUR, after(start, 2));
    let now = after(start, 5);
    table.put("another", 4, HOUR, HOUR, now);
    assert_eq!(table.get("brief", now), None);
    assert_eq!(table.get("old", now), Some(1));
    assert_eq!(table.len(), 3);
}

#[test]
fn a_full_table_gives_up_the_least_recently_used() {
    let (table, start) = (Named::new(3), Instant::now());
    for (key, second) in [("a", 0), ("b", 1), ("c", 2)] {
        table.put(key, second, HOUR, HOUR, after(start, second));
    }
    assert_eq!(table.get("a", after(start, 3)), Some(0));
    table.put("d", 9, HOUR, HOUR, after(start, 4));
    let alive = ["a", "b", "c", "d"].map(|key| table.get(key, after(start, 5)).is_some());
    assert_eq!(alive, [true, false, true, true]);
}

#[test]
fn giving_up_a_session_alive_is_counted() {
    let (table, start) = (Named::new(1), Instant::now());
    table.put("a", 1, Duration::from_secs(1), HOUR, start);
    table.put("b", 1, HOUR, HOUR, after(start, 1));
    assert_eq!(table.evicted(), 0);
    table.put("c", 1, HOUR, HOUR, after(start, 2));
    assert_eq!((table.evicted(), table.len()), (1, 1));
}

#[test]
fn scopes_are_apart() {
    let (table, start) = (AffinityTable::new(10), Instant::now());
    let keys = [("acme", "x"), ("other", "x"), ("", "x"), ("", "acmex"), ("a", "cmex")];
    for (number, (scope, value)) in (0..).zip(keys) {
        table.put(scope, table.key(scope, value.as_bytes()), number, [HOUR, HOUR], start);
    }
    for (number, (scope, value)) in (0..).zip(keys) {
        assert_eq!(table.get(table.key(scope, value.as_bytes()), start), Some(number));
    }
}

#[test]
fn sweeping_forgets_what_has_ended() {
    let (table, start) = (Named::new(100), Instant::now());
    for second in 0..50 {
        let idle = Duration::from_secs(second + 1);
        table.put(&second.to_string(), 1, idle, HOUR, start);
    }
    table.sweep(after(start, 20));
    assert_eq!(table.len(), 30);
}

#[test]
fn a_session_that_was_forgotten_begins_again() {
    let (table, start) = (Named::new(100), Instant::now());
    table.put("a", 1, Duration::from_secs(1), HOUR, start);
    table.sweep(after(start, 2));
    assert!(table.is_empty());
    table.put("a", 2, HOUR, HOUR, after(start, 3));
    assert_eq!(table.get("a", after(start, 3)), Some(2));
}

#[test]
fn binding_the_same_key_over_and_over_takes_no_more_room() {
    let (table, start) = (Named::new(100), Instant::now());
    table.put("b", 1, HOUR, HOUR, start);
    for second in 0..10_000 {
        table.put("a", second, HOUR, HOUR, after(start, second));
    }
    let ledger = table.held.ledger();
    let by_use: usize = ledger.scopes.values().map(|scope| scope.by_use.len()).sum();
    assert!(by_use < 200 && ledger.by_end.len() < 200);
    drop(ledger);
    assert_eq!(table.get("a", after(start, 10_000)), Some(9_999));
}

#[derive(Debug, Clone)]
enum Step {
    Put { key: u8, idle: u64, max: u64 },
    Get { key: u8 },
    Sweep,
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let step = prop_oneof![
        (0_u8..12, 1_u64..20, 1_u64..40).prop_map(|(key, idle, max)| Step::Put { key, idle, max }),
        (0_u8..12).prop_map(|key| Step::Get { key }),
        Just(Step::Sweep),
    ];
    (0_u64..5, step)
}

proptest! {
    #[test]
    fn an_answer_is_always_the_last_binding_and_alive(
        steps in prop::collection::vec(step(), 1..300),
        capacity in 1_usize..10,
    ) {
        let (table, start) = (Named::new(capacity), Instant::now());
        // What each key was bound to, when, when last used, and for how long.
        let mut model: HashMap<u8, (u64, u64, u64, u64, u64)> = HashMap::new();
        let mut second = 0;
        for (number, (pause, step)) in (0_u64..).zip(steps) {
            second += pause;
            let now = after(start, second);
            match step {
                Step::Put { key, idle, max } => {
                    let times = (Duration::from_secs(idle), Duration::from_secs(max));
                    table.put(&key.to_string(), number, times.0, times.1, now);
                    model.insert(key, (number, second, second, idle, max));
                    prop_assert_eq!(table.get(&key.to_string(), now), Some(number));
                }
                Step::Get { key } => {
                    let found = table.get(&key.to_string(), now);
                    if let Some(endpoint) = found {
                        let session = model.get_mut(&key).unwrap();
                        prop_assert_eq!(endpoint, session.0);
                        prop_assert!(second < session.1 + session.4 && second < session.2 + session.3);
                        session.2 = second;
                    }
                }
                Step::Sweep => table.sweep(now),
            }
            prop_assert!(table.len() <= capacity);
        }
    }

    #[test]
    fn the_least_recently_used_goes_first(uses in prop::collection::vec((0_usize..9, 1_u64..9), 0..60)) {
        let (table, start) = (Named::new(8), Instant::now());
        // Names, the least recently used first.
        let mut order: Vec<String> = Vec::new();
        let mut second = 0;
        for (number, (name, pause)) in uses.into_iter().enumerate() {
            second += pause;
            let now = after(start, second);
            match order.get(name).cloned() {
                Some(used) => {
                    prop_assert!(table.get(&used, now).is_some(), "{used} of {order:?}");
                    order.retain(|other| *other != used);
                    order.push(used);
                }
                None => {
                    table.put(&number.to_string(), 1, HOUR, HOUR, now);
                    if order.len() == 8 {
                        let gone = order.remove(0);
                        prop_assert_eq!(table.get(&gone, now), None);
                    }
                    order.push(number.to_string());
                }
            }
        }
    }

    #[test]
    fn a_table_with_room_forgets_nothing_alive(
        gaps in prop::collection::vec(0_u64..10, 1..50),
    ) {
        let (table, start) = (Named::new(100), Instant::now());
        let mut second = 0;
        for (number, gap) in (0_u64..).zip(&gaps) {
            second += gap;
            table.put(&number.to_string(), number, HOUR, HOUR, after(start, second));
        }
        for number in 0..gaps.len() as u64 {
            prop_assert_eq!(table.get(&number.to_string(), after(start, second)), Some(number));
        }
    }
}

#[test]
fn a_scope_cannot_push_out_the_sessions_of_another() {
    let (table, start) = (AffinityTable::new(100), Instant::now());
    let put = |scope: &str, number: u64| {
        table.put(scope, table.key(scope, &number.to_be_bytes()), number, [HOUR, HOUR], after(start, number));
    };
    let alive = |scope: &str, count: u64| {
        (0..count).filter(|number| table.get(table.key(scope, &number.to_be_bytes()), start).is_some()).count()
    };
    (0..30).for_each(|number| put("small", number));
    (0..1_100).for_each(|number| put("large", number));
    assert_eq!((alive("small", 30), alive("large", 1_100)), (30, 70));
    (0..1_100).for_each(|number| put("late", number));
    assert_eq!(alive("small", 30), 30);
    assert_eq!((alive("large", 1_100), alive("late", 1_100)), (35, 35), "they share what is left");
    assert_eq!((table.len(), table.evicted()), (100, 2_130));
}

#[test]
fn a_table_keeps_its_sessions_under_another_capacity() {
    let (table, start) = (Named::new(10), Instant::now());
    (0..10).for_each(|number| table.put(&number.to_string(), number, HOUR, HOUR, after(start, number)));
    let smaller = Named(table.with_capacity(4));
    assert_eq!((smaller.len(), smaller.get("0", after(start, 10))), (10, Some(0)));
    smaller.put("new", 1, HOUR, HOUR, after(start, 11));
    assert_eq!((smaller.len(), smaller.get("0", after(start, 11))), (4, Some(0)), "the least recently used go");
}
