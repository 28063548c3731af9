use std::time::Instant;

use proptest::prelude::*;
use weir_config::{Balance, Hash, HashAlgorithm, HashKey};

use super::*;
use crate::{cluster::Cluster, fixture, rng::Rng, standing::State};

const ALGORITHMS: [HashAlgorithm; 2] = [HashAlgorithm::Ring, HashAlgorithm::Maglev];

fn cluster(weights: &[u32], algorithm: HashAlgorithm, balance_factor: Option<u32>) -> Arc<Cluster> {
    let balance = Balance::Hash(Hash { key: HashKey::SOURCE, algorithm, balance_factor });
    Cluster::build(&weir_config::Cluster { balance, ..fixture::cluster(weights) }, None)
}

fn key(number: usize) -> KeyHash {
    KeyHash::of(format!("user-{number}").as_bytes())
}

fn set(cluster: &Cluster, index: usize, state: State, percent: u32) {
    cluster.set_health(&cluster.endpoints()[index], &fixture::verdict(state, percent, "given"));
}

fn pick(balancer: &mut dyn Balancer, candidates: &Candidates, key: Option<KeyHash>) -> usize {
    let mut rng = Rng::new(1);
    balancer.pick(candidates, Occasion { key, now: Instant::now(), rng: &mut rng }).unwrap()
}

/// The id of the endpoint of each of so many keys.
fn homes_among(cluster: &Cluster, candidates: &Candidates, keys: usize) -> Vec<u64> {
    let mut balancer = cluster.balancer();
    let home = |number| pick(&mut *balancer, candidates, Some(key(number)));
    (0..keys).map(home).map(|index| candidates.get(index).unwrap().id()).collect()
}

fn homes(cluster: &Cluster, keys: usize) -> Vec<u64> {
    homes_among(cluster, &cluster.candidates(), keys)
}

fn moves(before: &[u64], after: &[u64]) -> Vec<(u64, u64)> {
    before.iter().copied().zip(after.iter().copied()).filter(|(before, after)| before != after).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_endpoint_that_is_out_moves_its_own_keys_only_and_gets_them_back(
        weights in prop::collection::vec(1_u32..5, 2..30),
        out: prop::sample::Index,
    ) {
        let keys = 500;
        for algorithm in ALGORITHMS {
            let cluster = cluster(&weights, algorithm, None);
            let out = out.index(weights.len());
            let id = cluster.endpoints()[out].id();
            let before = homes(&cluster, keys);
            set(&cluster, out, State::Unhealthy, 100);
            let during = homes(&cluster, keys);
            prop_assert!(!during.contains(&id));
            prop_assert!(moves(&before, &during).iter().all(|(from, _)| *from == id));
            set(&cluster, out, State::Healthy, 100);
            prop_assert_eq!(homes(&cluster, keys), before);
        }
    }

    #[test]
    fn a_further_attempt_goes_where_all_go_when_the_endpoint_is_out(count in 2_usize..12, number in 0_usize..1_000) {
        for algorithm in ALGORITHMS {
            let cluster = cluster(&vec![1; count], algorithm, None);
            let whole = Candidates::clone(&cluster.candidates());
            let mut balancer = cluster.balancer();
            let home = pick(&mut *balancer, &whole, Some(key(number)));
            let rest = whole.without(&[whole.get(home).unwrap().id()]);
            let next = rest.get(pick(&mut *balancer, &rest, Some(key(number)))).unwrap().id();
            let place = cluster.endpoints().iter().position(|endpoint| endpoint.id() == whole.get(home).unwrap().id());
            set(&cluster, place.unwrap(), State::Unhealthy, 100);
            let left = cluster.candidates();
            prop_assert_eq!(left.get(pick(&mut *balancer, &left, Some(key(number)))).unwrap().id(), next);
        }
    }

    /// Requests begin, with a key of few, and end in any order; the mean is exact for so few endpoints.
    #[test]
    fn no_load_is_ever_beyond_its_bound(
        weights in prop::collection::vec(1_u32..6, 1..25),
        factor in 101_u32..300,
        keys in 1_usize..4,
        ends in prop::collection::vec(any::<Option<prop::sample::Index>>(), 1..300),
    ) {
        let total: u32 = weights.iter().sum();
        for algorithm in ALGORITHMS {
            let cluster = cluster(&weights, algorithm, Some(factor));
            let candidates = cluster.candidates();
            let mut balancer = cluster.balancer();
            let mut open = Vec::new();
            for (number, end) in ends.iter().enumerate() {
                if let Some(end) = end.filter(|_| !open.is_empty()) {
                    drop(open.swap_remove(end.index(open.len())));
                }
                let index = pick(&mut *balancer, &candidates, Some(key(number % keys)));
                open.push(fixture::busy(candidates.get(index).unwrap()));
                let (load, weight) = (candidates.get(index).unwrap().in_flight(), candidates.get(index).unwrap().weight());
                let fair = open.len() as f64 * f64::from(weight) / f64::from(total);
                let bound = (f64::from(factor) / 100.0 * fair).ceil();
                prop_assert!(f64::from(load) <= bound, "{load} of {bound}");
            }
        }
    }
}

