//! Routers, balancers and health checks deciding, from the client's request to what the operator sees.

use std::{collections::BTreeSet, net::SocketAddr};

use serde_json::json;

use super::stage::{all, ask, complete, plugin, start};
use crate::e2e::harness::{Endpoint, Weir, eventually};

/// Endpoints of version 1 in zone b and of version 2 in zone a, as a list of endpoints.
async fn versions() -> (Endpoint, Endpoint, String) {
    let (one, two) = (Endpoint::start("one").await, Endpoint::start("two").await);
    let labelled = |address, version, zone| {
        format!("{{ address = \"{address}\", labels = {{ version = \"{version}\", zone = \"{zone}\" }} }}")
    };
    let list = [labelled(one.address, "v1", "b"), labelled(two.address, "v2", "a")].join(", ");
    (one, two, list)
}

#[tokio::test]
async fn a_router_sends_canaries_to_labelled_endpoints() {
    let (_one, _two, endpoints) = versions().await;
    let settings = "settings = { percent = 0, header = \"x-canary\", rest-labels = { version = \"v1\" } }";
    let weir = start(&format!(
        "{}[[routes]]\nname = \"all\"\nplugins = [\"canary\"]\ncluster = \"c\"\n[clusters.c]\nendpoints = [{endpoints}]",
        plugin("canary", "canary", settings)
    ))
    .await;
    for _ in 0..6 {
        assert_eq!(ask(&weir, "/", &[("x-canary", "always")]).await.text(), "two");
    }
    for _ in 0..6 {
        assert_eq!(ask(&weir, "/", &[]).await.text(), "one");
    }
    assert_eq!(weir.metric("weir_plugin_calls_total{plugin=\"canary\",role=\"router\"}").await, 12.0);
}

/// `misbehave` as a router that does `what`, before a cluster where nothing listens and one of
/// these endpoints.
async fn told(what: &str, endpoints: &str) -> Weir {
    let route = format!("plugins = [{{ plugin = \"told\", settings = {{ do = \"{what}\" }} }}]");
    start(&format!(
        "{}{}[clusters.other]\nendpoints = [{endpoints}]",
        plugin("told", "misbehave", "deadline = \"100ms\""),
        all(&route, &["127.0.0.1:1"], "")
    ))
    .await
}

#[tokio::test]
async fn a_router_changes_cluster_path_headers_and_labels() {
    let (one, two, endpoints) = versions().await;
    let weir = told("forward", &endpoints).await;
    for _ in 0..4 {
        let reply = ask(&weir, "/old", &[("x-gone", "still here"), ("x-kept", "yes"), ("x-set", "0")]).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "two"));
    }
    let seen = two.last();
    assert_eq!(seen.uri, "/new?a=b");
    assert_eq!((seen.values("x-set"), seen.values("x-kept")), (vec!["1".to_owned()], vec!["yes".to_owned()]));
    assert!(seen.values("x-gone").is_empty());
    assert_eq!((one.requests(), two.requests()), (0, 4));
    assert_eq!(weir.logged("/old").await["cluster"], "other");
}

#[tokio::test]
async fn a_router_answers_by_itself_with_what_it_knows_of_the_request() {
    let weir = told("request", "\"127.0.0.1:1\"").await;
    let fields = [("x-one", "1"), ("x-two", "2"), ("x-two", "3"), ("cookie", "a=b; sid=s")];
    let reply = ask(&weir, "/some/path?a=b", &fields).await;
    assert_eq!(reply.status, 200);
    let known: Vec<&str> = reply.text().lines().collect();
    assert_eq!(known[..7], ["GET", "http", "weir.test", "/some/path", "a=b", "1", "2+3"]);
    assert_eq!(known[8..], ["s", "127.0.0.1", "", "", "web", "all"]);
    let line = weir.logged("/some/path?a=b").await;
    assert_eq!((line.get("endpoint"), &line["plugins"][0]["role"]), (None, &json!("router")));
}

