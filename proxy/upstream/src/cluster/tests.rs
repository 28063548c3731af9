use std::time::Duration;

use weir_config::{AffinityKind, Health, HealthKind, HttpCheck, LoadReports};

use super::*;
use crate::fixture;

fn checked(weights: &[u32]) -> weir_config::Cluster {
    let mut config = fixture::cluster(weights);
    config.health = Some(Health::new(HealthKind::Http(HttpCheck::default())));
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
    let first = Arc::clone(&cluster.endpoints()[0]);
    cluster.set_health(&first, &fixture::verdict(State::Unhealthy, 100, "connect: connection refused"));
    assert_eq!(names(&cluster), ["127.0.0.1:9001"]);
    assert_ne!(cluster.candidates().epoch(), epoch);
    assert_eq!(first.status().why, "connect: connection refused");
    cluster.set_health(&first, &fixture::verdict(State::Healthy, 100, "status 200"));
    assert_eq!(cluster.candidates().len(), 2);
}

#[test]
fn the_same_state_again_keeps_the_epoch_and_its_age() {
    let cluster = Cluster::build(&checked(&[1, 1]), None);
    let first = Arc::clone(&cluster.endpoints()[0]);
    let (epoch, since) = (cluster.candidates().epoch(), first.status().since);
    cluster.set_health(&first, &fixture::verdict(State::Healthy, 100, "status 204"));
    assert_eq!(cluster.candidates().epoch(), epoch);
    assert_eq!((first.status().since, &*first.status().why), (since, "status 204"));
}

#[test]
fn degraded_endpoints_serve_only_when_no_healthy_one_is_left() {
    let cluster = Cluster::build(&checked(&[1, 1, 0]), None);
    let endpoints = cluster.endpoints();
    let [first, second, _] = &endpoints[..] else { panic!() };
    cluster.set_health(first, &fixture::verdict(State::Degraded, 100, "slow"));
    assert_eq!(names(&cluster), ["127.0.0.1:9001"]);
    cluster.set_health(second, &fixture::verdict(State::Draining, 100, "leaving"));
    assert_eq!(names(&cluster), ["127.0.0.1:9000"]);
    cluster.set_health(first, &fixture::verdict(State::Unhealthy, 100, "gone"));
    assert!(cluster.candidates().is_empty());
}

#[test]
fn health_scales_the_weight_of_even_the_lightest() {
    let cluster = Cluster::build(&checked(&[1, 1]), None);
    cluster.set_health(&cluster.endpoints()[0], &fixture::verdict(State::Healthy, 50, "warming up"));
    let candidates = cluster.candidates();
    assert_eq!((candidates.weight(0), candidates.weight(1)), (1, 2));
}

#[test]
fn a_surviving_endpoint_keeps_id_load_and_health() {
    let first = Cluster::build(&checked(&[1, 1]), None);
    let before = Arc::clone(&first.endpoints()[0]);
    let flight = fixture::busy(&before);
    before.observe(Duration::from_millis(3));
    first.set_health(&before, &fixture::verdict(State::Unhealthy, 100, "status 500"));
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
    first.set_health(&first.endpoints()[0], &fixture::verdict(State::Unhealthy, 100, "late"));
    assert_eq!(second.endpoints()[0].state(), State::Healthy);
}

#[test]
fn without_health_checks_everything_is_healthy_again() {
    let first = Cluster::build(&checked(&[1]), None);
    first.set_health(&first.endpoints()[0], &fixture::verdict(State::Unhealthy, 100, "status 500"));
    let second = Cluster::build(&fixture::cluster(&[1]), Some(&first));
    assert_eq!(second.candidates().len(), 1);
}

#[test]
fn concurrent_changes_are_all_seen_by_the_last_candidates() {
    let cluster = Cluster::build(&checked(&[1; 64]), None);
    let endpoints = cluster.endpoints();
    std::thread::scope(|scope| {
        for half in endpoints[..60].chunks(30) {
            let cluster = &cluster;
            scope.spawn(move || {
                for endpoint in half {
                    cluster.set_health(endpoint, &fixture::verdict(State::Unhealthy, 100, "gone"));
                }
            });
        }
    });
    assert_eq!(cluster.candidates().len(), 4);
}

