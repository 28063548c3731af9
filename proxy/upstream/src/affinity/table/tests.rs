use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn a_session_ends_after_its_idle_time_unless_it_is_used() {
    let (table, start) = (AffinityTable::new(10), Instant::now());
    table.put("a", 7, Duration::from_secs(10), HOUR, start);
    assert_eq!(table.get("a", after(start, 9)), Some(7));
    assert_eq!(table.get("a", after(start, 18)), Some(7));
    assert_eq!(table.get("a", after(start, 28)), None);
}

#[test]
fn a_session_ends_after_its_longest_time_however_used() {
    let (table, start) = (AffinityTable::new(10), Instant::now());
    table.put("a", 7, HOUR, Duration::from_secs(10), start);
    assert_eq!(table.get("a", after(start, 9)), Some(7));
    assert_eq!(table.get("a", after(start, 10)), None);
}

#[test]
fn a_full_table_gives_up_an_ended_session_first() {
    let (table, start) = (AffinityTable::new(3), Instant::now());
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
    let (table, start) = (AffinityTable::new(3), Instant::now());
    for (key, second) in [("a", 0), ("b", 1), ("c", 2)] {
        table.put(key, second, HOUR, HOUR, after(start, second));
    }
    assert_eq!(table.get("a", after(start, 3)), Some(0));
    table.put("d", 9, HOUR, HOUR, after(start, 4));
    let alive = ["a", "b", "c", "d"].map(|key| table.get(key, after(start, 5)).is_some());
    assert_eq!(alive, [true, false, true, true]);
}

#[test]
fn sweeping_forgets_what_has_ended() {
    let (table, start) = (AffinityTable::new(100), Instant::now());
    for second in 0..50 {
        let idle = Duration::from_secs(second + 1);
        table.put(&second.to_string(), 1, idle, HOUR, start);
    }
    table.sweep(after(start, 20));
    assert_eq!(table.len(), 30);
}

#[test]
fn binding_the_same_key_over_and_over_takes_no_more_room() {
    let (table, start) = (AffinityTable::new(100), Instant::now());
    for second in 0..10_000 {
        table.put("a", second, HOUR, HOUR, after(start, second));
    }
    let ledger = table.ledger();
    assert!(ledger.by_use.len() < 200 && ledger.by_end.len() < 200);
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
        let (table, start) = (AffinityTable::new(capacity), Instant::now());
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
    fn a_table_with_room_forgets_nothing_alive(
        gaps in prop::collection::vec(0_u64..10, 1..50),
    ) {
        let (table, start) = (AffinityTable::new(100), Instant::now());
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