#[tokio::test]
async fn a_balancer_keeps_a_user_on_an_endpoint() {
    let endpoints = [Endpoint::start("a").await, Endpoint::start("b").await, Endpoint::start("c").await];
    let balance = "balance = { plugin = \"picker\", settings = { header = \"x-user\" } }";
    let addresses = endpoints.each_ref().map(|endpoint| endpoint.address);
    let weir = start(&(plugin("picker", "consistent-hash", "") + &all("", &addresses, balance))).await;
    let mut rounds = Vec::new();
    for _ in 0..3 {
        let mut taken = Vec::new();
        for user in 0..24 {
            taken.push(ask(&weir, "/", &[("x-user", &format!("user-{user}"))]).await.text().to_owned());
        }
        rounds.push(taken);
    }
    assert_eq!((&rounds[1], &rounds[2]), (&rounds[0], &rounds[0]));
    let taken: BTreeSet<&str> = rounds[0].iter().map(String::as_str).collect();
    assert_eq!(taken, BTreeSet::from(["a", "b", "c"]));
}

/// Who answers when six clients ask.
async fn answering(weir: &Weir) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for _ in 0..6 {
        names.insert(ask(weir, "/", &[]).await.text().to_owned());
    }
    names
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Waits until an endpoint has this state, for a reason with this text.
async fn becomes(weir: &Weir, address: SocketAddr, state: &str, why: &str) {
    eventually(&format!("{address} to be {state}: {why}"), || async {
        let endpoint = weir.endpoint("c", address).await;
        (endpoint["state"] == state && endpoint["why"].as_str().unwrap().contains(why)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_health_plugin_takes_endpoints_out_and_says_why() {
    let (one, two) = (Endpoint::start("one").await, Endpoint::start("two").await);
    one.set_health_page(r#"{ "status": "ok", "queue": 11 }"#);
    two.set_health_page(r#"{ "status": "ok", "queue": 0 }"#);
    let health = r#"
        [clusters.c.health]
        plugin = "json-health"
        interval = "50ms"
        timeout = "5s"
        fall = 1
        rise = 1
        settings = { path = "/health", fields = { "/queue" = { unhealthy-unless = { max = 10 } } } }
    "#;
    let cluster = all("", &[one.address, two.address], health);
    let weir = start(&(plugin("json-health", "json-health", "") + &cluster)).await;

    becomes(&weir, one.address, "unhealthy", "queue").await;
    assert_eq!(answering(&weir).await, names(&["two"]));
    one.set_health_page(r#"{ "status": "warn", "queue": 0 }"#);
    becomes(&weir, one.address, "degraded", "warn").await;
    assert_eq!(answering(&weir).await, names(&["two"]));
    two.set_healthy(false);
    becomes(&weir, two.address, "unhealthy", "503").await;
    assert_eq!(answering(&weir).await, names(&["one"]));
    one.set_health_page(r#"{ "status": "drain", "queue": 0 }"#);
    becomes(&weir, one.address, "draining", "drain").await;
    assert_eq!(ask(&weir, "/", &[]).await.status, 503);
    two.set_healthy(true);
    becomes(&weir, two.address, "healthy", "").await;
    assert_eq!(answering(&weir).await, names(&["two"]));
}

#[tokio::test]
async fn a_health_plugin_speaks_to_its_endpoint_as_it_likes() {
    let endpoint = Endpoint::start("here").await;
    endpoint.set_health_page("all is well");
    let health = "health = { plugin = \"told\", interval = \"50ms\", fall = 1, settings = { do = \"http\" } }";
    let weir = start(&(plugin("told", "misbehave", "") + &all("", &[endpoint.address], health))).await;
    becomes(&weir, endpoint.address, "healthy", "all is well").await;
    endpoint.set_healthy(false);
    becomes(&weir, endpoint.address, "degraded", "status 503").await;
    // A cluster with nothing better goes on with what is degraded.
    assert_eq!(ask(&weir, "/", &[]).await.text(), "here");
}

#[tokio::test]
async fn binding_a_role_that_the_plugin_lacks_is_refused_before_anything_runs() {
    let config = plugin("picker", "consistent-hash", "") + &all("plugins = [\"picker\"]", &["127.0.0.1:1"], "");
    let checked = crate::e2e::harness::Setup::new(&complete(&config)).check();
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    assert_eq!(checked.status.code(), Some(2), "{said}");
    assert!(said.contains("route all: plugin picker: has not the role `router` (it has: balancer)"), "{said}");
}