/// With a mean that is up to 39 picks old.
#[test]
fn many_endpoints_stay_within_their_bound_while_nothing_ends() {
    let cluster = cluster(&[1; 640], HashAlgorithm::Ring, Some(125));
    let candidates = cluster.candidates();
    let mut balancer = cluster.balancer();
    let mut open = Vec::new();
    for number in 0..3_000 {
        let index = pick(&mut *balancer, &candidates, Some(key(number % 3)));
        open.push(fixture::busy(candidates.get(index).unwrap()));
        let bound = (1.25 * open.len() as f64 / 640.0).ceil();
        assert!(f64::from(candidates.get(index).unwrap().in_flight()) <= bound);
    }
}

#[test]
fn a_hot_key_overflows_and_comes_back() {
    for algorithm in ALGORITHMS {
        let cluster = cluster(&[1; 4], algorithm, Some(125));
        let candidates = cluster.candidates();
        let mut balancer = cluster.balancer();
        let home = pick(&mut *balancer, &candidates, Some(key(1)));
        let busy: Vec<_> = (0..8).map(|_| fixture::busy(candidates.get(home).unwrap())).collect();
        assert_ne!(pick(&mut *balancer, &candidates, Some(key(1))), home);
        drop(busy);
        assert_eq!(pick(&mut *balancer, &candidates, Some(key(1))), home);
    }
}

/// A share of a ring is uneven by chance of its points: within a fifth for 160 of them.
#[test]
fn keys_follow_the_weights() {
    for (algorithm, within) in [(HashAlgorithm::Ring, 0.2), (HashAlgorithm::Maglev, 0.05)] {
        let weights = [1, 2, 3, 4];
        let cluster = cluster(&weights, algorithm, None);
        let found = homes(&cluster, 40_000);
        for (endpoint, weight) in cluster.endpoints().iter().zip(weights) {
            let share = 4_000.0 * f64::from(weight);
            let taken = found.iter().filter(|id| **id == endpoint.id()).count() as f64;
            assert!((taken - share).abs() <= within * share, "{algorithm:?}: {taken} of {share}");
        }
    }
}

#[test]
fn a_lower_weight_gives_away_its_part_of_the_keys_and_no_others() {
    for algorithm in ALGORITHMS {
        let cluster = cluster(&[1; 5], algorithm, None);
        let id = cluster.endpoints()[2].id();
        let count = |homes: &[u64]| homes.iter().filter(|home| **home == id).count() as f64;
        let whole = homes(&cluster, 10_000);
        let mut before = whole.clone();
        for percent in [80, 50, 10] {
            set(&cluster, 2, State::Healthy, percent);
            let after = homes(&cluster, 10_000);
            assert!(moves(&before, &after).iter().all(|(from, to)| *from == id && *to != id));
            // The share of one at p percent beside four is p / (400 + p), where it was a fifth.
            let part = 5.0 * f64::from(percent) / (400.0 + f64::from(percent));
            let wanted = count(&whole) * part;
            assert!((count(&after) - wanted).abs() < 0.15 * count(&whole), "{} of {wanted}", count(&after));
            before = after;
        }
    }
}

