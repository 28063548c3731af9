//! Several limits, several workers, and reloads.

use super::{another, passed, statuses, to};
use crate::e2e::harness::{Client, Endpoint, Weir};

#[tokio::test]
async fn a_request_keeps_to_the_limits_of_its_listener_its_tenant_and_its_route() {
    let endpoint = Endpoint::start("a").await;
    let text = format!(
        "[tenants.all]\nmatch = {{ networks = [\"127.0.0.0/8\"] }}\nrate-limits = {{ rate = \"4/1d\" }}\n\
         [[routes]]\nname = \"small\"\nmatch = {{ path = \"/small\" }}\ncluster = \"a\"\nrate-limits = {{ rate = \"1/1d\" }}\n\
         [[routes]]\nname = \"only\"\nmatch = {{ path-prefix = \"/only\" }}\ncluster = \"a\"\n\
         {}",
        to(&endpoint, "rate-limits = { rate = \"5/1d\" }", "match = { path = \"/none\" }")
    );
    let weir = Weir::start(&text).await;
    let mut client = Client::http1(weir.web()).await;
    // What the route refuses is not taken from the tenant's or the listener's.
    assert_eq!(statuses(&mut client, "/small", &[], 9).await, passed(1, 8));
    assert_eq!(statuses(&mut client, "/only", &[], 4).await, passed(3, 1));
    assert_eq!(weir.logged("/only").await["status"], 200);
    let refused = weir.logged_where("a refusal", |line| line["path"] == "/only" && line["status"] == 429).await;
    assert_eq!(refused["error"], "rate limit tenant:all is used up");
    // Requests that no route takes count for their listener.
    let mut stranger = another(weir.web()).await;
    assert_eq!(statuses(&mut stranger, "/nowhere", &[], 5).await, [404, 404, 404, 404, 429]);
}

#[tokio::test]
async fn a_limit_that_is_met_twice_counts_once() {
    let endpoint = Endpoint::start("a").await;
    let limit = "[rate-limits.both]\nrate = \"2/1d\"\n";
    let text = to(&endpoint, "rate-limits = \"both\"", "rate-limits = [\"both\"]");
    let weir = Weir::start(&format!("{limit}{text}")).await;
    let mut client = Client::http1(weir.web()).await;
    assert_eq!(statuses(&mut client, "/", &[], 3).await, passed(2, 1));
}

#[tokio::test]
async fn all_workers_share_one_allowance() {
    let endpoint = Endpoint::start("a").await;
    let text = to(&endpoint, "", "rate-limits = { rate = \"50/1d\" }");
    let weir = Weir::start(&format!("[process]\nworkers = 4\n{text}")).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let address = weir.web();
        clients.spawn(async move { statuses(&mut Client::http1(address).await, "/", &[], 10).await });
    }
    let statuses = clients.join_all().await.concat();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 50);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 30);
    assert_eq!(endpoint.requests(), 50);
}

#[tokio::test]
async fn a_flood_is_refused_while_others_are_served() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&to(&endpoint, "rate-limits = { rate = \"20/1d\" }", "")).await;
    let mut floods = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let address = weir.web();
        floods.spawn(async move { statuses(&mut Client::http1(address).await, "/", &[], 200).await });
    }
    let mut other = another(weir.web()).await;
    assert_eq!(statuses(&mut other, "/", &[], 20).await, passed(20, 0));
    let refused = floods.join_all().await.concat();
    assert_eq!(refused.iter().filter(|status| **status == 429).count(), 1_580);
    assert_eq!(endpoint.requests(), 40);
    assert_eq!(statuses(&mut other, "/", &[], 1).await, passed(0, 1));
}

#[tokio::test]
async fn a_reload_keeps_what_was_used_of_a_limit_that_stays() {
    let endpoint = Endpoint::start("a").await;
    let text = |route: &str| {
        let named = "[rate-limits.named]\nrate = \"2/1d\"\n";
        format!("{named}{}", to(&endpoint, "rate-limits = \"named\"", route))
    };
    let mut weir = Weir::start(&text("")).await;
    let mut client = Client::http1(weir.web()).await;
    assert_eq!(statuses(&mut client, "/", &[], 1).await, passed(1, 0));
    weir.reload(&text("rate-limits = { rate = \"9/1d\" }")).await.unwrap();
    assert_eq!(statuses(&mut client, "/", &[], 2).await, passed(1, 1));
    weir.reload(&text("").replace("2/1d", "3/1d")).await.unwrap();
    assert_eq!(statuses(&mut client, "/", &[], 4).await, passed(3, 1));
    weir.reload(&text("").replace("rate-limits = \"named\"", "")).await.unwrap();
    assert_eq!(statuses(&mut client, "/", &[], 9).await, passed(9, 0));
}
