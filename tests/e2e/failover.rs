//! Who serves when not all are well: priorities, zones, backups, panic.

use std::collections::BTreeMap;

use super::harness::{Endpoint, Reserved, Weir, eventually, get, plain_of};

const CHECKS: &str =
    r#"health = { http = { path = "/health" }, interval = "20ms", timeout = "5s", fall = 1, rise = 1 }"#;

/// Endpoints given as `(address, what else is said)`.
async fn start(endpoints: &[(&Endpoint, &str)], cluster: &str) -> Weir {
    let listed: Vec<String> =
        endpoints.iter().map(|(endpoint, said)| format!("{{ address = \"{}\"{said} }}", endpoint.address)).collect();
    let more = format!("{cluster}\n{CHECKS}\n[process]\nworkers = 1\nzone = \"here\"");
    Weir::start(&plain_of(&format!("[{}]", listed.join(", ")), &more)).await
}

/// How often each was met in so many requests.
async fn met(weir: &Weir, requests: usize) -> BTreeMap<String, usize> {
    let mut met = BTreeMap::new();
    for _ in 0..requests {
        let reply = get(weir.web(), "/").await;
        assert_eq!(reply.status, 200);
        *met.entry(reply.text().to_owned()).or_default() += 1;
    }
    met
}

async fn serving(weir: &Weir, by: &str) {
    let shown = || async { weir.status().await["clusters"][0]["serving"] == by };
    eventually(&format!("to be served by {by}"), || async { shown().await.then_some(()) }).await;
    assert_eq!(weir.metric(&format!(r#"weir_cluster_serving{{cluster="web",by="{by}"}}"#)).await, 1.0);
}

/// Waits until so many may be picked.
async fn eligible(weir: &Weir, count: usize) {
    let shown = || async { weir.status().await["clusters"][0]["eligible"] == count };
    eventually(&format!("{count} eligible endpoints"), || async { shown().await.then_some(()) }).await;
}

#[tokio::test]
async fn a_lower_priority_takes_what_the_first_cannot() {
    let (a, b, c) = (Endpoint::start("a").await, Endpoint::start("b").await, Endpoint::start("c").await);
    let weir = start(&[(&a, ""), (&b, ""), (&c, ", priority = 1")], "min-healthy = 100").await;
    assert_eq!(met(&weir, 8).await, [("a".into(), 4), ("b".into(), 4)].into());
    b.set_healthy(false);
    serving(&weir, "spill-over").await;
    assert_eq!(met(&weir, 8).await, [("a".into(), 4), ("c".into(), 4)].into(), "half is healthy: half spills over");
    weir.said_where("cluster spills over to lower priorities or zones", |line| line["min_healthy"] == 100).await;
    a.set_healthy(false);
    eligible(&weir, 1).await;
    assert_eq!(met(&weir, 4).await, [("c".into(), 4)].into());
    b.set_healthy(true);
    a.set_healthy(true);
    serving(&weir, "healthy").await;
    eligible(&weir, 2).await;
    weir.said("cluster has healthy endpoints again").await;
    assert_eq!(met(&weir, 4).await, [("a".into(), 2), ("b".into(), 2)].into());
}

#[tokio::test]
async fn the_own_zone_is_preferred_as_long_as_it_suffices() {
    let (near, far) = (Endpoint::start("near").await, Endpoint::start("far").await);
    let weir = start(&[(&far, ", zone = \"there\""), (&near, ", zone = \"here\"")], "").await;
    assert_eq!(met(&weir, 6).await, [("near".into(), 6)].into());
    near.set_healthy(false);
    serving(&weir, "spill-over").await;
    assert_eq!(met(&weir, 6).await, [("far".into(), 6)].into());
}

#[tokio::test]
async fn a_backup_serves_when_no_other_is_left() {
    let (a, spare) = (Endpoint::start("a").await, Endpoint::start("spare").await);
    let weir = start(&[(&a, ""), (&spare, ", backup = true")], "").await;
    assert_eq!(met(&weir, 4).await, [("a".into(), 4)].into());
    a.set_healthy(false);
    serving(&weir, "backup").await;
    weir.said("cluster has backup endpoints only").await;
    assert_eq!(met(&weir, 4).await, [("spare".into(), 4)].into());
    a.set_healthy(true);
    serving(&weir, "healthy").await;
    assert_eq!(met(&weir, 4).await, [("a".into(), 4)].into());
}

#[tokio::test]
async fn an_attempt_that_fails_goes_on_with_the_backup_in_the_same_request() {
    let (gone, spare) = (Reserved::new(), Endpoint::start("spare").await);
    let endpoints = format!("[\"{}\", {{ address = \"{}\", backup = true }}]", gone.address, spare.address);
    let weir = Weir::start(&plain_of(&endpoints, "")).await;
    assert_eq!(get(weir.web(), "/first").await.text(), "spare");
    assert_eq!(weir.logged("/first").await["attempts"], 2);
}

#[tokio::test]
async fn panic_picks_all_and_the_log_names_the_threshold() {
    let (a, b, c) = (Endpoint::start("a").await, Endpoint::start("b").await, Endpoint::start("c").await);
    let weir = start(&[(&a, ""), (&b, ""), (&c, "")], "panic-threshold = 50").await;
    a.set_healthy(false);
    eligible(&weir, 2).await;
    assert_eq!(met(&weir, 4).await, [("b".into(), 2), ("c".into(), 2)].into());
    b.set_healthy(false);
    serving(&weir, "panic").await;
    weir.said_where("cluster is in panic: all endpoints are picked", |line| line["panic_threshold"] == 50).await;
    assert_eq!(met(&weir, 6).await, [("a".into(), 2), ("b".into(), 2), ("c".into(), 2)].into());
    a.set_healthy(true);
    serving(&weir, "healthy").await;
    weir.said("cluster is no longer in panic").await;
    assert_eq!(met(&weir, 4).await, [("a".into(), 2), ("c".into(), 2)].into());
}
