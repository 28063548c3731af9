//! A guest that fails costs its own decision and no more.

use std::time::{Duration, Instant};

use weir_config::Plugin;
use weir_plugin::{Bound, Budget, Failure, Guests, Role, RouteDecision, Skip};

use crate::harness::{Asked, Stage, plugin, three};

/// Let a binding fail, then see that its plugin decides again.
fn fails(what: &str, times: u32) -> (Failure, Duration, Stage) {
    let stage = Stage::new();
    let bad = stage.bind(Role::Balancer, what);
    let good = stage.bind(Role::Balancer, "least");
    let pick = |bound| stage.guests.pick(bound, &Budget::default(), &Asked::default(), &three());
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
    assert_eq!(fails("trap", 4).0, Failure::Trap);
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
        let answer = stage.guests.route(&stage.bind(Role::Router, what), &Budget::default(), &Asked::default());
        assert_eq!(answer.unwrap_err().kind(), "bad-answer");
    }
    let request = Asked::with(&[("cookie", "sid=s1")]);
    let answer = stage.guests.session(&stage.bind(Role::Affinity, "long-key"), &Budget::default(), &request);
    assert_eq!(answer.unwrap_err().kind(), "bad-answer");
}

#[test]
fn an_answer_that_the_caller_cannot_use_counts_as_bad() {
    let stage = Stage::new();
    let bound = stage.bind(Role::Router, "nowhere");
    stage.guests.route(&bound, &Budget::default(), &Asked::default()).unwrap();
    let failure = stage.guests.reject(&bound, "cluster nowhere does not exist");
    assert_eq!(failure.kind(), "bad-answer");
    assert_eq!(stage.guests.instances(), 0);
    let line = "weir_plugin_failures_total{plugin=\"misbehave\",role=\"router\",kind=\"bad-answer\"} 1\n";
    assert!(stage.page().contains(line));
}

#[test]
fn candidates_are_there_for_picks_alone() {
    let stage = Stage::new();
    let answer = stage.guests.route(&stage.bind(Role::Router, "candidates"), &Budget::default(), &Asked::default());
    assert_eq!(answer, Err(Failure::Trap));
}

#[test]
fn a_binding_is_asked_for_its_own_role_alone() {
    let stage = Stage::new();
    let answer = stage.guests.route(&stage.bind(Role::Health, "http"), &Budget::default(), &Asked::default());
    assert_eq!(answer.unwrap_err().to_string(), "the plugin could not be started: it is bound as health");
}

fn route(stage: &Stage, bound: &Bound) -> Result<RouteDecision, Failure> {
    stage.guests.route(bound, &Budget::default(), &Asked::default())
}

/// Calls that fail before the plugin is not asked any more.
fn failures_in_a_row(stage: &Stage, bound: &Bound) -> usize {
    let failed = (0..50).map(|_| route(stage, bound).unwrap_err());
    let failed = failed.take_while(|failure| *failure != Failure::Skipped(Skip::Breaker)).count();
    assert_eq!(route(stage, bound), Err(Failure::Skipped(Skip::Breaker)));
    failed
}

#[test]
fn a_binding_that_fails_in_a_row_is_not_asked_and_others_are() {
    let stage = Stage::new();
    assert_eq!(failures_in_a_row(&stage, &stage.bind(Role::Router, "trap")), 5);
    assert_eq!(failures_in_a_row(&stage, &stage.bind(Role::Router, "loop")), 3);
    let impossible = stage.bind(Role::Router, "nowhere");
    let rejected = (0..50).take_while(|_| {
        let answered = route(&stage, &impossible).is_ok();
        answered && stage.guests.reject(&impossible, "no such cluster").kind() == "bad-answer"
    });
    assert_eq!(rejected.count(), 5, "answers that cannot be carried out count as failures");
    assert_eq!(route(&stage, &stage.bind(Role::Router, "calm")), Ok(RouteDecision::Pass));
    let page = stage.page();
    assert!(page.contains("weir_plugin_breakers_open{plugin=\"misbehave\",role=\"router\"} 3\n"), "{page}");
    let skipped = "weir_plugin_skipped_total{plugin=\"misbehave\",role=\"router\",reason=\"breaker\"}";
    assert!(page.contains(skipped), "{page}");
    let open = stage.host.open_breakers("misbehave");
    assert_eq!((open.len(), open[0].failures, open[0].trials), (3, 5, 0));
    assert_eq!(open[0].failure, "the plugin trapped");
}

