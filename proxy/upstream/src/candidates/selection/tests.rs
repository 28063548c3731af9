use proptest::prelude::*;

use super::*;
use State::{Degraded, Draining, Healthy, Maintenance, Unhealthy};

const USUAL: Thresholds = Thresholds { min_healthy: 50, panic: 0, ejected: 50 };

fn entry(state: State, priority: u32) -> Entry {
    Entry { state, weight: 100, level: (priority, false), backup: false, spared: None }
}

fn backup(state: State) -> Entry {
    Entry { backup: true, ..entry(state, 0) }
}

fn chosen(entries: &[Entry], thresholds: Thresholds) -> (Vec<usize>, Serving) {
    let selection = select(entries, thresholds);
    (selection.chosen.iter().map(|(index, _)| *index).collect(), selection.serving)
}

/// Percent of the traffic that goes to each.
fn shares(entries: &[Entry], thresholds: Thresholds) -> Vec<u64> {
    let selection = select(entries, thresholds);
    let total: u64 = selection.chosen.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut shares = vec![0; entries.len()];
    for (index, weight) in selection.chosen {
        shares[index] = (u64::from(weight) * 100 + total / 2) / total;
    }
    shares
}

#[test]
fn a_level_takes_everything_while_enough_of_it_is_healthy() {
    let entries = [entry(Healthy, 0), entry(Unhealthy, 0), entry(Healthy, 1)];
    assert_eq!(chosen(&entries, USUAL), (vec![0], Serving::Healthy));
}

#[test]
fn what_a_level_cannot_take_spills_over() {
    let [a, b] = [entry(Healthy, 0), entry(Unhealthy, 0)];
    let c = entry(Healthy, 1);
    assert_eq!(shares(&[a, b, b, b, c, c], USUAL), [50, 0, 0, 0, 25, 25], "a quarter is healthy, half is enough");
    let envoy = Thresholds { min_healthy: 71, ..USUAL };
    assert_eq!(shares(&[a, b, c], envoy), [70, 0, 30]);
    assert_eq!(chosen(&[b, b, c], USUAL), (vec![2], Serving::SpillOver));
    assert_eq!(select(&[a, b, b, b, c], USUAL).serving, Serving::SpillOver);
}

#[test]
fn levels_that_cannot_take_everything_together_take_it_in_proportion() {
    let [up, down] = [entry(Healthy, 0), entry(Unhealthy, 0)];
    let [next, gone] = [entry(Healthy, 1), entry(Unhealthy, 1)];
    let entries = [up, down, down, down, down, next, gone, gone, gone, gone];
    let strict = Thresholds { min_healthy: 100, ..USUAL };
    assert_eq!(shares(&entries, strict), [50, 0, 0, 0, 0, 50, 0, 0, 0, 0]);
}

#[test]
fn weights_hold_within_a_level_that_spills_over() {
    let heavy = Entry { weight: 300, ..entry(Healthy, 0) };
    let entries =
        [heavy, entry(Healthy, 0), entry(Unhealthy, 0), entry(Unhealthy, 0), entry(Unhealthy, 0), entry(Healthy, 1)];
    assert_eq!(shares(&entries, Thresholds { min_healthy: 100, ..USUAL }), [30, 10, 0, 0, 0, 60]);
}

#[test]
fn the_own_zone_comes_first_as_long_as_it_suffices() {
    let near = |state| Entry { level: (0, false), ..entry(state, 0) };
    let far = Entry { level: (0, true), ..entry(Healthy, 0) };
    assert_eq!(chosen(&[far, near(Healthy), near(Healthy)], USUAL), (vec![1, 2], Serving::Healthy));
    assert_eq!(
        shares(&[far, near(Healthy), near(Unhealthy), near(Unhealthy), near(Unhealthy)], USUAL),
        [50, 50, 0, 0, 0]
    );
    assert_eq!(chosen(&[far, near(Unhealthy)], USUAL), (vec![0], Serving::SpillOver));
    assert_eq!(chosen(&[far, far], USUAL), (vec![0, 1], Serving::Healthy));
}

#[test]
fn degraded_endpoints_serve_before_backups_and_these_before_nothing() {
    let entries = [entry(Unhealthy, 0), entry(Degraded, 0), backup(Healthy)];
    assert_eq!(chosen(&entries, USUAL), (vec![1], Serving::Degraded));
    assert_eq!(chosen(&[entry(Healthy, 0), backup(Healthy)], USUAL), (vec![0], Serving::Healthy));
    assert_eq!(chosen(&[entry(Unhealthy, 0), backup(Healthy)], USUAL), (vec![1], Serving::Backup));
    assert_eq!(chosen(&[entry(Draining, 0), backup(Unhealthy)], USUAL), (vec![], Serving::Nothing));
    assert_eq!(chosen(&[], USUAL), (vec![], Serving::Nothing));
}

