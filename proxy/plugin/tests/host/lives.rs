//! How long programs, bindings and guests live.

use std::thread;

use serde_json::json;
use weir_plugin::{Bound, Budget, Guests, Role, RouteDecision};

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