#[test]
fn a_binding_is_asked_again_after_a_pause_and_as_ever_once_it_answers() {
    let stage = Stage::new();
    let bound = stage.bind(Role::Balancer, "trap-if-asked");
    let pick = |fields| stage.guests.pick(&bound, &Budget::default(), &Asked::with(fields), &three());
    for _ in 0..5 {
        assert_eq!(pick(&[("x-trap", "1")]), Err(Failure::Trap));
    }
    assert_eq!(pick(&[]), Err(Failure::Skipped(Skip::Breaker)));
    let deadline = Instant::now() + Duration::from_secs(60);
    while pick(&[]).is_err() {
        assert!(Instant::now() < deadline, "never asked again");
        std::thread::yield_now();
    }
    stage.guests.prune();
    assert!(stage.host.open_breakers("misbehave").is_empty());
    assert_eq!(pick(&[("x-trap", "1")]), Err(Failure::Trap), "one more failure opens nothing");
    assert_eq!(pick(&[]), Ok(Some(0)));
}

#[test]
fn breakers_of_what_nothing_holds_are_forgotten() {
    let stage = Stage::new();
    let bound = stage.bind(Role::Router, "trap");
    failures_in_a_row(&stage, &bound);
    drop(bound);
    stage.guests.prune();
    assert!(stage.host.open_breakers("misbehave").is_empty());
    let bound = stage.bind(Role::Router, "trap");
    failures_in_a_row(&stage, &bound);
    let Stage { host, guests, program } = stage;
    drop((guests, bound, program));
    assert!(host.open_breakers("misbehave").is_empty());
}

#[test]
fn a_request_that_has_spent_its_time_asks_no_plugin() {
    let stage = Stage::new();
    let bound = stage.bind(Role::Router, "calm");
    let asked = |budget: &Budget| stage.guests.route(&bound, budget, &Asked::default());
    let ms = Duration::from_millis;
    assert!(asked(&Budget { spent: ms(199), ..Budget::default() }).is_ok(), "four times the deadline");
    let spent = Err(Failure::Skipped(Skip::Budget));
    assert_eq!(asked(&Budget { spent: ms(200), ..Budget::default() }), spent);
    assert_eq!(asked(&Budget { spent: ms(7), most: Some(ms(7)), until: None }), spent);
    assert_eq!(asked(&Budget { until: Some(Instant::now()), ..Budget::default() }), spent);
}

#[test]
fn what_is_left_of_a_budget_bounds_a_call() {
    let stage = Stage::with(Plugin { deadline: Duration::from_millis(100), ..plugin("misbehave", &[]) });
    let bound = stage.bind(Role::Router, "loop");
    let (deadline, most) = (Instant::now() + Duration::from_secs(60), Some(Duration::from_millis(1)));
    let shortest = (0..3).map(|_| {
        let answer = stage.guests.route(&bound, &Budget { most, ..Budget::default() }, &Asked::default());
        assert_eq!(answer, Err(Failure::Deadline));
        assert!(stage.guests.spent() <= stage.guests.took());
        stage.guests.spent()
    });
    let shortest = shortest.min().unwrap();
    assert!(Instant::now() < deadline && shortest < Duration::from_millis(100), "{shortest:?}");
}

#[test]
fn a_plugin_gets_its_share_of_a_worker_and_no_more() {
    let stage = Stage::with(Plugin { worker_share: 1, ..plugin("misbehave", &[]) });
    assert_eq!(route(&stage, &stage.bind(Role::Router, "loop")), Err(Failure::Deadline));
    // Fifty milliseconds are what it gets in five seconds.
    assert_eq!(route(&stage, &stage.bind(Role::Router, "calm")), Err(Failure::Skipped(Skip::Share)));
    let other = Guests::new();
    let bound = stage.bind(Role::Router, "calm");
    assert_eq!(other.route(&bound, &Budget::default(), &Asked::default()), Ok(RouteDecision::Pass), "another worker");
}