#[test]
fn a_raised_weight_takes_keys_from_the_others() {
    for algorithm in ALGORITHMS {
        let cluster = cluster(&[1; 4], algorithm, None);
        set(&cluster, 0, State::Healthy, 300);
        let taken = homes(&cluster, 6_000).iter().filter(|id| **id == cluster.endpoints()[0].id()).count();
        assert!((2_600..3_400).contains(&taken), "{algorithm:?}: {taken} of 3,000");
    }
}

#[test]
fn few_of_many_share_the_keys_and_keep_them() {
    for algorithm in ALGORITHMS {
        let cluster = cluster(&[1; 2_000], algorithm, None);
        let left = cluster.candidates().without(&ids(&cluster, 0..1_996));
        let before = homes_among(&cluster, &left, 2_000);
        for endpoint in left.iter() {
            let taken = before.iter().filter(|id| **id == endpoint.id()).count();
            assert!((400..600).contains(&taken), "{algorithm:?}: {taken} of 500");
        }
        let gone = cluster.endpoints()[1_996].id();
        let after = homes_among(&cluster, &left.without(&[gone]), 2_000);
        assert!(moves(&before, &after).iter().all(|(from, _)| *from == gone));
    }
}

fn ids(cluster: &Cluster, range: std::ops::Range<usize>) -> Vec<u64> {
    cluster.endpoints()[range].iter().map(|endpoint| endpoint.id()).collect()
}

#[test]
fn without_a_key_chance_decides_by_weight() {
    let cluster = cluster(&[3, 1], HashAlgorithm::Ring, None);
    let candidates = cluster.candidates();
    let (mut rng, mut balancer) = (Rng::new(3), cluster.balancer());
    let mut taken = [0; 2];
    for _ in 0..10_000 {
        let occasion = Occasion { key: None, now: Instant::now(), rng: &mut rng };
        taken[balancer.pick(&candidates, occasion).unwrap()] += 1;
    }
    assert!((7_300..7_700).contains(&taken[0]), "{taken:?}");
}

#[test]
fn subsets_by_label_have_homes_of_their_own() {
    let mut config = fixture::cluster(&[1; 6]);
    let labels = vec![("version".to_owned(), "v2".to_owned())];
    for endpoint in config.endpoints.iter_mut().skip(3) {
        endpoint.labels = labels.iter().cloned().collect();
    }
    config.balance =
        Balance::Hash(Hash { key: HashKey::SOURCE, algorithm: HashAlgorithm::Maglev, balance_factor: None });
    let cluster = Cluster::build(&config, None);
    let subset = cluster.candidates().with_labels(&labels);
    let (all, some) = (homes(&cluster, 300), homes_among(&cluster, &subset, 300));
    let inside = ids(&cluster, 3..6);
    for (all, some) in all.into_iter().zip(some) {
        assert!(inside.contains(&some) && (all == some || !inside.contains(&all)));
    }
}

#[test]
fn keys_go_to_newcomers_at_once_and_leave_with_those_who_go() {
    for algorithm in ALGORITHMS {
        let cluster = cluster(&[1; 4], algorithm, None);
        let listed = fixture::cluster(&[1; 5]).endpoints;
        let before = homes(&cluster, 1_000);
        cluster.delete(listed[3].address);
        let gone = cluster.endpoints()[3].id();
        assert!(!homes(&cluster, 1_000).contains(&gone));
        cluster.put(listed[3].clone());
        assert_eq!(homes(&cluster, 1_000), before);
        cluster.put(listed[4].clone());
        let newcomer = cluster.endpoints()[4].id();
        assert!(moves(&before, &homes(&cluster, 1_000)).iter().filter(|(_, to)| *to == newcomer).count() > 100);
    }
}
