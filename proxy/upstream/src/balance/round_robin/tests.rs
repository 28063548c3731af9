use proptest::prelude::*;

use super::*;
use crate::{cluster::Cluster, fixture, rng::Rng};

fn candidates(weights: &[u32]) -> Candidates {
    let cluster = Cluster::build(&fixture::cluster(weights), None);
    Candidates::clone(&cluster.candidates())
}

proptest! {
    #[test]
    fn over_any_run_an_endpoint_is_within_two_of_its_share(
        weights in prop::collection::vec(1_u32..50, 1..30),
        seed: u64,
        picks in 1_u64..500,
    ) {
        let candidates = candidates(&weights);
        let (mut rng, mut balancer) = (Rng::new(seed), RoundRobin::default());
        let mut taken = vec![0_u64; weights.len()];
        for _ in 0..picks {
            taken[balancer.turn(&candidates, &mut rng).unwrap()] += 1;
        }
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        for (count, &weight) in taken.iter().zip(&weights) {
            prop_assert!((count * total).abs_diff(picks * u64::from(weight)) < 2 * total);
        }
    }
}

#[test]
fn equal_endpoints_take_turns() {
    let candidates = candidates(&[7; 5]);
    let (mut rng, mut balancer) = (Rng::new(1), RoundRobin::default());
    let first = balancer.turn(&candidates, &mut rng).unwrap();
    for turn in 1..20 {
        let pick = balancer.turn(&candidates, &mut rng);
        assert_eq!(pick, Some((first + turn) % 5));
    }
}

#[test]
fn workers_start_at_different_endpoints() {
    let candidates = candidates(&[1; 100]);
    let first = |seed| RoundRobin::default().turn(&candidates, &mut Rng::new(seed));
    let firsts: std::collections::BTreeSet<_> = (0..8).map(first).collect();
    assert!(firsts.len() > 4, "{firsts:?}");
}

#[test]
fn a_heavy_endpoint_is_interleaved_with_the_light_ones() {
    let candidates = candidates(&[4, 1, 1, 1, 1]);
    let (mut rng, mut balancer) = (Rng::new(3), RoundRobin::default());
    let picks: Vec<_> = (0..80).map(|_| balancer.turn(&candidates, &mut rng).unwrap()).collect();
    let run = picks.chunk_by(|a, b| a == b).map(<[usize]>::len).max().unwrap();
    assert!(run <= 2, "{picks:?}");
}

#[test]
fn a_subset_between_does_not_disturb_the_rotation() {
    let mut config = fixture::cluster(&[1; 4]);
    let labels = vec![("version".to_owned(), "v2".to_owned())];
    for endpoint in config.endpoints.iter_mut().skip(2) {
        endpoint.labels = labels.iter().cloned().collect();
    }
    let whole = Candidates::clone(&Cluster::build(&config, None).candidates());
    let (mut rng, mut balancer) = (Rng::new(9), RoundRobin::default());
    let (mut of_whole, mut of_subset) = ([0; 4], [0; 2]);
    for _ in 0..40 {
        of_whole[balancer.turn(&whole, &mut rng).unwrap()] += 1;
        let subset = whole.with_labels(&labels);
        of_subset[balancer.turn(&subset, &mut rng).unwrap()] += 1;
    }
    assert_eq!((of_whole, of_subset), ([10; 4], [20; 2]));
}

#[test]
fn nothing_to_pick_gives_none() {
    let mut balancer = RoundRobin::default();
    assert_eq!(balancer.turn(&candidates(&[0]), &mut Rng::new(1)), None);
}