#[test]
fn sessions_of_a_plugin_survive_a_reload_that_changes_its_settings() {
    let mut config = fixture::cluster(&[1]);
    config.affinity = Some(fixture::by_plugin());
    let first = Cluster::build(&config, None);
    let now = Instant::now();
    let hour = Duration::from_secs(3_600);
    let user = |cluster| table(cluster).key("", b"user");
    table(&first).put("", user(&first), 7, [hour, hour], now);
    let second = Cluster::build(&config, Some(&first));
    assert_eq!(table(&second).get(user(&second), now), Some(7));
    let affinity = config.affinity.as_mut().unwrap();
    affinity.capacity += 1;
    let AffinityKind::Plugin(binding) = &mut affinity.kind else { panic!("{affinity:?}") };
    binding.settings = serde_json::json!({ "another": true });
    let capacity = affinity.capacity;
    let third = Cluster::build(&config, Some(&second));
    assert_eq!(table(&third).get(user(&third), now), Some(7));
    assert_eq!((table(&third).capacity(), table(&second).capacity()), (capacity, capacity - 1));
    let AffinityKind::Plugin(binding) = &mut config.affinity.as_mut().unwrap().kind else { panic!("a plugin") };
    binding.plugin = "another".into();
    let fourth = Cluster::build(&config, Some(&third));
    assert_eq!(table(&fourth).get(user(&fourth), now), None);
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
    let endpoint = Arc::clone(&cluster.endpoints()[0]);
    assert_eq!(endpoint.latency(), 0);
    endpoint.observe(Duration::from_micros(800));
    assert_eq!(endpoint.latency(), 800);
    endpoint.observe(Duration::from_micros(1_600));
    assert_eq!(endpoint.latency(), 900);
}

fn after(now: Moment, seconds: u64) -> Moment {
    let later = Duration::from_secs(seconds);
    Moment { instant: now.instant + later, time: now.time + later }
}

/// A cluster that finds the endpoints of `config` instead of listing them.
fn finding(config: &weir_config::Cluster, now: Moment) -> Arc<Cluster> {
    let cluster = Cluster::build(&weir_config::Cluster { endpoints: Vec::new(), ..config.clone() }, None);
    find(&cluster, config, config.endpoints.len(), now);
    cluster
}

/// Find the first so many of the endpoints of `config`.
fn find(cluster: &Cluster, config: &weir_config::Cluster, count: usize, now: Moment) {
    cluster.found_at(config.endpoints[..count].to_vec(), now);
}

fn states(cluster: &Cluster) -> Vec<(String, State)> {
    cluster.endpoints().iter().map(|endpoint| (endpoint.name().to_owned(), endpoint.state())).collect()
}

#[test]
fn endpoints_come_and_go_and_those_that_stay_are_the_same() {
    let (config, now) = (fixture::cluster(&[1, 1, 1]), Moment::now());
    let cluster = finding(&config, now);
    let [first, _, third] = &cluster.endpoints()[..] else { panic!() };
    let (first, third) = (Arc::clone(first), Arc::clone(third));
    let mut membership = cluster.membership();
    find(&cluster, &config, 1, now);
    assert!(membership.has_changed().unwrap());
    membership.mark_unchanged();
    assert_eq!(names(&cluster), ["127.0.0.1:9000"]);
    assert!(Arc::ptr_eq(&cluster.find(first.id()).unwrap(), &first));
    assert_eq!((third.state(), &*third.status().why), (State::Draining, "no longer listed"));
    assert!(third.keeps_sessions());
    find(&cluster, &config, 2, after(now, 1));
    cluster.tick(after(now, 29));
    assert_eq!(cluster.endpoints().len(), 3);
    cluster.tick(after(now, 30));
    assert!(cluster.find(third.id()).is_none(), "its drain is over");
    assert_eq!(names(&cluster), ["127.0.0.1:9000", "127.0.0.1:9001"]);
}

#[test]
fn an_endpoint_that_is_listed_again_while_it_drains_goes_on() {
    let (config, now) = (fixture::cluster(&[1, 1]), Moment::now());
    let cluster = finding(&config, now);
    let second = Arc::clone(&cluster.endpoints()[1]);
    find(&cluster, &config, 1, now);
    find(&cluster, &config, 2, now);
    cluster.tick(after(now, 60));
    assert_eq!((second.state(), cluster.candidates().len()), (State::Healthy, 2));
    assert_eq!(cluster.find(second.id()).unwrap().id(), second.id());
}

#[test]
fn without_a_drain_an_endpoint_goes_at_once() {
    let mut config = fixture::cluster(&[1, 1]);
    config.drain = Duration::ZERO;
    let cluster = finding(&config, Moment::now());
    find(&cluster, &config, 1, Moment::now());
    assert_eq!(cluster.endpoints().len(), 1);
}

