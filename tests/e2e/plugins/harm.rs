//! Plugins that trap, loop, take all memory, use up the stack or answer nonsense, in each role: the
//! request is answered all the same, the operator sees it, and nobody else waits for it.

use std::time::{Duration, Instant};

use super::stage::{all, ask, command, complete, failures, instances, plugin, quoted, start};
use crate::e2e::harness::{Client, Endpoint, Reply, Weir, eventually, until};

/// What `misbehave` does when told to, in every role, and the kind of failure it is.
const HARMS: [(&str, &str); 4] = [("trap", "trap"), ("loop", "deadline"), ("memory", "memory"), ("recurse", "trap")];
const OF_ROUTERS: [(&str, &str); 4] =
    [("nowhere", "bad-answer"), ("split", "bad-answer"), ("bad-status", "bad-answer"), ("candidates", "trap")];
const OF_BALANCERS: [(&str, &str); 1] = [("bad-index", "bad-answer")];
const OF_AFFINITIES: [(&str, &str); 1] = [("long-key", "bad-answer")];

/// A route and a cluster named after the harm, where it is done in this role.
fn harmed(role: &str, harm: &str, endpoint: &Endpoint) -> String {
    let binding = format!("plugin = \"bad\", settings = {{ do = \"{harm}\" }}");
    let (route, cluster) = match role {
        "router" => (format!("plugins = [{{ {binding} }}]"), String::new()),
        "balancer" => (String::new(), format!("balance = {{ {binding} }}")),
        "affinity" => (String::new(), format!("affinity = {{ {binding} }}")),
        _ => (String::new(), format!("health = {{ {binding}, interval = \"50ms\", timeout = \"50ms\", fall = 1 }}")),
    };
    format!(
        "[[routes]]\nname = \"{harm}\"\nmatch = {{ path = \"/{harm}\" }}\ncluster = \"at-{harm}\"\n{route}\n\
         [clusters.at-{harm}]\nendpoints = [{}]\n{cluster}\n",
        quoted(&[endpoint.address])
    )
}

/// One route for each harm, and one for everything else without a plugin.
async fn before(endpoint: &Endpoint, role: &str, harms: &[(&str, &str)], on_failure: &str) -> Weir {
    let keys = format!("deadline = \"50ms\"\non-failure = \"{on_failure}\"");
    let harms: String = harms.iter().map(|(harm, _)| harmed(role, harm, endpoint)).collect();
    start(&[plugin("bad", "misbehave", &keys), harms, all("", &[endpoint.address], "")].concat()).await
}

/// Each harm is counted once, is in its line of the log, and leaves the reply that is `due`.
async fn suffer(role: &str, own: &[(&str, &str)], on_failure: &str, due: fn(&Reply) -> bool) {
    let endpoint = Endpoint::start("here").await;
    let harms = [&HARMS, own].concat();
    let weir = before(&endpoint, role, &harms, on_failure).await;
    for (harm, kind) in harms {
        let counted = failures(&weir, "bad", role, kind).await;
        let path = format!("/{harm}");
        let reply = ask(&weir, &path, &[]).await;
        assert!(due(&reply), "{role} {harm}: {reply:?}");
        assert_eq!(failures(&weir, "bad", role, kind).await, counted + 1.0, "{role} {harm} {kind}");
        let line = weir.logged(&path).await;
        assert_eq!(line["status"], reply.status.as_u16(), "{line}");
        assert_eq!(
            (&line["plugins"][0]["role"], &line["plugins"][0]["failed"]),
            (&role.into(), &kind.into()),
            "{line}"
        );
    }
    assert_eq!(ask(&weir, "/plain", &[]).await.text(), "here");
}

fn native(reply: &Reply) -> bool {
    reply.status == 200 && reply.text() == "here"
}

fn rejected(reply: &Reply) -> bool {
    reply.status == 503
}

#[tokio::test]
async fn a_failing_router_is_as_if_it_were_not_there() {
    suffer("router", &OF_ROUTERS, "native", native).await;
}

#[tokio::test]
async fn a_failing_router_rejects_where_it_is_told_to() {
    suffer("router", &OF_ROUTERS, "reject", rejected).await;
}

#[tokio::test]
async fn a_failing_balancer_is_as_if_it_were_not_there() {
    suffer("balancer", &OF_BALANCERS, "native", native).await;
}

#[tokio::test]
async fn a_failing_balancer_rejects_where_it_is_told_to() {
    suffer("balancer", &OF_BALANCERS, "reject", rejected).await;
}

#[tokio::test]
async fn a_failing_affinity_is_as_if_it_were_not_there() {
    suffer("affinity", &OF_AFFINITIES, "native", native).await;
}

#[tokio::test]
async fn a_failing_affinity_rejects_where_it_is_told_to() {
    suffer("affinity", &OF_AFFINITIES, "reject", rejected).await;
}

