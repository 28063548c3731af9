use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::{cluster::Cluster, fixture};

const ALGORITHMS: [HashAlgorithm; 2] = [HashAlgorithm::Ring, HashAlgorithm::Maglev];

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// A point or slot that was looked at.
pub(super) fn count_step() {
    STEPS.set(STEPS.get() + 1);
}

fn listed(weights: &[u32]) -> Vec<Arc<Endpoint>> {
    Cluster::build(&fixture::cluster(weights), None).endpoints().to_vec()
}

fn table(algorithm: HashAlgorithm, endpoints: &[Arc<Endpoint>]) -> Table {
    Table::new(algorithm, listing(endpoints))
}

fn key(number: usize) -> KeyHash {
    KeyHash::of(format!("user-{number}").as_bytes())
}

/// The name of the endpoint of each of so many keys.
fn homes(table: &Table, keys: usize) -> Vec<&str> {
    (0..keys).map(|number| &*table.members[table.walk(key(number)).next().unwrap()].name).collect()
}

/// The last digits of the ports, for keys that libketama's construction, written down in another
/// language, puts there.
#[test]
fn the_ring_is_that_of_ketama() {
    for (weights, wanted) in [
        ([1, 1, 1, 1], "030101321312131022232210011300212011103333323232011321232320"),
        ([1, 2, 3, 7], "031130331333232032232232211333232313133333323232231321232323"),
    ] {
        let table = table(HashAlgorithm::Ring, &listed(&weights));
        let found: String = homes(&table, 60).into_iter().map(|name| name.chars().last().unwrap()).collect();
        assert_eq!(found, wanted, "{weights:?}");
    }
}

#[test]
fn the_order_of_endpoints_does_not_matter() {
    let mut endpoints = listed(&[1, 2, 3, 4, 5]);
    for algorithm in ALGORITHMS {
        let before = table(algorithm, &endpoints);
        endpoints.reverse();
        assert_eq!(homes(&before, 300), homes(&table(algorithm, &endpoints), 300));
    }
}

#[test]
fn slots_of_maglev_follow_the_weights() {
    let weights = [1_u32, 2, 3, 10];
    let table = table(HashAlgorithm::Maglev, &listed(&weights));
    let Kind::Maglev(maglev) = &table.kind else { panic!() };
    let slots = maglev.slots();
    assert_eq!(slots.len(), 65_537);
    for (index, weight) in (0_u32..).zip(weights) {
        let taken = slots.iter().filter(|slot| **slot == index).count();
        let share = 65_537.0 * f64::from(weight) / 16.0;
        assert!((taken as f64 - share).abs() <= 2.0, "{taken} of {share}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Of N endpoints of the same weight.
    #[test]
    fn an_endpoint_that_is_no_longer_listed_moves_its_share_of_the_keys(count in 2_usize..40, gone: prop::sample::Index) {
        let endpoints = listed(&vec![1; count]);
        let gone = gone.index(count);
        let mut rest = endpoints.clone();
        let name = rest.remove(gone).name().to_owned();
        for (algorithm, others) in [(HashAlgorithm::Ring, 0.0), (HashAlgorithm::Maglev, 0.03)] {
            let (before, after) = (table(algorithm, &endpoints), table(algorithm, &rest));
            let keys = 4_000;
            let moves: Vec<_> = homes(&before, keys).into_iter().zip(homes(&after, keys)).filter(|(a, b)| a != b).collect();
            let disturbed = moves.iter().filter(|(from, _)| **from != *name).count();
            prop_assert!(disturbed as f64 <= others * keys as f64, "{algorithm:?}: {disturbed} others of {count}");
            let share = 1.0 / count as f64;
            let most = keys as f64 * (share * 1.35 + 0.03);
            prop_assert!(moves.len() as f64 <= most, "{algorithm:?}: {} of {count}", moves.len());
        }
    }
}

#[test]
fn a_key_is_found_in_as_few_steps_among_10_000_as_among_10() {
    for algorithm in ALGORITHMS {
        let steps = |count: usize| {
            let table = table(algorithm, &listed(&vec![1; count]));
            STEPS.set(0);
            for number in 0..2_000 {
                assert!(table.walk(key(number)).next().is_some());
            }
            STEPS.get()
        };
        let (few, many) = (steps(10), steps(10_000));
        assert!(many <= 2 * few, "{algorithm:?}: {few} steps among 10, {many} among 10,000");
    }
}

#[test]
fn a_table_over_nothing_leads_nowhere() {
    for algorithm in ALGORITHMS {
        let table = table(algorithm, &[]);
        assert!(table.walk(key(1)).take(10).all(|member| table.members().get(member).is_none()));
    }
}

#[test]
fn the_same_endpoints_keep_the_table() {
    let endpoints = listed(&[1, 2]);
    let first = Hashing::over(HashAlgorithm::Ring, &endpoints, None);
    let same = Hashing::over(HashAlgorithm::Ring, &endpoints, Some(&first));
    assert!(Arc::ptr_eq(&first.table(), &same.table()));
    let other = Hashing::over(HashAlgorithm::Maglev, &endpoints, Some(&first));
    assert!(!Arc::ptr_eq(&first.table(), &other.table()));
    let fewer = Hashing::over(HashAlgorithm::Ring, &endpoints[..1], Some(&first));
    assert_eq!(fewer.table().members().len(), 1);
}
