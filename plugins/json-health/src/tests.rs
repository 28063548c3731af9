use proptest::prelude::*;
use weir_sdk::{Answer, Health, State, Target, Verdict, settings::parse};

use super::JsonHealth;

const FIELDS: &str = r#"{ "path": "/health?full", "weight": "/capacity", "fields": {
    "/queue/depth": { "degraded-unless": { "max": 100 }, "unhealthy-unless": { "max": 1000 } },
    "/db": { "unhealthy-unless": { "equals": "up" } },
    "/free": { "degraded-unless": { "min": 0.1 }, "missing": "ignore" } } }"#;

fn check(settings: &str, status: u16, body: &str) -> Verdict {
    let mut health: JsonHealth = parse(settings).unwrap();
    let answer = Answer::new(status, body);
    let target = Target::builder().answer("/healthz", answer.clone()).answer("/health?full", answer).build();
    health.check(&target)
}

#[test]
fn without_settings_a_status_of_200_to_299_is_healthy() {
    assert_eq!(check("{}", 204, ""), Verdict::healthy("status 204"));
    assert_eq!(check("{}", 200, "fine").state, State::Healthy);
    assert_eq!(check("{}", 503, ""), Verdict::unhealthy("status 503"));
    assert_eq!(check("{}", 302, "").state, State::Unhealthy);
}

#[test]
fn without_settings_the_endpoints_own_word_counts_where_there_is_one() {
    let word = |word: &str| check("{}", 200, &format!(r#"{{ "status": "{word}" }}"#)).state;
    for well in ["ok", "UP", "Healthy", "pass"] {
        assert_eq!(word(well), State::Healthy);
    }
    assert_eq!(word("warn"), State::Degraded);
    assert_eq!(word("draining"), State::Drain);
    assert_eq!(word("fail"), State::Unhealthy);
    assert_eq!(check("{}", 200, r#"{ "up": 1 }"#).state, State::Healthy);
}

#[test]
fn an_endpoint_that_does_not_answer_is_unhealthy_and_says_why() {
    let mut health: JsonHealth = parse("{}").unwrap();
    let target = Target::builder().fail("/healthz", "timed out").build();
    assert_eq!(health.check(&target), Verdict::unhealthy("no answer: timed out"));
    assert_eq!(target.asked(), ["GET /healthz"]);
}

#[test]
fn thresholds_have_two_levels() {
    let depth = |depth| check(FIELDS, 200, &format!(r#"{{ "queue": {{ "depth": {depth} }}, "db": "up" }}"#));
    assert_eq!(depth(100), Verdict::healthy("every field is as it should be"));
    assert_eq!(depth(101), Verdict::degraded("/queue/depth is 101, above 100"));
    assert_eq!(depth(1001), Verdict::unhealthy("/queue/depth is 1001, above 1000"));
}

#[test]
fn the_worst_field_decides_and_all_reasons_of_its_kind_are_named() {
    let verdict = check(FIELDS, 200, r#"{ "db": "down", "free": 0.05 }"#);
    assert_eq!(verdict, Verdict::unhealthy(r#"/db is "down", not "up"; /queue/depth is missing"#));
    let text = check(FIELDS, 200, r#"{ "queue": { "depth": "many" }, "db": "up" }"#);
    assert_eq!(text.why, r#"/queue/depth is "many", not a number"#);
}

#[test]
fn the_endpoint_may_ask_for_less_weight() {
    let body = r#"{ "queue": { "depth": 1 }, "db": "up", "capacity": 40 }"#;
    assert_eq!(check(FIELDS, 200, body).weight, Some(40));
}

#[test]
fn fields_need_json() {
    assert_eq!(check(FIELDS, 200, "fine"), Verdict::unhealthy("the answer is not JSON"));
}

#[test]
fn says_what_is_wrong_with_its_settings() {
    let error = |settings| parse::<JsonHealth>(settings).unwrap_err();
    let wrong = error(r#"{ "fields": { "/a": { "degraded-unless": { "max": "ten" } } } }"#);
    assert!(wrong.starts_with("settings.fields./a.degraded-unless.max: invalid type"), "{wrong}");
    assert!(error(r#"{ "pth": "/" }"#).contains("unknown field `pth`"));
}

proptest! {
    #[test]
    fn no_answer_is_too_strange_for_a_verdict(status in 100u16..999, body in ".{0,200}") {
        let verdict = check(FIELDS, status, &body);
        prop_assert!(!verdict.why.is_empty());
    }
}
