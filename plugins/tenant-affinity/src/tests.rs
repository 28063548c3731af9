use std::time::Duration;

use proptest::prelude::*;
use weir_sdk::{Affinity, Mark, Request, RequestBuilder, settings::parse};

use super::{TenantAffinity, key};

fn affinity(settings: &str) -> TenantAffinity {
    parse(settings).unwrap()
}

fn key_of(settings: &str, request: RequestBuilder) -> Option<String> {
    let session = affinity(settings).session(&request.build())?;
    Some(session.key)
}

#[test]
fn a_client_without_a_session_gets_a_cookie_that_leads_back_to_it() {
    let mut affinity = affinity("{}");
    let first = Request::builder().tenant("acme").build();
    assert_eq!(affinity.session(&first), None);

    let mark = affinity.bound(&first, None, "10.0.0.1:80");
    let (name, value) = &mark.headers[0];
    assert_eq!(name, "set-cookie");
    let (pair, attributes) = value.split_once(';').unwrap();
    let (cookie, id) = pair.split_once('=').unwrap();
    assert_eq!(cookie, "weir-session");
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax");

    let next = Request::builder().tenant("acme").cookie(cookie, id).build();
    assert_eq!(affinity.session(&next), mark.session);
    assert_eq!(affinity.bound(&next, Some("key"), "10.0.0.1:80"), Mark::default());
}

#[test]
fn a_cookie_that_is_not_ours_is_replaced() {
    let forged = Request::builder().cookie("weir-session", "admin").build();
    let mut affinity = affinity("{}");
    assert_eq!(affinity.session(&forged), None);
    assert!(affinity.bound(&forged, None, "e").session.is_some());
}

#[test]
fn ids_are_not_given_twice() {
    let mut affinity = affinity("{}");
    let request = Request::builder().build();
    let one = affinity.bound(&request, None, "e").session;
    assert_ne!(affinity.bound(&request, None, "e").session, one);
}

#[test]
fn keys_come_from_where_the_settings_say() {
    let request = || Request::builder().header("x-session", "h").path("/?a=b&sid=q").cookie("JSESSIONID", "c");
    let found = |key| key_of(&format!(r#"{{ "key": {key} }}"#), request());
    assert_eq!(found(r#"{ "cookie": "JSESSIONID" }"#).unwrap(), "0:=c");
    assert_eq!(found(r#"{ "header": "x-session" }"#).unwrap(), "0:=h");
    assert_eq!(found(r#"{ "query": "sid" }"#).unwrap(), "0:=q");
    assert_eq!(found(r#"{ "query": "none" }"#), None);
}

#[test]
fn keys_come_from_claims_of_a_bearer_token_or_of_one_in_a_cookie() {
    let token = "e30.eyJzdWIiOiJhZGEifQ.c2ln"; // {"sub":"ada"}
    let bearer = Request::builder().header("authorization", &format!("Bearer {token}"));
    let cookie = Request::builder().cookie("token", token);
    let header = r#"{ "key": { "jwt": { "claim": "sub" } } }"#;
    let in_cookie = r#"{ "key": { "jwt": { "claim": "sub", "cookie": "token" } } }"#;
    assert_eq!(key_of(header, bearer).unwrap(), "0:=ada");
    assert_eq!(key_of(in_cookie, cookie).unwrap(), "0:=ada");
}

#[test]
fn a_tenant_has_times_and_a_key_of_its_own() {
    let mut affinity = affinity(
        r#"{ "key": { "header": "x-session" }, "idle": "10m",
             "tenants": { "acme": { "idle": "1h", "max": "1d" }, "umbrella": { "key": { "header": "x-umbrella" } } } }"#,
    );
    let of = |tenant| Request::builder().tenant(tenant).header("x-session", "1").build();
    let hour = Duration::from_secs(3_600);
    let acme = affinity.session(&of("acme")).unwrap();
    let other = affinity.session(&of("other")).unwrap();
    assert_eq!((acme.idle, acme.max), (Some(hour), Some(24 * hour)));
    assert_eq!((other.idle, other.max), (Some(hour / 6), None));
    assert_eq!(affinity.session(&of("umbrella")), None);
}

#[test]
fn the_tenant_may_come_from_the_host_or_a_header() {
    let request = || Request::builder().authority("Acme.example:8443").header("x-tenant", "blue").cookie("s", "1");
    let found = |tenant| key_of(&format!(r#"{{ "tenant": {tenant}, "key": {{ "cookie": "s" }} }}"#), request());
    assert_eq!(found(r#""host""#).unwrap(), "12:acme.example=1");
    assert_eq!(found(r#"{ "header": "x-tenant" }"#).unwrap(), "4:blue=1");
    assert_eq!(found(r#""weir""#).unwrap(), "0:=1");
}

#[test]
fn says_what_is_wrong_with_its_settings() {
    let error = |settings| parse::<TenantAffinity>(settings).unwrap_err();
    let unit = error(r#"{ "tenants": { "acme": { "idle": "5 minutes" } } }"#);
    assert!(unit.starts_with("settings.tenants.acme.idle: `5 minutes`"), "{unit}");
    let source = error(r#"{ "key": { "body": "x" } }"#);
    assert!(source.contains("unknown variant `body`"), "{source}");
}

proptest! {
    #[test]
    fn keys_of_two_tenants_never_mix(one in ".{0,12}", two in ".{0,12}", left in ".{0,12}", right in ".{0,12}") {
        prop_assume!(one != two);
        prop_assert_ne!(key(&one, &left), key(&two, &right));
    }

    #[test]
    fn keys_fit_the_contract_and_tell_values_apart(tenant in "[a-z]{0,200}", value in "[a-z]{0,600}") {
        let found = key(&tenant, &value);
        prop_assert!(found.len() <= 512);
        prop_assert_ne!(found, key(&tenant, &format!("{value}x")));
    }
}
