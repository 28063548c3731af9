use std::time::Duration;

use weir_config::{Health, HealthKind};

use super::*;
use crate::fixture;

fn checked(weights: &[u32]) -> weir_config::Cluster {
    let mut config = fixture::cluster(weights);
    config.health = Some(Health {
        kind: HealthKind::Http { path: "/".to_owned(), host: None, method: "GET".to_owned(), expect: vec![(200, 399)] },
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        fall: 3,
        rise: 2,
    });
    config
}

fn names(cluster: &Cluster) -> Vec<String> {
    let candidates = cluster.candidates();
    candidates.iter().map(|endpoint| endpoint.name().to_owned()).collect()
}

#[test]
fn an_unhealthy_endpoint_is_no_candidate_and_the_epoch_moves() {
    let cluster = Cluster::build(&checked(&[1, 1]), None);
    let epoch = cluster.candidates().epoch();
    let first = &cluster.endpoints()[0];
    cluster.set_state(first, State::Unhealthy, 100, "connect: connection refused");
    assert_eq!(names(&cluster), ["127.0.0.1:9001"]);
    assert_ne!(cluster.candidates().epoch(), epoch);
    assert_eq!(first.status().why, "connect: connection refused");
    cluster.set_state(first, State::Healthy, 100, "status 200");
    assert_eq!(cluster.candidates().len(), 2);
}

#[test]
fn the_same_state_again_keeps_the_epoch_and_its_age() {
    let cluster = Cluster::build(&checked(&[1, 1]), None);
    let first = &cluster.endpoints()[0];
    let (epoch, since) = (cluster.candidates().epoch(), first.status().since);
    cluster.set_state(first, State::Healthy, 100, "status 204");
    assert_eq!(cluster.candidates().epoch(), epoch);
    assert_eq!((first.status().since, &*first.status().why), (since, "status 204"));
}

#[test]
fn degraded_endpoints_serve_only_when_no_healthy_one_is_left() {
    let cluster = Cluster::build(&checked(&[1, 1, 0]), None);
    let [first, second, _] = cluster.endpoints() else { panic!() };
    cluster.set_state(first, State::Degraded, 100, "slow");
    assert_eq!(names(&cluster), ["127.0.0.1:9001"]);
    cluster.set_state(second, State::Draining, 100, "leaving");
    assert_eq!(names(&cluster), ["127.0.0.1:9000"]);
    cluster.set_state(first, State::Unhealthy, 100, "gone");
    assert!(cluster.candidates().is_empty());
}

#[test]
fn health_scales_the_weight_of_even_the_lightest() {
    let cluster = Cluster::build(&checked(&[1, 1]), None);
    cluster.set_state(&cluster.endpoints()[0], State::Healthy, 50, "warming up");
    let candidates = cluster.candidates();
    assert_eq!((candidates.weight(0), candidates.weight(1)), (1, 2));
}

#[test]
fn a_surviving_endpoint_keeps_id_load_and_health() {
    let first = Cluster::build(&checked(&[1, 1]), None);
    let before = &first.endpoints()[0];
    let flight = before.begin_owned();
    before.observe(Duration::from_millis(3));
    first.set_state(before, State::Unhealthy, 100, "status 500");
    let second = Cluster::build(&checked(&[5]), Some(&first));
    let after = second.find(before.id()).unwrap();
    assert_eq!((after.in_flight(), after.latency(), after.weight()), (1, 3_000, 5));
    assert_eq!(after.status().why, "status 500");
    assert!(second.candidates().is_empty());
    drop(flight);
    assert_eq!(after.in_flight(), 0);
}

#[test]
fn checks_of_the_former_configuration_do_not_reach_the_present_one() {
    let first = Cluster::build(&checked(&[1]), None);
    let second = Cluster::build(&checked(&[1]), Some(&first));
    first.set_state(&first.endpoints()[0], State::Unhealthy, 100, "late");
    assert_eq!(second.endpoints()[0].state(), State::Healthy);
}

#[test]
fn without_health_checks_everything_is_healthy_again() {
    let first = Cluster::build(&checked(&[1]), None);
    first.set_state(&first.endpoints()[0], State::Unhealthy, 100, "status 500");
    let second = Cluster::build(&fixture::cluster(&[1]), Some(&first));
    assert_eq!(second.candidates().len(), 1);
}

#[test]
fn concurrent_changes_are_all_seen_by_the_last_candidates() {
    let cluster = Cluster::build(&checked(&[1; 64]), None);
    std::thread::scope(|scope| {
        for half in cluster.endpoints()[..60].chunks(30) {
            let cluster = &cluster;
            scope.spawn(move || {
                for endpoint in half {
                    cluster.set_state(endpoint, State::Unhealthy, 100, "gone");
                }
            });
        }
    });
    assert_eq!(cluster.candidates().len(), 4);
}

#[test]
fn sessions_of_a_plugin_survive_a_reload_that_does_not_touch_them() {
    let mut config = fixture::cluster(&[1]);
    config.affinity = Some(fixture::by_plugin());
    let first = Cluster::build(&config, None);
    let now = std::time::Instant::now();
    let hour = Duration::from_secs(3_600);
    table(&first).put("user", 7, hour, hour, now);
    let second = Cluster::build(&config, Some(&first));
    assert_eq!(table(&second).get("user", now), Some(7));
    config.affinity.as_mut().unwrap().capacity += 1;
    let third = Cluster::build(&config, Some(&second));
    assert_eq!(table(&third).get("user", now), None);
}

fn table(cluster: &Cluster) -> &crate::AffinityTable {
    match cluster.affinity() {
        Some(Affinity::Table(table)) => table,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_smoothed_latency_follows_the_samples() {
    let cluster = Cluster::build(&fixture::cluster(&[1]), None);
    let endpoint = &cluster.endpoints()[0];
    assert_eq!(endpoint.latency(), 0);
    endpoint.observe(Duration::from_micros(800));
    assert_eq!(endpoint.latency(), 800);
    endpoint.observe(Duration::from_micros(1_600));
    assert_eq!(endpoint.latency(), 900);
}
