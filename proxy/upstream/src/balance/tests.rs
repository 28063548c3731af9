use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use weir_config::{Choices, Hash, HashAlgorithm, HashKey};

use super::*;
use crate::{cluster::Cluster, fixture, rng::Rng, standing::State};

const DRAWN: Balance = Balance::LeastRequest(Choices::Drawn(2));
const FULL: Balance = Balance::LeastRequest(Choices::All);
const TIME: Balance = Balance::LeastTime { decay: Duration::from_secs(10) };

thread_local! {
    static LOOKS: Cell<u64> = const { Cell::new(0) };
}

/// A load that was looked at.
pub(super) fn count_look() {
    count_looks(1);
}

pub(super) fn count_looks(looks: u64) {
    LOOKS.set(LOOKS.get() + looks);
}

fn hash(algorithm: HashAlgorithm, balance_factor: Option<u32>) -> Balance {
    Balance::Hash(Hash { key: HashKey::SOURCE, algorithm, balance_factor })
}

fn all() -> Vec<Balance> {
    vec![
        Balance::RoundRobin,
        Balance::Random,
        DRAWN,
        FULL,
        TIME,
        Balance::First { max_requests: 2 },
        hash(HashAlgorithm::Ring, None),
        hash(HashAlgorithm::Ring, Some(125)),
        hash(HashAlgorithm::Maglev, None),
        hash(HashAlgorithm::Maglev, Some(125)),
    ]
}

fn cluster(balance: &Balance, weights: &[u32]) -> Arc<Cluster> {
    Cluster::build(&weir_config::Cluster { balance: balance.clone(), ..fixture::cluster(weights) }, None)
}

fn set(cluster: &Cluster, index: usize, state: State, percent: u32) {
    cluster.set_health(&cluster.endpoints()[index], &fixture::verdict(state, percent, "given"));
}

/// With a key of its own for every pick.
fn pick(balancer: &mut dyn Balancer, candidates: &Candidates, rng: &mut Rng) -> Option<usize> {
    let key = Some(KeyHash::of(&rng.bits().to_le_bytes()));
    balancer.pick(candidates, Occasion { key, now: Instant::now(), rng })
}

