use proptest::prelude::*;
use weir_sdk::{Decision, Forward, Request, Router, settings::parse};

use super::Canary;

fn canary(settings: &str) -> Canary {
    parse(settings).unwrap()
}

fn user(name: &str) -> Request {
    Request::builder().header("x-user", name).build()
}

fn v2() -> Decision {
    Forward::default().label("version", "v2").into()
}

fn share_of_users(canary: &mut Canary) -> usize {
    (0..10_000).filter(|number| canary.route(&user(&format!("user-{number}"))) != Decision::Pass).count()
}

#[test]
fn percent_alone_sends_that_share_to_endpoints_of_version_2() {
    let mut canary = canary(r#"{ "percent": 5 }"#);
    let canaries = (0..10_000u32).filter(|number| {
        let address = format!("10.0.{}.{}", number / 256, number % 256);
        let request = Request::builder().client_address(&address).build();
        match canary.route(&request) {
            Decision::Pass => false,
            decision => {
                assert_eq!(decision, v2());
                true
            }
        }
    });
    assert!((400..600).contains(&canaries.count()));
}

#[test]
fn the_share_follows_the_percentage() {
    let mut some = canary(r#"{ "percent": 0.5, "key": { "header": "x-user" } }"#);
    let mut many = canary(r#"{ "percent": 80, "key": { "header": "x-user" } }"#);
    assert!((25..80).contains(&share_of_users(&mut some)));
    assert!((7_800..8_200).contains(&share_of_users(&mut many)));
}

#[test]
fn the_default_share_is_what_the_version_says() {
    let expected = if cfg!(feature = "v2") { 4_700..5_300 } else { 400..600 };
    let share = share_of_users(&mut canary(r#"{ "key": { "header": "x-user" } }"#));
    assert!(expected.contains(&share), "{share}");
}

#[test]
fn a_header_or_a_cookie_decides_for_its_request() {
    let mut canary = canary(r#"{ "percent": 0, "header": "x-canary", "cookie": "canary" }"#);
    let with_header = Request::builder().header("x-canary", "always").build();
    let with_cookie = Request::builder().cookie("canary", "1").build();
    let torn = Request::builder().header("x-canary", "never").cookie("canary", "always").build();
    assert_eq!(canary.route(&with_header), v2());
    assert_eq!(canary.route(&with_cookie), v2());
    assert_eq!(canary.route(&torn), Decision::Pass);
}

#[test]
fn canaries_may_go_to_another_cluster_and_the_rest_to_labelled_endpoints() {
    let mut all = canary(r#"{ "percent": 100, "cluster": "next" }"#);
    let mut none = canary(r#"{ "percent": 0, "rest-labels": { "version": "v1" } }"#);
    assert_eq!(all.route(&user("ada")), Forward::default().to_cluster("next").into());
    assert_eq!(none.route(&user("ada")), Forward::default().label("version", "v1").into());
}

#[test]
fn says_what_is_wrong_with_its_settings() {
    let error = |settings| parse::<Canary>(settings).unwrap_err();
    assert_eq!(error(r#"{ "percent": 500 }"#), "settings: percent is 500, and goes from 0 to 100");
    assert!(error(r#"{ "percent": "5" }"#).starts_with("settings.percent: invalid type"));
    assert!(error(r#"{ "precent": 5 }"#).contains("unknown field `precent`"));
}

proptest! {
    #[test]
    fn the_same_user_always_gets_the_same_answer(name in ".{0,40}", percent in 0.0..100.0f64) {
        let settings = format!(r#"{{ "percent": {percent}, "key": {{ "cookie": "user" }} }}"#);
        let request = Request::builder().cookie("user", &name.replace(';', "")).build();
        let first = canary(&settings).route(&request);
        let later = canary(&settings).route(&request);
        prop_assert_eq!(first, later);
    }

    #[test]
    fn who_is_in_stays_in_while_the_share_grows(name in "[a-z]{1,20}", low in 0.0..100.0f64, more in 0.0..50.0f64) {
        let settings = |percent: f64| format!(r#"{{ "percent": {percent}, "key": {{ "header": "x-user" }} }}"#);
        let before = canary(&settings(low)).route(&user(&name));
        let after = canary(&settings((low + more).min(100.0))).route(&user(&name));
        prop_assert!(before == Decision::Pass || after == before);
    }
}
