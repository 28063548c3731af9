//! How long programs, bindings and guests live.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use weir_plugin::{Bound, Budget, Failure, Guests, Role, RouteDecision, Skip};

use crate::harness::{Asked, Stage, three};

#[test]
fn a_thousand_bindings_share_one_instance() {
    let stage = Stage::new();
    let bind = |number: u32| {
        let settings = json!({ "do": "bindings", "number": number });
        stage.program.bind(Role::Router, &settings).unwrap()
    };
    let bound: Vec<_> = (0..1_000).map(bind).collect();
    let counts = bound.iter().map(|bound| {
        let decision = stage.guests.route(bound, &Budget::default(), &Asked::default()).unwrap();
        let RouteDecision::Respond(response) = decision else { panic!("{decision:?}") };
        String::from_utf8(response.body).unwrap()
    });
    assert_eq!(counts.last().unwrap(), "1000");
    assert_eq!(stage.guests.instances(), 1);
}

#[test]
fn the_same_settings_are_one_binding() {
    let stage = Stage::new();
    let bind = |role, what| format!("{:?}", stage.bind(role, what));
    let held = [stage.bind(Role::Router, "a"), stage.bind(Role::Balancer, "a")];
    assert_eq!(bind(Role::Router, "a"), format!("{:?}", held[0]));
    assert_ne!(bind(Role::Router, "b"), format!("{:?}", held[0]));
    assert_ne!(format!("{:?}", held[1]), format!("{:?}", held[0]));
}

#[test]
fn guests_of_a_version_that_nobody_holds_are_pruned() {
    let stage = Stage::new();
    let bound = stage.bind(Role::Router, "nothing");
    stage.guests.route(&bound, &Budget::default(), &Asked::default()).unwrap();
    stage.guests.prune();
    assert_eq!(stage.guests.instances(), 1);
    let Stage { host: _host, guests, program } = stage;
    drop((bound, program));
    guests.prune();
    assert_eq!(guests.instances(), 0);
}

#[test]
fn guests_of_a_version_that_is_only_kept_for_later_are_pruned() {
    let stage = Stage::new();
    let bound = stage.bind(Role::Router, "nothing");
    stage.guests.route(&bound, &Budget::default(), &Asked::default()).unwrap();
    drop(bound);
    stage.guests.prune();
    assert_eq!(stage.guests.instances(), 0);
    let again = stage.bind(Role::Router, "nothing");
    stage.guests.route(&again, &Budget::default(), &Asked::default()).unwrap();
    assert_eq!(stage.guests.instances(), 1);
}

#[test]
fn bindings_that_nobody_holds_are_released() {
    let stage = Stage::new();
    let bind = |number: u32| stage.program.bind(Role::Router, &json!({ "do": "bindings", "number": number })).unwrap();
    let count = |bound: &Bound| match stage.guests.route(bound, &Budget::default(), &Asked::default()).unwrap() {
        RouteDecision::Respond(response) => String::from_utf8(response.body).unwrap(),
        other => panic!("{other:?}"),
    };
    let kept = bind(0);
    let dropped: Vec<_> = (1..10).map(bind).collect();
    dropped.iter().for_each(|bound| drop(count(bound)));
    assert_eq!(count(&kept), "10");
    drop(dropped);
    stage.guests.prune();
    assert_eq!(count(&kept), "1");
}

