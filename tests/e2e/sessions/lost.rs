//! Sessions whose endpoint cannot take them.

use super::{ask, before, config, cookie, found, met, three};
use crate::e2e::harness::{Endpoint, Weir, guest};

const CHECKS: &str =
    r#"health = { http = { path = "/health" }, interval = "20ms", timeout = "5s", fall = 1, rise = 1 }"#;

const KINDS: [&str; 3] = [r#"header = "x-session""#, r#"learn = { cookie = "SID" }"#, "source-ip = true"];

const FIELDS: [(&str, &str); 2] = [("x-session", "1"), ("cookie", "SID=1")];

fn named<'e>(endpoints: &'e [Endpoint], name: &str) -> &'e Endpoint {
    endpoints.iter().find(|endpoint| endpoint.name == name).unwrap()
}

async fn healthy(weir: &Weir, endpoint: &Endpoint, healthy: bool) {
    endpoint.set_healthy(healthy);
    weir.endpoint_is("web", endpoint.address, if healthy { "healthy" } else { "unhealthy" }).await;
}

#[tokio::test]
async fn a_session_moves_from_an_unhealthy_endpoint_and_stays_where_it_went() {
    for kind in KINDS {
        let endpoints = three().await;
        let weir = before(&endpoints, &format!("affinity = {{ {kind} }}\n{CHECKS}")).await;
        let first = ask(&weir, "/first", &FIELDS).await;
        let place = named(&endpoints, met(&first));
        healthy(&weir, place, false).await;
        let moved = ask(&weir, "/moved", &FIELDS).await;
        assert_ne!(met(&moved), met(&first), "{kind}");
        assert_eq!(found(&weir, "/moved").await, "moved", "{kind}");
        healthy(&weir, place, true).await;
        for _ in 0..6 {
            assert_eq!(met(&ask(&weir, "/", &FIELDS).await), met(&moved), "{kind}");
        }
    }
}

#[tokio::test]
async fn a_session_that_may_not_move_waits_for_its_endpoint() {
    for kind in KINDS {
        let endpoints = three().await;
        let weir = before(&endpoints, &format!("affinity = {{ {kind}, on-lost = \"reject\" }}\n{CHECKS}")).await;
        let first = ask(&weir, "/first", &FIELDS).await;
        let place = named(&endpoints, met(&first));
        healthy(&weir, place, false).await;
        assert_eq!(ask(&weir, "/lost", &FIELDS).await.status, 503, "{kind}");
        let line = weir.logged("/lost").await;
        assert_eq!(line["affinity"], "lost", "{line}");
        let why = format!("session lost: endpoint {} is unhealthy", place.address);
        assert_eq!(line["error"], why);
        healthy(&weir, place, true).await;
        assert_eq!(met(&ask(&weir, "/back", &FIELDS).await), met(&first), "{kind}");
        assert_eq!(weir.metric(r#"weir_affinity_total{cluster="web",result="lost"}"#).await, 1.0);
    }
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_has_lost_its_sessions() {
    for affinity in [r#"{ header = "x-session", on-lost = "reject" }"#, r#"{ cookie = {}, on-lost = "reject" }"#] {
        let endpoints = three().await;
        let weir = before(&endpoints, &format!("affinity = {affinity}")).await;
        let first = ask(&weir, "/first", &FIELDS).await;
        let marked = if affinity.contains("cookie") { cookie(&first) } else { String::new() };
        let fields = [("x-session", "1"), ("cookie", &*marked)];
        let mut endpoints = Vec::from(endpoints);
        let at = endpoints.iter().position(|endpoint| endpoint.name == met(&first)).unwrap();
        let place = endpoints.remove(at).stop().await;
        let lost = ask(&weir, "/lost", &fields).await;
        assert_eq!(lost.status, 503, "{affinity}");
        let line = weir.logged("/lost").await;
        let why = format!("session lost: endpoint {} cannot be reached", place.address);
        assert!(line["error"].as_str().unwrap().starts_with(&why), "{line}");
        let _back = Endpoint::start_at("back", place).await;
        assert_eq!(met(&ask(&weir, "/back", &fields).await), "back", "{affinity}");
    }
}

#[tokio::test]
async fn an_endpoint_that_a_reload_took_away_has_lost_its_sessions() {
    let endpoints = three().await;
    let affinity = "drain = \"0s\"\naffinity = { header = \"x-session\", on-lost = \"reject\" }";
    let mut weir = before(&endpoints, affinity).await;
    let first = ask(&weir, "/first", &FIELDS).await;
    let left: Vec<&Endpoint> = endpoints.iter().filter(|endpoint| endpoint.name != met(&first)).collect();
    let text = config(&left, affinity);
    weir.reload(&text).await.unwrap();
    assert_eq!(ask(&weir, "/gone", &FIELDS).await.status, 503);
    assert_eq!(weir.logged("/gone").await["error"], "session lost: its endpoint is gone");
    assert_eq!(met(&ask(&weir, "/else", &[("x-session", "2")]).await).len(), 1, "other sessions are served");
}

#[tokio::test]
async fn a_draining_endpoint_keeps_its_sessions_and_gets_no_new_ones() {
    let endpoints = three().await;
    for endpoint in &endpoints {
        endpoint.set_health_page(r#"{ "status": "ok" }"#);
    }
    let checks = "settings = { path = \"/health\" }, interval = \"20ms\", timeout = \"5s\", fall = 1, rise = 1";
    let cluster = format!(
        "affinity = {{ header = \"x-session\" }}\nhealth = {{ plugin = \"health\", {checks} }}\n[plugins.health]\npath = \"{}\"",
        guest("json-health").display()
    );
    let weir = before(&endpoints, &cluster).await;
    let first = ask(&weir, "/first", &[("x-session", "old")]).await;
    let place = named(&endpoints, met(&first));
    place.set_health_page(r#"{ "status": "drain" }"#);
    weir.endpoint_is("web", place.address, "draining").await;
    for _ in 0..4 {
        assert_eq!(met(&ask(&weir, "/kept", &[("x-session", "old")]).await), met(&first));
    }
    for number in 0..8 {
        let session = format!("new-{number}");
        assert_ne!(met(&ask(&weir, "/new", &[("x-session", &session)]).await), met(&first));
    }
    assert_eq!(found(&weir, "/kept").await, "hit");
}
