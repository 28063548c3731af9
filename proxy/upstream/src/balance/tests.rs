use proptest::prelude::*;

use super::*;
use crate::{cluster::Cluster, fixture, rng::Rng, standing::State};

const ALL: [Balance; 3] = [Balance::RoundRobin, Balance::Random, Balance::LeastRequest { choices: 2 }];

fn picks(balance: &Balance, candidates: &Candidates, count: usize) -> Vec<usize> {
    let (mut rng, mut balancer) = (Rng::new(42), balancer(balance));
    let mut taken = vec![0; candidates.len()];
    for _ in 0..count {
        taken[balancer.pick(candidates, &mut rng).unwrap()] += 1;
    }
    taken
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![Just(State::Healthy), Just(State::Degraded), Just(State::Unhealthy), Just(State::Draining),]
}

proptest! {
    #[test]
    fn nothing_that_may_not_be_picked_is_picked(
        given in prop::collection::vec((0_u32..5, state(), 0_u32..3), 1..12),
    ) {
        let weights: Vec<_> = given.iter().map(|&(weight, ..)| weight).collect();
        let cluster = Cluster::build(&fixture::cluster(&weights), None);
        for (endpoint, &(_, state, percent)) in cluster.endpoints().iter().zip(&given) {
            cluster.set_health(endpoint, &fixture::verdict(state, percent * 50, "given"));
        }
        let able = |wanted| given.iter().any(|&(weight, state, percent)| {
            weight * percent > 0 && state == wanted
        });
        for balance in ALL {
            let candidates = cluster.candidates();
            let (mut rng, mut balancer) = (Rng::new(1), balancer(&balance));
            for _ in 0..20 {
                let Some(pick) = balancer.pick(&candidates, &mut rng) else {
                    prop_assert!(!able(State::Healthy) && !able(State::Degraded));
                    continue;
                };
                let endpoint = candidates.get(pick).unwrap();
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
        let cluster = Cluster::build(&fixture::cluster(&weights), None);
        let failed = cluster.endpoints()[0].id();
        let rest = cluster.candidates().without(&[failed]);
        for balance in ALL {
            let pick = balancer(&balance).pick(&rest, &mut Rng::new(seed)).unwrap();
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
    let choice = Balance::LeastRequest { choices: 2 };
    let taken = picks(&choice, &cluster.candidates(), 10_000);
    assert!((7_300..7_700).contains(&taken[0]), "{taken:?}");
}

#[test]
fn least_request_evens_out_what_is_in_flight_by_weight() {
    let cluster = Cluster::build(&fixture::cluster(&[3, 1, 1, 1]), None);
    let candidates = cluster.candidates();
    let mut balancer = balancer(&Balance::LeastRequest { choices: 2 });
    let mut rng = Rng::new(5);
    let mut guards = Vec::new();
    for _ in 0..600 {
        let pick = balancer.pick(&candidates, &mut rng).unwrap();
        guards.push(candidates.get(pick).unwrap().begin_owned());
    }
    for (index, share) in [300_u32, 100, 100, 100].into_iter().enumerate() {
        let load = candidates.get(index).unwrap().in_flight();
        assert!(load.abs_diff(share) <= share / 8, "{load} of {share}");
    }
}

#[test]
fn least_request_leaves_a_busy_endpoint_alone() {
    let cluster = Cluster::build(&fixture::cluster(&[1, 1]), None);
    let _busy = cluster.endpoints()[0].begin_owned();
    let choice = Balance::LeastRequest { choices: 2 };
    assert_eq!(picks(&choice, &cluster.candidates(), 100), [0, 100]);
}