#[tokio::test]
async fn a_failing_health_check_takes_no_endpoint_out() {
    let endpoint = Endpoint::start("here").await;
    let weir = before(&endpoint, "health", &HARMS, "native").await;
    for kind in ["trap", "deadline", "memory"] {
        eventually(kind, || async { (failures(&weir, "bad", "health", kind).await >= 2.0).then_some(()) }).await;
    }
    for (harm, _) in HARMS {
        assert!(native(&ask(&weir, &format!("/{harm}"), &[]).await), "{harm}");
        assert_eq!(weir.endpoint(&format!("at-{harm}"), endpoint.address).await["state"], "healthy", "{harm}");
    }
}

#[tokio::test]
async fn failures_are_logged_once_a_second_at_most() {
    let endpoint = Endpoint::start("here").await;
    let weir = before(&endpoint, "router", &HARMS, "native").await;
    let begun = Instant::now();
    let mut client = Client::http1(weir.web()).await;
    for _ in 0..50 {
        assert!(native(&client.get("/trap").await));
    }
    // It may have begun at the end of a second.
    // It fails five times in a row, and is not asked any more.
    let most = 2 + begun.elapsed().as_secs() as usize;
    let said = weir.stderr().matches("plugin failed").count();
    assert!((1..=most).contains(&said), "{said} lines");
    assert_eq!(failures(&weir, "bad", "router", "trap").await, 5.0);
}