#[test]
fn panic_takes_all_that_nobody_wants_out() {
    let panic = Thresholds { panic: 50, ..USUAL };
    let entries =
        [entry(Healthy, 0), entry(Unhealthy, 0), entry(Unhealthy, 1), entry(Maintenance, 0), entry(Draining, 0)];
    assert_eq!(chosen(&entries, panic), (vec![0, 1, 2], Serving::Panic));
    assert_eq!(chosen(&entries, USUAL), (vec![0], Serving::Healthy), "it is off unless it is asked for");
    assert_eq!(chosen(&[entry(Healthy, 0), entry(Unhealthy, 0)], panic).1, Serving::Healthy, "half is not below half");
    assert_eq!(chosen(&[entry(Healthy, 0), entry(Maintenance, 0), entry(Maintenance, 0)], panic).1, Serving::Healthy);
    assert_eq!(
        chosen(&[entry(Unhealthy, 0), backup(Healthy)], panic),
        (vec![1], Serving::Backup),
        "backups are better"
    );
    assert_eq!(chosen(&[entry(Unhealthy, 0), backup(Unhealthy)], panic), (vec![0], Serving::Panic));
}

#[test]
fn the_reserve_is_what_else_may_be_picked_in_order() {
    let entries = [entry(Healthy, 1), entry(Healthy, 0), backup(Healthy), entry(Degraded, 0)];
    let selection = select(&entries, USUAL);
    let reserve: Vec<Vec<usize>> =
        selection.reserve.iter().map(|group| group.iter().map(|(index, _)| *index).collect()).collect();
    assert_eq!((selection.chosen.len(), reserve), (1, vec![vec![0], vec![3], vec![2]]));
}

fn ejected(reached: bool) -> Entry {
    Entry { spared: Some(Spared { state: Healthy, reached }), ..entry(State::Ejected, 0) }
}

#[test]
fn ejections_do_not_count_where_too_few_are_left_beside_them() {
    let [up, down] = [entry(Healthy, 0), entry(Unhealthy, 0)];
    assert_eq!(chosen(&[ejected(false), up], USUAL), (vec![1], Serving::Healthy), "half is not below half");
    assert_eq!(chosen(&[ejected(false), ejected(false), up], USUAL), (vec![0, 1, 2], Serving::Ejected));
    let rarely = Thresholds { ejected: 0, ..USUAL };
    assert_eq!(chosen(&[ejected(false), ejected(false), up], rarely), (vec![2], Serving::Healthy));
    for gone in [down, entry(Draining, 0), entry(Maintenance, 0), Entry { weight: 0, ..up }] {
        assert_eq!(chosen(&[ejected(false), gone], rarely), (vec![0], Serving::Ejected), "{gone:?}");
    }
    let worn = Entry { spared: Some(Spared { state: Degraded, reached: true }), ..ejected(true) };
    assert_eq!(chosen(&[worn, down], USUAL), (vec![0], Serving::Ejected));
}

#[test]
fn an_ejected_endpoint_that_answers_serves_before_backups() {
    assert_eq!(chosen(&[ejected(true), backup(Healthy)], USUAL), (vec![0], Serving::Ejected));
    assert_eq!(chosen(&[ejected(false), backup(Healthy)], USUAL), (vec![1], Serving::Backup));
    let sorry = Entry { backup: true, ..ejected(true) };
    assert_eq!(chosen(&[entry(Unhealthy, 0), sorry], USUAL), (vec![1], Serving::Ejected));
    assert_eq!(chosen(&[ejected(false), sorry], USUAL), (vec![1], Serving::Ejected), "before what is out of reach");
    assert_eq!(chosen(&[ejected(false), ejected(true), backup(Unhealthy)], USUAL), (vec![1], Serving::Ejected));
}

#[test]
fn what_is_ejected_comes_last_in_the_reserve() {
    let selection = select(&[ejected(false), entry(Healthy, 0), backup(Healthy)], USUAL);
    let reserve: Vec<usize> = selection.reserve.iter().flatten().map(|(index, _)| *index).collect();
    assert_eq!((selection.chosen.len(), reserve), (1, vec![2, 0]));
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let states =
        prop::sample::select(vec![Healthy, State::Warming, Degraded, State::Ejected, Unhealthy, Draining, Maintenance]);
    (states, 0_u32..300, 0_u32..3, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(state, weight, priority, far, backup, reached)| {
            let spared = (state == State::Ejected).then_some(Spared { state: Healthy, reached });
            Entry { state, weight, level: (priority, far), backup, spared }
        },
    )
}

proptest! {
    #[test]
    fn nothing_that_may_not_be_picked_is_chosen_and_nothing_is_missed(
        entries in prop::collection::vec(any_entry(), 0..20),
        min_healthy in 0_u32..=100,
        panic in 0_u32..=100,
        ejected in 0_u32..=100,
    ) {
        let selection = select(&entries, Thresholds { min_healthy, panic, ejected });
        for (index, weight) in &selection.chosen {
            prop_assert!(*weight > 0 && entries[*index].weight > 0 && is_wanted(entries[*index].state));
            let ignored = entries[*index].spared.is_some() && selection.serving == Serving::Ejected;
            prop_assert!(entries[*index].state.is_able() || ignored || selection.serving == Serving::Panic);
        }
        let is_able = |entry: &&Entry| entry.weight > 0 && (entry.state.is_able() || entry.spared.is_some());
        let able = entries.iter().filter(is_able).count();
        let reserve: usize = selection.reserve.iter().map(Vec::len).sum();
        if selection.serving == Serving::Panic {
            prop_assert!(panic > 0);
        } else {
            prop_assert_eq!(selection.chosen.len() + reserve, able);
        }
        prop_assert_eq!(selection.chosen.is_empty(), selection.serving == Serving::Nothing);
        prop_assert!(able == 0 || !selection.chosen.is_empty(), "ejections leave nothing");
    }
}