#[test]
fn another_description_reaches_an_endpoint_that_stays() {
    let (mut config, now) = (fixture::cluster(&[1, 1]), Moment::now());
    let cluster = finding(&config, now);
    let before = Arc::clone(&cluster.endpoints()[0]);
    config.endpoints[0].weight = 3;
    config.endpoints[0].labels.insert("version".to_owned(), "v2".to_owned());
    find(&cluster, &config, 2, now);
    cluster.eject(&before, now.instant + Duration::from_secs(60), "failures");
    let present = cluster.find(before.id()).unwrap();
    assert_eq!((present.weight(), &*present.labels()["version"]), (3, "v2"));
    assert_eq!((present.state(), &*present.status().why), (State::Ejected, "failures"));
    cluster.restore(&present);
    assert_eq!((cluster.candidates().weight(0), cluster.candidates().weight(1)), (3, 1));
}

#[test]
fn an_endpoint_that_a_reload_leaves_out_drains_in_the_next_configuration_only() {
    let first = Cluster::build(&fixture::cluster(&[1, 1]), None);
    let second = Cluster::build(&fixture::cluster(&[1]), Some(&first));
    use State::{Draining, Healthy};
    let is = |state| ("127.0.0.1:9001".to_owned(), state);
    assert_eq!((states(&first)[1].clone(), states(&second)[1].clone()), (is(Healthy), is(Draining)));
    let third = Cluster::build(&fixture::cluster(&[1]), Some(&second));
    third.tick(after(Moment::now(), 31));
    assert_eq!(third.endpoints().len(), 1);
}

#[test]
fn newcomers_warm_up_and_candidates_follow() {
    let mut config = fixture::cluster(&[1, 1]);
    config.slow_start = Some(Duration::from_secs(10));
    let now = Moment::now();
    let cluster = finding(&config, now);
    find(&cluster, &config, 1, now);
    cluster.tick(after(now, 30));
    find(&cluster, &config, 2, after(now, 30));
    let weights = || [cluster.candidates().weight(0), cluster.candidates().weight(1)];
    assert_eq!((states(&cluster)[1].1, weights()), (State::Warming, [100, 1]));
    cluster.tick(after(now, 35));
    assert_eq!(weights(), [2, 1]);
    cluster.tick(after(now, 40));
    assert_eq!((states(&cluster)[0].1, weights()), (State::Healthy, [1, 1]));
}

#[test]
fn what_is_said_of_an_endpoint_survives_a_reload() {
    let reports = || Some(LoadReports { metric: None, expire: Duration::from_secs(60), keep: false });
    let config = |weight| weir_config::Cluster { load_reports: reports(), ..fixture::cluster(&[weight; 4]) };
    let (first, now) = (Cluster::build(&config(1), None), Moment::now());
    let endpoints = first.endpoints();
    first.order(&endpoints[0], Some(Order::Drain));
    first.order(&endpoints[1], Some(Order::Maintenance));
    first.eject(&endpoints[2], now.instant + Duration::from_secs(60), "failures");
    first.say(&endpoints[3], |standing| standing.load(50));
    let second = Cluster::build(&config(2), Some(&first));
    let found: Vec<_> = second.endpoints().iter().map(|one| (one.state(), one.status().effective)).collect();
    use State::{Draining, Ejected, Healthy, Maintenance};
    assert_eq!(found, [(Draining, 200), (Maintenance, 200), (Ejected, 200), (Healthy, 100)]);
    second.order(&second.endpoints()[0], None);
    second.order(&second.endpoints()[1], None);
    assert_eq!(names(&second), ["127.0.0.1:9000", "127.0.0.1:9001", "127.0.0.1:9003"]);
    assert_eq!(second.candidates().weight(0), second.candidates().weight(1));
}

#[test]
fn a_load_report_changes_a_weight_until_no_reports_are_asked_for() {
    let mut config = fixture::cluster(&[1, 1]);
    config.load_reports = Some(LoadReports { metric: None, expire: Duration::from_secs(60), keep: false });
    let (first, now) = (Cluster::build(&config, None), Moment::now());
    let weights = |cluster: &Cluster| [cluster.candidates().weight(0), cluster.candidates().weight(1)];
    for seconds in 0..2 {
        for (endpoint, value) in first.endpoints().iter().zip(["0.2", "0.6"]) {
            let value = format!("TEXT cpu_utilization={value},rps_fractional=10");
            let mut headers = HeaderMap::from_iter([(HEADER, value.parse().unwrap())]);
            assert_eq!(first.hear(endpoint, &mut headers), Some(Ok(())));
            assert!(headers.is_empty());
        }
        first.tick(after(now, seconds));
    }
    assert_eq!(weights(&first), [3, 1]);
    config.load_reports = None;
    assert_eq!(weights(&Cluster::build(&config, Some(&first))), [1, 1]);
}