fn picks(balance: &Balance, candidates: &Candidates, count: usize) -> Vec<usize> {
    let (mut rng, mut balancer) = (Rng::new(42), balancer(balance, None));
    let mut taken = vec![0; candidates.len()];
    for _ in 0..count {
        taken[pick(&mut *balancer, candidates, &mut rng).unwrap()] += 1;
    }
    taken
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![Just(State::Healthy), Just(State::Degraded), Just(State::Unhealthy), Just(State::Draining),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn nothing_that_may_not_be_picked_is_picked(
        given in prop::collection::vec((0_u32..5, state(), 0_u32..3), 1..12),
    ) {
        let weights: Vec<_> = given.iter().map(|&(weight, ..)| weight).collect();
        let able = |wanted| given.iter().any(|&(weight, state, percent)| {
            weight * percent > 0 && state == wanted
        });
        for balance in all() {
            let cluster = cluster(&balance, &weights);
            for (index, &(_, state, percent)) in given.iter().enumerate() {
                set(&cluster, index, state, percent * 50);
            }
            let candidates = cluster.candidates();
            let (mut rng, mut balancer) = (Rng::new(1), cluster.balancer());
            let mut open = Vec::new();
            for _ in 0..20 {
                let Some(pick) = pick(&mut *balancer, &candidates, &mut rng) else {
                    prop_assert!(!able(State::Healthy) && !able(State::Degraded));
                    continue;
                };
                let endpoint = candidates.get(pick).unwrap();
                open.push(fixture::busy(endpoint));
                let wanted = if able(State::Healthy) { State::Healthy } else { State::Degraded };
                prop_assert_eq!(endpoint.state(), wanted);
                prop_assert!(endpoint.weight() * endpoint.status().weight_percent > 0);
            }
        }
    }

    #[test]
    fn an_attempt_after_failures_avoids_them(
        weights in prop::collection::vec(1_u32..9, 2..12),
        seed: u64,
    ) {
        for balance in all() {
            let cluster = cluster(&balance, &weights);
            let failed = cluster.endpoints()[0].id();
            let rest = cluster.candidates().without(&[failed]);
            let pick = pick(&mut *cluster.balancer(), &rest, &mut Rng::new(seed)).unwrap();
            prop_assert_ne!(rest.get(pick).unwrap().id(), failed);
        }
    }
}

#[test]
fn random_follows_the_weights_within_chance() {
    let weights = [1, 2, 3, 4];
    let cluster = Cluster::build(&fixture::cluster(&weights), None);
    let count = 100_000;
    let taken = picks(&Balance::Random, &cluster.candidates(), count);
    for (&taken, weight) in taken.iter().zip(weights) {
        let share = f64::from(weight) / 10.0;
        let deviation = (count as f64 * share * (1.0 - share)).sqrt();
        let off = (taken as f64 - count as f64 * share).abs();
        assert!(off < 5.0 * deviation, "{taken} at share {share}");
    }
}

#[test]
fn a_passing_set_is_drawn_by_weight_too() {
    let cluster = Cluster::build(&fixture::cluster(&[1, 3, 5]), None);
    let rest = cluster.candidates().without(&[cluster.endpoints()[2].id()]);
    let taken = picks(&Balance::Random, &rest, 10_000);
    assert!((2_300..2_700).contains(&taken[0]), "{taken:?}");
}

#[test]
fn least_request_keeps_weights_among_the_idle() {
    let cluster = Cluster::build(&fixture::cluster(&[3, 1]), None);
    let taken = picks(&DRAWN, &cluster.candidates(), 10_000);
    assert!((7_300..7_700).contains(&taken[0]), "{taken:?}");
}

#[test]
fn least_request_evens_out_what_is_in_flight_by_weight() {
    let cluster = Cluster::build(&fixture::cluster(&[3, 1, 1, 1]), None);
    let candidates = cluster.candidates();
    let mut balancer = balancer(&DRAWN, None);
    let mut rng = Rng::new(5);
    let mut guards = Vec::new();
    for _ in 0..600 {
        let pick = pick(&mut *balancer, &candidates, &mut rng).unwrap();
        guards.push(fixture::busy(candidates.get(pick).unwrap()));
    }
    for (index, share) in [300_u32, 100, 100, 100].into_iter().enumerate() {
        let load = candidates.get(index).unwrap().in_flight();
        assert!(load.abs_diff(share) <= share / 8, "{load} of {share}");
    }
}

#[test]
fn least_request_leaves_a_busy_endpoint_alone() {
    let cluster = Cluster::build(&fixture::cluster(&[1, 1]), None);
    let _busy = fixture::busy(&cluster.endpoints()[0]);
    assert_eq!(picks(&DRAWN, &cluster.candidates(), 100), [0, 100]);
}

proptest! {
    #[test]
    fn the_full_choice_is_always_the_exact_minimum(
        given in prop::collection::vec((1_u32..5, 0_usize..6), 1..20),
        seed: u64,
    ) {
        let weights: Vec<_> = given.iter().map(|&(weight, _)| weight).collect();
        let cluster = cluster(&FULL, &weights);
        let endpoints = cluster.endpoints();
        let _open: Vec<_> = given
            .iter()
            .zip(endpoints.iter())
            .flat_map(|(&(_, load), endpoint)| (0..load).map(|_| fixture::busy(endpoint)))
            .collect();
        let candidates = cluster.candidates();
        let pick = pick(&mut *cluster.balancer(), &candidates, &mut Rng::new(seed)).unwrap();
        let load = |index: usize| f64::from(in_flight(&candidates, index)) / f64::from(candidates.weight(index));
        let least = (0..candidates.len()).map(load).fold(f64::INFINITY, f64::min);
        prop_assert!(load(pick) <= least + 1e-9, "{} above {least}", load(pick));
    }
}

#[test]
fn the_full_choice_keeps_weights_among_the_idle_and_the_equally_busy() {
    let cluster = cluster(&FULL, &[3, 1]);
    let candidates = cluster.candidates();
    let taken = picks(&FULL, &candidates, 10_000);
    assert!((7_300..7_700).contains(&taken[0]), "{taken:?}");
    let _busy: Vec<_> = [0, 0, 0, 1].map(|index| fixture::busy(candidates.get(index).unwrap())).into();
    let taken = picks(&FULL, &candidates, 10_000);
    assert!((7_300..7_700).contains(&taken[0]), "{taken:?}");
}

#[test]
fn endpoints_fill_in_order() {
    let first = Balance::First { max_requests: 2 };
    let cluster = cluster(&first, &[1, 1, 1]);
    let candidates = cluster.candidates();
    let (mut rng, mut balancer) = (Rng::new(1), cluster.balancer());
    let mut open = Vec::new();
    for wanted in [0, 0, 1, 1, 2, 2] {
        let index = pick(&mut *balancer, &candidates, &mut rng).unwrap();
        assert_eq!(index, wanted);
        open.push(fixture::busy(candidates.get(index).unwrap()));
    }
    drop(open.remove(2));
    assert_eq!(pick(&mut *balancer, &candidates, &mut rng), Some(1), "room again");
    open.push(fixture::busy(candidates.get(1).unwrap()));
    open.push(fixture::busy(candidates.get(0).unwrap()));
    open.push(fixture::busy(candidates.get(1).unwrap()));
    assert_eq!(pick(&mut *balancer, &candidates, &mut rng), Some(2), "the least loaded when all are full");
}

#[test]
fn least_time_leaves_the_slow_one_alone_until_its_time_is_forgotten() {
    let cluster = cluster(&TIME, &[1, 1]);
    let candidates = cluster.candidates();
    let (mut rng, mut balancer, now) = (Rng::new(1), cluster.balancer(), Instant::now());
    cluster.observe(&cluster.endpoints()[0], Duration::from_millis(200), now);
    cluster.observe(&cluster.endpoints()[1], Duration::from_millis(2), now);
    let mut at = |after: u64| {
        let now = now + Duration::from_secs(after);
        let mut pick = || balancer.pick(&candidates, Occasion { key: None, now, rng: &mut rng });
        (0..50).filter(|_| pick() == Some(0)).count()
    };
    assert_eq!(at(0), 0);
    cluster.observe(&cluster.endpoints()[1], Duration::from_millis(2), now + Duration::from_secs(60));
    assert_eq!(at(60), 50, "worth a try again");
}

#[test]
fn least_time_counts_what_is_in_flight() {
    let cluster = cluster(&TIME, &[1, 1]);
    let (first, second) = (cluster.endpoints()[0].clone(), cluster.endpoints()[1].clone());
    let now = Instant::now();
    cluster.observe(&first, Duration::from_millis(10), now);
    cluster.observe(&second, Duration::from_millis(35), now);
    let candidates = cluster.candidates();
    let (mut rng, mut balancer) = (Rng::new(1), cluster.balancer());
    let mut open = Vec::new();
    let mut taken = [0, 0];
    for _ in 0..9 {
        let index = balancer.pick(&candidates, Occasion { key: None, now, rng: &mut rng }).unwrap();
        open.push(fixture::busy(candidates.get(index).unwrap()));
        taken[index] += 1;
    }
    assert_eq!(taken, [7, 2], "10 (n + 1) beside 35 (m + 1)");
}

#[test]
fn an_endpoint_nobody_has_heard_of_gets_one_request_to_begin_with() {
    let cluster = cluster(&TIME, &[1, 1]);
    let now = Instant::now();
    cluster.observe(&cluster.endpoints()[0], Duration::from_secs(5), now);
    let candidates = cluster.candidates();
    let (mut rng, mut balancer) = (Rng::new(1), cluster.balancer());
    let mut pick = || balancer.pick(&candidates, Occasion { key: None, now, rng: &mut rng });
    assert_eq!(pick(), Some(1));
    let _asked = fixture::busy(candidates.get(1).unwrap());
    assert_eq!(pick(), Some(0));
}

#[test]
fn a_failed_attempt_counts_as_long_as_it_took() {
    let cluster = cluster(&TIME, &[1, 1]);
    let now = Instant::now();
    for endpoint in cluster.endpoints().iter() {
        cluster.observe(endpoint, Duration::from_millis(50), now);
    }
    cluster.observe_failure(&cluster.endpoints()[0], now - Duration::from_secs(30));
    assert_eq!(picks(&TIME, &cluster.candidates(), 100), [0, 100]);
}

#[test]
fn a_pick_among_10_000_looks_at_no_more_than_one_among_10() {
    for balance in [DRAWN, hash(HashAlgorithm::Ring, Some(125)), hash(HashAlgorithm::Maglev, Some(125))] {
        let looks = |count: usize| {
            let cluster = cluster(&balance, &vec![1; count]);
            let candidates = cluster.candidates();
            let (mut rng, mut balancer) = (Rng::new(1), cluster.balancer());
            LOOKS.set(0);
            for _ in 0..2_000 {
                pick(&mut *balancer, &candidates, &mut rng);
            }
            LOOKS.get()
        };
        let (few, many) = (looks(10), looks(10_000));
        assert!(many <= 2 * few, "{balance:?}: {few} loads among 10, {many} among 10,000");
    }
}

#[test]
fn the_full_choice_looks_at_one_while_most_are_idle() {
    let cluster = cluster(&FULL, &[1; 10_000]);
    let _busy: Vec<_> = cluster.endpoints()[..1_000].iter().map(fixture::busy).collect();
    LOOKS.set(0);
    picks(&FULL, &cluster.candidates(), 100);
    assert!(LOOKS.get() < 100 + 40 * 10_000, "{} loads in 100 picks", LOOKS.get());
}
