//! Sessions: bound, kept, apart for each tenant, and forgotten once they end.

use super::stage::{all, ask, complete, plugin, sessions, start};
use crate::e2e::harness::{Endpoint, Weir, eventually};

/// Three endpoints behind `tenant-affinity` with these keys and settings.
async fn kept(keys: &str, settings: &str) -> ([Endpoint; 3], Weir) {
    let endpoints = [Endpoint::start("a").await, Endpoint::start("b").await, Endpoint::start("c").await];
    let affinity = format!("affinity = {{ plugin = \"keep\", {keys} settings = {{ {settings} }} }}");
    let cluster = all("", &endpoints.each_ref().map(|endpoint| endpoint.address), &affinity);
    (endpoints, start(&(plugin("keep", "tenant-affinity", "") + &cluster)).await)
}

#[tokio::test]
async fn a_session_is_known_by_a_cookie_of_the_plugins_own() {
    let (_endpoints, weir) = kept("", "tenant = { header = \"x-tenant\" }").await;
    let first = ask(&weir, "/first", &[("x-tenant", "acme")]).await;
    let cookie = first.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("weir-session="), "{cookie}");
    for _ in 0..7 {
        let next = ask(&weir, "/next", &[("x-tenant", "acme"), ("cookie", &cookie)]).await;
        assert_eq!((next.text(), next.header("set-cookie")), (first.text(), ""));
    }
    assert_eq!(weir.logged("/first").await["affinity"], "miss");
    assert_eq!(weir.logged("/next").await["affinity"], "hit");
    assert_eq!(sessions(&weir).await, 1);
}

#[tokio::test]
async fn a_session_is_known_by_a_header_apart_for_each_tenant() {
    let (_endpoints, weir) = kept("", "tenant = { header = \"x-tenant\" }, key = { header = \"x-session\" }").await;
    let mut taken = Vec::new();
    for _ in 0..5 {
        for tenant in ["acme", "other"] {
            taken.push(ask(&weir, "/", &[("x-tenant", tenant), ("x-session", "7")]).await.text().to_owned());
        }
    }
    // Round robin gave them different endpoints, so one session for both would show.
    assert_ne!(taken[0], taken[1]);
    assert!(taken.chunks(2).all(|pair| pair == &taken[..2]), "{taken:?}");
    assert_eq!(sessions(&weir).await, 2);
}

#[tokio::test]
async fn idle_sessions_are_forgotten() {
    let (_endpoints, weir) = kept("idle = \"1s\",", "tenant = \"host\", key = { header = \"x-session\" }").await;
    for session in ["1", "2", "3"] {
        assert_eq!(ask(&weir, "/", &[("x-session", session)]).await.status, 200);
    }
    assert_eq!(sessions(&weir).await, 3);
    eventually("no session", || async { (sessions(&weir).await == 0).then_some(()) }).await;
}

#[tokio::test]
async fn sessions_go_on_when_a_setting_of_their_binding_changes() {
    let endpoints = [Endpoint::start("a").await, Endpoint::start("b").await, Endpoint::start("c").await];
    let config = |keys: &str, settings: &str| {
        let settings = format!("key = {{ header = \"x-session\" }}, {settings}");
        let affinity = format!("affinity = {{ plugin = \"keep\", {keys} settings = {{ {settings} }} }}");
        let cluster = all("", &endpoints.each_ref().map(|endpoint| endpoint.address), &affinity);
        plugin("keep", "tenant-affinity", "") + &cluster
    };
    let mut weir = start(&config("", "tenant = { header = \"x-tenant\" }")).await;
    let fields = [("x-tenant", "acme"), ("x-session", "7")];
    let first = ask(&weir, "/", &fields).await.text().to_owned();
    weir.reload(&complete(&config("capacity = 1000,", "tenant = { header = \"x-tenant\" }, idle = \"10m\"")))
        .await
        .unwrap();
    assert_eq!(sessions(&weir).await, 1);
    for _ in 0..4 {
        assert_eq!(ask(&weir, "/again", &fields).await.text(), first);
    }
    assert_eq!(weir.logged("/again").await["affinity"], "hit");
}
