//! Sessions end: by themselves, after `idle` and after `max`.

use super::{ask, before, cookie, found, sessions, three};
use crate::e2e::harness::{Weir, eventually};

/// Asks again and again until the session is not known any more.
async fn until_ended(weir: &Weir, fields: &[(&str, &str)]) {
    let number = std::cell::Cell::new(0);
    eventually("the session to end", || async {
        number.set(number.get() + 1);
        let path = format!("/asked/{}", number.get());
        ask(weir, &path, fields).await;
        (found(weir, &path).await == "miss").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_idle_session_is_forgotten() {
    let endpoints = three().await;
    let weir = before(&endpoints, r#"affinity = { header = "x-session", idle = "1s" }"#).await;
    ask(&weir, "/first", &[("x-session", "1")]).await;
    assert_eq!(sessions(&weir).await, 1.0);
    eventually("no session", || async { (sessions(&weir).await == 0.0).then_some(()) }).await;
    ask(&weir, "/afterwards", &[("x-session", "1")]).await;
    assert_eq!(found(&weir, "/afterwards").await, "miss");
}

#[tokio::test]
async fn a_session_ends_after_its_longest_time_however_busy() {
    let endpoints = three().await;
    let weir = before(&endpoints, r#"affinity = { header = "x-session", idle = "1h", max = "1s" }"#).await;
    ask(&weir, "/first", &[("x-session", "1")]).await;
    until_ended(&weir, &[("x-session", "1")]).await;
}

#[tokio::test]
async fn a_cookie_that_is_not_used_ends() {
    let endpoints = three().await;
    let weir = before(&endpoints, r#"affinity = { cookie = { name = "stick" }, idle = "1s" }"#).await;
    let cookie = cookie(&ask(&weir, "/first", &[]).await);
    until_ended(&weir, &[("cookie", &cookie)]).await;
}

#[tokio::test]
async fn a_mark_ends_after_its_longest_time() {
    let endpoints = three().await;
    let weir = before(&endpoints, r#"affinity = { cookie = { name = "SID", mode = "prefix" }, max = "1s" }"#).await;
    let cookie = cookie(&ask(&weir, "/session/7", &[]).await);
    until_ended(&weir, &[("cookie", &cookie)]).await;
}
