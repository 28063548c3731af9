//! Tenants beside what else decides on requests: shares, rollouts, retries, hedges, edits.

use http::Method;

use super::{ask, clusters};
use crate::e2e::harness::{Endpoint, Reserved, Weir};

const HEAD: &str = "[process]\nworkers = 1\n[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"all\"\n";

/// Which endpoints answer for a host.
async fn answers(weir: &Weir, host: &str) -> Vec<String> {
    let mut met = Vec::new();
    for _ in 0..30 {
        met.push(ask(weir, host, "/", &[]).await.text().to_owned());
    }
    met.sort();
    met.dedup();
    met
}

#[tokio::test]
async fn shares_are_of_clusters_and_a_tenant_has_its_own_in_their_place() {
    let [stable, next, own] =
        [Endpoint::start("stable").await, Endpoint::start("next").await, Endpoint::start("own").await];
    let mut weir = Weir::start(&format!(
        "{HEAD}split = {{ stable = 1, next = 1 }}\n\
         [tenants.acme]\nmatch = {{ hosts = [\"acme.test\"] }}\nclusters = {{ next = \"own\" }}\n{}",
        clusters(&[&stable, &next, &own])
    ))
    .await;
    assert_eq!(answers(&weir, "acme.test").await, ["own", "stable"]);
    assert_eq!(answers(&weir, "other.test").await, ["next", "stable"]);
    weir.reload(&format!(
        "{HEAD}rollout = {{ from = \"stable\", to = \"next\", steps = [50, 100], interval = \"1h\" }}\n\
         [tenants.acme]\nmatch = {{ hosts = [\"acme.test\"] }}\nclusters = {{ next = \"own\" }}\n{}",
        clusters(&[&stable, &next, &own])
    ))
    .await
    .unwrap();
    assert_eq!(answers(&weir, "acme.test").await, ["own", "stable"]);
    assert_eq!(weir.command(Method::POST, "/v1/rollouts/all/rollback", "").await.status, 200);
    assert_eq!(answers(&weir, "acme.test").await, ["stable"]);
}

#[tokio::test]
async fn retries_and_hedges_stay_in_the_tenants_cluster() {
    let (gone, own, slow) = (Reserved::new(), Endpoint::start("own").await, Endpoint::start("slow").await);
    let all = Endpoint::start("all").await;
    own.open();
    let weir = Weir::start(&format!(
        "{HEAD}cluster = \"all\"\nhedge = {{ after = \"20ms\" }}\nretries = {{ on = [\"connect\", \"5xx\"] }}\n\
         [tenants.acme]\nmatch = {{ hosts = [\"acme.test\"] }}\nclusters = {{ all = \"own\" }}\n\
         [tenants.slow]\nmatch = {{ hosts = [\"slow.test\"] }}\nclusters = {{ all = \"slow\" }}\n\
         [clusters.own]\nendpoints = [\"{}\", \"{}\"]\noutlier-detection = false\nbalance = \"first\"\n\
         [clusters.slow]\nendpoints = [\"{}\", \"{}\"]\nbalance = \"first\"\n{}",
        gone.address,
        own.address,
        slow.address,
        own.address,
        clusters(&[&all])
    ))
    .await;
    assert_eq!(ask(&weir, "acme.test", "/retried", &[]).await.text(), "own");
    let line = weir.logged("/retried").await;
    assert_eq!((&line["tenant"], &line["retries"]), (&"acme".into(), &"connect".into()));
    assert_eq!(ask(&weir, "slow.test", "/late", &[]).await.text(), "late");
    let line = weir.logged("/late").await;
    assert_eq!((&line["tenant"], &line["hedge"]), (&"slow".into(), &"won".into()));
    assert_eq!(all.requests(), 0);
}

#[tokio::test]
async fn its_name_can_stand_in_a_header() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&format!(
        "{HEAD}cluster = \"a\"\nrequest-headers = {{ set = {{ x-tenant = \"{{tenant}}\" }} }}\n\
         response-headers = {{ set = {{ x-of = \"of {{tenant}}\" }} }}\n\
         [tenants.acme]\nmatch = {{ hosts = [\"acme.test\"] }}\n{}",
        clusters(&[&endpoint])
    ))
    .await;
    for (host, name) in [("acme.test", "acme"), ("other.test", "")] {
        let reply = ask(&weir, host, "/", &[("x-tenant", "forged")]).await;
        assert_eq!(reply.header("x-of").trim_end(), format!("of {name}").trim_end());
        assert_eq!(endpoint.last().values("x-tenant"), [name]);
    }
}

#[tokio::test]
async fn a_tenant_may_send_smaller_heads_than_others() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&format!(
        "{HEAD}cluster = \"a\"\n[tenants.acme]\nmatch = {{ hosts = [\"acme.test\"] }}\n\
         limits = {{ headers = 5, header-bytes = \"1KiB\" }}\n{}",
        clusters(&[&endpoint])
    ))
    .await;
    let long = "x".repeat(1_000);
    let many = ["x-1", "x-2", "x-3", "x-4", "x-5"].map(|name| (name, "1"));
    for fields in [&[("x-long", &*long)][..], &many] {
        assert_eq!(ask(&weir, "acme.test", "/large", fields).await.status, 431);
        assert_eq!(ask(&weir, "other.test", "/other", fields).await.status, 200);
    }
    assert_eq!(ask(&weir, "acme.test", "/small", &[("x-1", "1")]).await.status, 200);
    assert_eq!(weir.metric(r#"weir_tenant_refused_total{tenant="acme"}"#).await, 2.0);
    let line = weir.logged_where("the long one", |line| line["error"] == "header too large for its tenant").await;
    assert_eq!(line["tenant"], "acme");
}
