use proptest::prelude::*;
use weir_sdk::{Balancer, Candidates, Request, settings::parse};

use super::ConsistentHash;

fn balancer(settings: &str) -> ConsistentHash {
    parse(settings).unwrap()
}

fn endpoints(numbers: impl IntoIterator<Item = u32>) -> Candidates {
    let builder = Candidates::builder();
    numbers.into_iter().fold(builder, |set, number| set.endpoint(&format!("10.0.0.{number}:80"))).build()
}

fn from(user: u32) -> Request {
    Request::builder().client_address(&format!("10.1.{}.{}", user / 256, user % 256)).build()
}

fn names(balancer: &mut ConsistentHash, set: &Candidates, users: u32) -> Vec<String> {
    (0..users).map(|user| set.name(balancer.pick(&from(user), set).unwrap()).unwrap()).collect()
}

#[test]
fn the_same_client_meets_the_same_endpoint_in_every_instance() {
    let set = endpoints(0..10);
    let here = names(&mut balancer("{}"), &set, 500);
    let there = names(&mut balancer("{}"), &endpoints((0..10).rev()), 500);
    assert_eq!(here, there);
}

#[test]
fn an_endpoint_that_leaves_moves_only_its_own_keys() {
    let mut balancer = balancer("{}");
    let before = names(&mut balancer, &endpoints(0..10), 2_000);
    let after = names(&mut balancer, &endpoints((0..10).filter(|n| *n != 4)), 2_000);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || before == "10.0.0.4:80");
    }
}

#[test]
fn keys_spread_by_weight() {
    let set = Candidates::builder().endpoint("10.0.0.1:80").endpoint("10.0.0.2:80").weight(3).build();
    let mut balancer = balancer(r#"{ "replicas": 500 }"#);
    let heavy = (0..4_000).filter(|user| balancer.pick(&from(*user), &set) == Some(1));
    assert!((2_700..3_300).contains(&heavy.count()));
}

#[test]
fn the_key_comes_from_the_router_then_the_header_then_the_address() {
    let set = endpoints(0..50);
    let routed = |key: &str| {
        (0..50).fold(Candidates::builder(), |set, n| set.endpoint(&format!("10.0.0.{n}:80"))).hash_key(key).build()
    };
    let header = |value: &str| Request::builder().header("x-user", value).build();
    let mut balancer = balancer(r#"{ "header": "x-user" }"#);
    let ada = balancer.pick(&header("ada"), &set);
    assert_eq!(balancer.pick(&from(1), &routed("ada")), ada);
    assert_eq!(balancer.pick(&header("bob"), &routed("ada")), ada);
    assert_eq!(balancer.pick(&header("10.1.0.1"), &set), balancer.pick(&from(1), &set));
}

#[test]
fn a_hot_key_overflows_to_the_next_endpoint_and_comes_back() {
    let mut set = endpoints(0..4);
    let mut balancer = balancer("{}");
    let home = balancer.pick(&from(1), &set).unwrap();
    set.set_in_flight(home, 8);
    let next = balancer.pick(&from(1), &set).unwrap();
    assert_ne!(next, home);
    assert_eq!(balancer.pick(&from(1), &set), Some(next));
    set.set_in_flight(home, 0);
    assert_eq!(balancer.pick(&from(1), &set), Some(home));
}

#[test]
fn a_large_set_is_placed_in_steps_and_fits_a_small_memory() {
    let set = endpoints(0..10_000);
    let mut balancer = balancer("{}");
    let undecided = (0..100).take_while(|user| balancer.pick(&from(*user), &set).is_none());
    assert_eq!(undecided.count(), 19);
    assert!(balancer.pick(&from(1), &set).is_some());
}

#[test]
fn says_what_is_wrong_with_its_settings() {
    let error = |settings| parse::<ConsistentHash>(settings).unwrap_err();
    assert_eq!(error(r#"{ "balance-factor": 0.5 }"#), "settings: balance-factor goes from 1.05 to 100");
    assert_eq!(error(r#"{ "header": "a", "cookie": "b" }"#), "settings: header and cookie exclude each other");
    assert!(error(r#"{ "balance_factor": 2 }"#).contains("unknown field"));
}

proptest! {
    /// One hot key, nothing ever ends: the bound of the paper holds for every endpoint.
    #[test]
    fn no_endpoint_takes_more_than_its_bound(len in 1u32..12, requests in 1u32..200, factor in 1.1..3.0f64) {
        let mut set = endpoints(0..len);
        let mut balancer = balancer(&format!(r#"{{ "balance-factor": {factor} }}"#));
        let mut loads = vec![0u32; len as usize];
        for _ in 0..requests {
            let pick = balancer.pick(&from(1), &set).unwrap();
            loads[pick as usize] += 1;
            set.set_in_flight(pick, loads[pick as usize]);
        }
        let bound = (factor * f64::from(requests) / f64::from(len)).ceil();
        prop_assert!(loads.iter().all(|load| f64::from(*load) <= bound), "{loads:?} {bound}");
    }
}