#[tokio::test]
async fn others_wait_for_a_loop_no_longer_than_its_deadline() {
    let endpoint = Endpoint::start("here").await;
    let weir = before(&endpoint, "router", &HARMS, "native").await;
    let web = weir.web();
    let one = |path: &'static str| tokio::spawn(async move { Client::http1(web).await.get(path).await });
    let slow = one("/late");
    until("the slow exchange to be under way", || endpoint.requests() == 1).await;
    let looping: Vec<_> = (0..4).map(|_| one("/loop")).collect();
    let mut client = Client::http1(web).await;
    for _ in 0..20 {
        let asked = Instant::now();
        assert!(native(&client.get("/plain").await));
        // Four loops of 50 ms on the only worker; the rest is for a machine with other things to do.
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
    endpoint.open();
    for reply in looping {
        assert!(native(&reply.await.unwrap()));
    }
    assert_eq!(slow.await.unwrap().text(), "late");
    assert_eq!(failures(&weir, "bad", "router", "deadline").await, 3.0, "the fourth is not asked for");
}

#[tokio::test]
async fn an_instance_that_failed_is_replaced() {
    let endpoint = Endpoint::start("here").await;
    let route = "plugins = [{ plugin = \"bad\", settings = { do = \"trap-if-asked\" } }]";
    let weir = start(&(plugin("bad", "misbehave", "") + &all(route, &[endpoint.address], ""))).await;
    for round in 1..=20 {
        assert!(native(&ask(&weir, "/", &[("x-trap", "1")]).await));
        assert_eq!(instances(&weir, "bad").await, 0.0);
        assert!(native(&ask(&weir, "/", &[]).await));
        assert_eq!(instances(&weir, "bad").await, 1.0);
        assert_eq!(failures(&weir, "bad", "router", "trap").await, f64::from(round));
    }
}

/// Decisions that `bad` was not asked for.
async fn skipped(weir: &Weir, role: &str, reason: &str) -> f64 {
    weir.metric(&format!("weir_plugin_skipped_total{{plugin=\"bad\",role=\"{role}\",reason=\"{reason}\"}}")).await
}

async fn open_breakers(weir: &Weir, role: &str) -> f64 {
    weir.metric(&format!("weir_plugin_breakers_open{{plugin=\"bad\",role=\"{role}\"}}")).await
}

#[tokio::test]
async fn a_router_that_fails_in_a_row_is_not_asked_and_the_operator_sees_it() {
    let endpoint = Endpoint::start("here").await;
    let weir = before(&endpoint, "router", &HARMS, "native").await;
    for _ in 0..20 {
        assert!(native(&ask(&weir, "/trap", &[]).await));
    }
    assert_eq!(failures(&weir, "bad", "router", "trap").await, 5.0);
    assert_eq!((skipped(&weir, "router", "breaker").await, open_breakers(&weir, "router").await), (15.0, 1.0));
    let status = weir.status().await;
    let open = &status["plugins"][0]["open_breakers"][0];
    assert_eq!((&open["worker"], &open["used_by"][0]), (&0.into(), &"route trap".into()), "{status}");
    assert_eq!((&open["failures"], &open["failure"]), (&5.into(), &"the plugin trapped".into()), "{status}");
    let listed = command(&weir, &["list"]).unwrap();
    assert!(listed.contains("bad is not asked by worker 0 for route trap since"), "{listed}");
    assert!(weir.stderr().contains("plugin binding is not asked for now"), "{}", weir.stderr());
    assert_eq!(ask(&weir, "/nowhere", &[]).await.text(), "here", "another binding is asked");
}

#[tokio::test]
async fn a_router_that_is_not_asked_rejects_where_failures_do() {
    let endpoint = Endpoint::start("here").await;
    let weir = before(&endpoint, "router", &HARMS, "reject").await;
    for _ in 0..8 {
        assert!(rejected(&ask(&weir, "/trap", &[]).await));
    }
    assert_eq!(skipped(&weir, "router", "breaker").await, 3.0);
}

#[tokio::test]
async fn a_router_that_answers_again_is_asked_again() {
    let endpoint = Endpoint::start("here").await;
    let route = "plugins = [{ plugin = \"bad\", settings = { do = \"trap-if-asked\" } }]";
    let weir = start(&(plugin("bad", "misbehave", "") + &all(route, &[endpoint.address], ""))).await;
    for _ in 0..6 {
        assert!(native(&ask(&weir, "/", &[("x-trap", "1")]).await));
    }
    assert_eq!(open_breakers(&weir, "router").await, 1.0);
    eventually("a trial", || async {
        assert!(native(&ask(&weir, "/", &[]).await));
        (open_breakers(&weir, "router").await == 0.0).then_some(())
    })
    .await;
    assert!(weir.stderr().contains("plugin binding is asked again"), "{}", weir.stderr());
}

#[tokio::test]
async fn plugins_of_a_request_share_its_time() {
    let endpoint = Endpoint::start("here").await;
    let bindings =
        (0..8).map(|number| format!("{{ plugin = \"bad\", settings = {{ do = \"loop\", number = {number} }} }}"));
    let route = format!("plugin-budget = \"60ms\"\nplugins = [{}]", bindings.collect::<Vec<_>>().join(", "));
    let bad = plugin("bad", "misbehave", "deadline = \"50ms\"");
    let weir = start(&(bad + &all(&route, &[endpoint.address], ""))).await;
    assert!(native(&ask(&weir, "/", &[]).await));
    let (failed, skipped) =
        (failures(&weir, "bad", "router", "deadline").await, skipped(&weir, "router", "budget").await);
    assert_eq!(failed + skipped, 8.0);
    // How many end before the budget is spent depends on how busy the machine is: a deadline counts CPU time too.
    assert!(failed < 8.0, "{failed} of 50 ms in 60 ms");
}

/// A cluster whose health plugin does this, with more keys.
async fn checked(endpoint: &Endpoint, harm: &str, keys: &str) -> Weir {
    start(&checked_by(endpoint, harm, keys)).await
}

fn checked_by(endpoint: &Endpoint, harm: &str, keys: &str) -> String {
    let health = format!(
        "health = {{ plugin = \"bad\", settings = {{ do = \"{harm}\" }}, interval = \"50ms\", fall = 1, rise = 1, {keys} }}"
    );
    plugin("bad", "misbehave", "check-cpu = \"20ms\"") + &all("", &[endpoint.address], &health)
}

/// Wait for the endpoint's state, with this in its reason.
async fn comes_to(weir: &Weir, endpoint: &Endpoint, state: &str, why: &str) {
    eventually(&format!("{state}: {why}"), || async {
        let seen = weir.endpoint("c", endpoint.address).await;
        (seen["state"] == state && seen["why"].as_str()?.contains(why)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn endpoints_of_a_failing_health_plugin_are_checked_by_tcp() {
    for (harm, why) in
        [("trap", "the plugin trapped"), ("loop", "passed its deadline"), ("heavy", "weight of 101 percent")]
    {
        let endpoint = Endpoint::start("here").await;
        let weir = checked(&endpoint, harm, "initial = \"checking\", timeout = \"30s\"").await;
        comes_to(&weir, &endpoint, "healthy", "TCP check instead: connected").await;
        assert!(native(&ask(&weir, "/", &[]).await), "{harm}");
        comes_to(&weir, &endpoint, "healthy", "not asked: it failed too often in a row (the plugin").await;
        comes_to(&weir, &endpoint, "healthy", why).await;
        assert_eq!(open_breakers(&weir, "health").await, 1.0);
        let address = endpoint.address;
        drop(endpoint);
        eventually("unhealthy", || async {
            let seen = weir.endpoint("c", address).await;
            (seen["state"] == "unhealthy" && seen["why"].as_str()?.contains("TCP check instead")).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_failing_health_plugin_fails_its_checks_where_it_is_told_to() {
    let endpoint = Endpoint::start("here").await;
    let weir = checked(&endpoint, "trap", "on-failure = \"fail\"").await;
    comes_to(&weir, &endpoint, "unhealthy", "the plugin").await;
}

#[tokio::test]
async fn what_a_health_plugin_said_before_it_failed_stands_no_longer() {
    let endpoint = Endpoint::start("here").await;
    let mut weir = checked(&endpoint, "drain", "initial = \"healthy\"").await;
    comes_to(&weir, &endpoint, "draining", "").await;
    weir.reload(&complete(&checked_by(&endpoint, "trap", "initial = \"healthy\""))).await.unwrap();
    comes_to(&weir, &endpoint, "healthy", "TCP check instead: connected").await;
}
