//! A guest that fails costs its own decision and no more.

use std::time::{Duration, Instant};

use weir_plugin::{Failure, Role};

use crate::harness::{Asked, Stage, three};

/// Let a binding fail, then see that its plugin decides again.
fn fails(what: &str, times: u32) -> (Failure, Duration, Stage) {
    let stage = Stage::new();
    let bad = stage.bind(Role::Balancer, what);
    let good = stage.bind(Role::Balancer, "least");
    let pick = |bound| stage.guests.pick(bound, &Asked::default(), &three());
    let begun = Instant::now();
    let failure = pick(&bad).unwrap_err();
    let took = begun.elapsed();
    assert_eq!(stage.guests.instances(), 0, "a guest that failed is gone");
    assert_eq!(pick(&good), Ok(Some(1)));
    for _ in 1..times {
        assert_eq!(pick(&bad), Err(failure.clone()));
        assert_eq!(pick(&good), Ok(Some(1)));
    }
    let kind = failure.kind();
    let line =
        format!("weir_plugin_failures_total{{plugin=\"misbehave\",role=\"balancer\",kind=\"{kind}\"}} {times}\n");
    assert!(stage.page().contains(&line), "{line} is not in {}", stage.page());
    (failure, took, stage)
}

#[test]
fn a_trap_is_a_failure() {
    assert_eq!(fails("trap", 100).0, Failure::Trap);
}

#[test]
fn a_loop_ends_at_its_deadline() {
    let (failure, took, _) = fails("loop", 2);
    assert_eq!(failure, Failure::Deadline);
    assert!(took >= Duration::from_millis(50), "{took:?}");
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn memory_ends_at_its_limit() {
    assert_eq!(fails("memory", 3).0, Failure::Memory);
}

#[test]
fn deep_recursion_is_a_trap() {
    assert_eq!(fails("recurse", 3).0, Failure::Trap);
}

#[test]
fn an_index_past_the_end_is_a_bad_answer() {
    let failure = fails("bad-index", 2).0;
    assert_eq!(failure.to_string(), "the plugin answered badly: index 3 of 3 candidates");
}

#[test]
fn answers_that_would_damage_a_message_are_bad() {
    let stage = Stage::new();
    for what in ["split", "bad-status"] {
        let answer = stage.guests.route(&stage.bind(Role::Router, what), &Asked::default());
        assert_eq!(answer.unwrap_err().kind(), "bad-answer");
    }
    let request = Asked::with(&[("cookie", "sid=s1")]);
    let answer = stage.guests.session(&stage.bind(Role::Affinity, "long-key"), &request);
    assert_eq!(answer.unwrap_err().kind(), "bad-answer");
}

#[test]
fn an_answer_that_the_caller_cannot_use_counts_as_bad() {
    let stage = Stage::new();
    let bound = stage.bind(Role::Router, "nowhere");
    stage.guests.route(&bound, &Asked::default()).unwrap();
    let failure = stage.guests.reject(&bound, "cluster nowhere does not exist");
    assert_eq!(failure.kind(), "bad-answer");
    assert_eq!(stage.guests.instances(), 0);
    let line = "weir_plugin_failures_total{plugin=\"misbehave\",role=\"router\",kind=\"bad-answer\"} 1\n";
    assert!(stage.page().contains(line));
}

#[test]
fn candidates_are_there_for_picks_alone() {
    let stage = Stage::new();
    let answer = stage.guests.route(&stage.bind(Role::Router, "candidates"), &Asked::default());
    assert_eq!(answer, Err(Failure::Trap));
}

#[test]
fn a_binding_is_asked_for_its_own_role_alone() {
    let stage = Stage::new();
    let answer = stage.guests.route(&stage.bind(Role::Health, "http"), &Asked::default());
    assert_eq!(answer.unwrap_err().to_string(), "the plugin could not be started: it is bound as health");
}