#[test]
fn an_agent_can_take_its_endpoint_out() {
    let cluster = Cluster::build(&fixture::cluster(&[1, 1]), None);
    let first = Arc::clone(&cluster.endpoints()[0]);
    let report =
        Report { word: crate::Word::Down, weight_percent: 100, max_connections: Some(9), why: "full".to_owned() };
    cluster.set_agent(&first, Some(&report));
    assert_eq!((first.state(), names(&cluster).len()), (State::Unhealthy, 1));
    assert_eq!(first.standing().agent().unwrap().max_connections, Some(9));
    cluster.set_agent(&first, None);
    assert_eq!(names(&cluster).len(), 2);
}

#[test]
fn the_operators_word_on_an_endpoint_survives_a_reload() {
    let config = fixture::cluster(&[1, 1]);
    let first = Cluster::build(&config, None);
    let added = weir_config::Endpoint::at("127.0.0.1:9100".parse().unwrap());
    first.put(added.clone());
    first.put(weir_config::Endpoint { weight: 5, ..config.endpoints[0].clone() });
    first.delete(config.endpoints[1].address);
    let shown = |cluster: &Cluster| -> Vec<_> {
        cluster
            .endpoints()
            .iter()
            .map(|endpoint| (endpoint.address().port(), endpoint.weight(), endpoint.state()))
            .collect()
    };
    use State::{Draining, Healthy};
    let wanted = [(9_000, 5, Healthy), (9_100, 1, Healthy), (9_001, 1, Draining)];
    assert_eq!(shown(&first), wanted);
    let mut changed = config.clone();
    changed.response_timeout = Duration::from_secs(9);
    let second = Cluster::build(&changed, Some(&first));
    assert_eq!(shown(&second), wanted);
    assert_eq!(second.origins()[&added.address], Origin::Admin);
}

#[test]
fn those_of_before_stay_until_discovery_answers() {
    let first = Cluster::build(&fixture::cluster(&[1, 1]), None);
    let mut config = fixture::cluster(&[]);
    config.discover = Some(weir_config::Discover::Srv("api".to_owned()));
    let second = Cluster::build(&config, Some(&first));
    let at = |port: u16| weir_config::Endpoint::at(SocketAddr::from(([127, 0, 0, 1], port)));
    second.found_some(vec![weir_config::Endpoint { priority: 10, ..at(9_002) }], true);
    second.put(at(9_003));
    assert_eq!(names(&second), ["127.0.0.1:9000", "127.0.0.1:9001", "127.0.0.1:9003"], "of the first level");
    second.delete(at(9_001).address);
    assert_eq!(names(&second), ["127.0.0.1:9000", "127.0.0.1:9003"], "the operator's word counts of them too");
    second.found(fixture::cluster(&[1]).endpoints, None);
    assert_eq!(names(&second), ["127.0.0.1:9000", "127.0.0.1:9003"]);
}

#[test]
fn another_process_goes_on_with_what_is_said_of_endpoints() {
    let mut config = checked(&[1, 1, 1]);
    let first = Cluster::build(&config, None);
    let members = first.endpoints();
    first.put(weir_config::Endpoint::at("127.0.0.1:9100".parse().unwrap()));
    first.set_health(&members[0], &Verdict::unhealthy("connection refused"));
    first.order(&members[1], Some(Order::Drain));
    let told = |cluster: &Cluster| -> Vec<(SocketAddr, Reputation)> {
        let now = Instant::now();
        cluster.endpoints().iter().map(|one| (one.address(), one.standing().reputation(now))).collect()
    };
    let shown = |cluster: &Cluster| -> Vec<State> { cluster.endpoints().iter().map(|one| one.state()).collect() };
    use State::{Draining, Healthy, Unhealthy};
    let second = Cluster::build(&config, None);
    second.inherit(first.operator_words(), told(&first));
    assert_eq!(shown(&second), [Unhealthy, Draining, Healthy, Healthy]);
    assert_eq!(names(&second), ["127.0.0.1:9002", "127.0.0.1:9100"]);
    config.health = None;
    let unchecked = Cluster::build(&config, None);
    unchecked.inherit(first.operator_words(), told(&first));
    assert_eq!(shown(&unchecked), [Healthy, Draining, Healthy, Healthy], "nobody would take back what a check said");
}

#[test]
fn what_is_presumed_is_not_told_on() {
    let mut config = checked(&[1]);
    if let Some(health) = &mut config.health {
        health.initial = Initial::Unhealthy;
    }
    let cluster = Cluster::build(&config, None);
    assert_eq!(cluster.endpoints()[0].state(), State::Unhealthy);
    assert_eq!(cluster.endpoints()[0].standing().reputation(Instant::now()), Reputation::default());
}