#[test]
fn workers_decide_at_once() {
    let stage = Stage::new();
    let bound = stage.bind(Role::Balancer, "trap-if-asked");
    let work = || {
        let guests = Guests::new();
        for number in 0..1_000 {
            let trap = number % 100 == 99;
            let request = if trap { Asked::with(&[("x-trap", "1")]) } else { Asked::default() };
            assert_eq!(guests.pick(&bound, &Budget::default(), &request, &three()).is_err(), trap);
        }
    };
    thread::scope(|scope| {
        let workers = [1, 2].map(|_| scope.spawn(work));
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    let page = stage.page();
    assert!(page.contains("weir_plugin_calls_total{plugin=\"misbehave\",role=\"balancer\"} 2000\n"), "{page}");
    let line = "weir_plugin_failures_total{plugin=\"misbehave\",role=\"balancer\",kind=\"trap\"} 20\n";
    assert!(page.contains(line), "{page}");
}

/// A binding that takes long to be taken up: its guest reads megabytes of settings.
fn slow(stage: &Stage, what: &str) -> Bound {
    stage.program.bind(Role::Router, &json!({ "a": "x".repeat(4 << 20), "do": what })).unwrap()
}

/// How many bindings the instance of this one has.
fn bindings(stage: &Stage, bound: &Bound) -> Result<String, Failure> {
    let decision = stage.guests.route(bound, &Budget::default(), &Asked::default())?;
    let RouteDecision::Respond(response) = decision else { panic!("{decision:?}") };
    Ok(String::from_utf8(response.body).unwrap())
}

fn alive(stage: &Stage) -> usize {
    let page = stage.page();
    let line = page.lines().find_map(|line| line.strip_prefix("weir_plugin_instances{plugin=\"misbehave\"} "));
    line.unwrap().parse().unwrap()
}

#[test]
fn what_takes_long_to_take_up_is_prepared_beside_the_workers() {
    let stage = Stage::new();
    let quick = stage.bind(Role::Router, "bindings");
    stage.program.prepare(2);
    assert_eq!(alive(&stage), 0, "a worker does by itself what it does at once");
    let (bound, trap) = (slow(&stage, "bindings"), slow(&stage, "trap"));
    stage.program.prepare(2);
    assert_eq!(alive(&stage), 3, "one for each worker, and one to go on with");
    assert_eq!(bindings(&stage, &quick).unwrap(), "1", "nothing slow is asked for");
    assert_eq!(bindings(&stage, &bound).unwrap(), "3");
    assert_eq!(alive(&stage), 3);
    assert_eq!(bindings(&stage, &trap), Err(Failure::Trap));
    assert_eq!(bindings(&stage, &bound).unwrap(), "3", "the next was ready");
}

#[test]
fn a_worker_that_finds_nothing_prepared_goes_on_without_the_plugin_until_it_is() {
    let stage = Stage::new();
    let bound = slow(&stage, "bindings");
    assert_eq!(bindings(&stage, &bound), Err(Failure::Skipped(Skip::NotReady)));
    let deadline = Instant::now() + Duration::from_secs(60);
    while bindings(&stage, &bound).is_err() {
        assert!(Instant::now() < deadline, "it is never ready");
        thread::yield_now();
    }
    assert!(stage.page().contains("role=\"router\",reason=\"not-ready\"}"));
}

#[test]
fn prepared_instances_of_what_nothing_holds_are_pruned() {
    let stage = Stage::new();
    let bound = slow(&stage, "bindings");
    stage.program.prepare(1);
    assert_eq!(bindings(&stage, &bound).unwrap(), "1");
    drop(bound);
    stage.guests.prune();
    assert_eq!(alive(&stage), 0);
}

#[test]
fn many_bindings_are_released_a_few_at_a_time() {
    let stage = Stage::new();
    let bind = |number: u32| stage.program.bind(Role::Router, &json!({ "do": "bindings", "number": number })).unwrap();
    let (kept, dropped) = (bind(0), Vec::from_iter((1..=100).map(bind)));
    dropped.iter().chain([&kept]).for_each(|bound| drop(bindings(&stage, bound)));
    drop(dropped);
    stage.guests.prune();
    let left: usize = bindings(&stage, &kept).unwrap().parse().unwrap();
    assert!(left >= 101 - 32, "{left}");
    let mut slices = 1;
    while bindings(&stage, &kept).unwrap() != "1" {
        stage.guests.go_on();
        slices += 1;
        assert!(slices <= 101, "each slice releases one at least");
    }
}
