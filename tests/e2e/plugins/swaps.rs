//! Another version of a plugin under traffic, and what it costs.

use super::{
    load::Load,
    stage::{all, ask, complete, component, current, failures, instances, plugin, push, start, variant},
};
use crate::e2e::harness::{Client, Endpoint, Setup, Weir, eventually, eventually_within, until};

#[tokio::test]
async fn an_exchange_keeps_the_version_it_began_with() {
    let endpoint = Endpoint::start("here").await;
    let cluster = all("", &[endpoint.address], "affinity = { plugin = \"p\" }");
    let weir = start(&(plugin("p", "misbehave", "deadline = \"100ms\"") + &cluster)).await;
    let web = weir.web();
    // It looks the session up before the endpoint is asked, and binds it when that has answered.
    let slow = tokio::spawn(async move { Client::http1(web).await.get("/late").await });
    until("the slow exchange to be under way", || endpoint.requests() == 1).await;
    let first = current(&weir).await;
    push(&weir, "p", &variant(&component("misbehave"), 1)).await.unwrap();
    let second = current(&weir).await;
    assert_ne!(first, second);
    assert_eq!(ask(&weir, "/fast", &[]).await.text(), "here");
    endpoint.open();
    assert!(slow.await.unwrap().header("set-cookie").starts_with("sid="));
    assert_eq!(decided(&weir, "/late").await, [&first[..12], &first[..12]]);
    assert_eq!(decided(&weir, "/fast").await, [&second[..12], &second[..12]]);
}

/// Versions that decided on the exchange of this path.
async fn decided(weir: &Weir, path: &str) -> Vec<String> {
    let line = weir.logged(path).await;
    let plugins = line["plugins"].as_array().unwrap().iter();
    plugins.map(|plugin| plugin["version"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn two_hundred_swaps_under_load_lose_nothing() {
    let endpoint = Endpoint::start("here").await;
    let route = "plugins = [{ plugin = \"p\", settings = { do = \"none\" } }]";
    let config = plugin("p", "misbehave", "deadline = \"100ms\"") + &all(route, &[endpoint.address], "");
    let weir = Setup::new(&complete(&(config + "[access-log]\nformat = \"off\"\n"))).start().await;
    let versions = [1, 2].map(|number| variant(&component("misbehave"), number));
    let load = Load::start(weir.web(), "/", 3);
    for number in 0..20 {
        push(&weir, "p", &versions[number % 2]).await.unwrap();
    }
    let (before, answered) = (weir.rss(), load.answered());
    for number in 0..200 {
        push(&weir, "p", &versions[number % 2]).await.unwrap();
    }
    until("requests to go on", || load.answered() >= answered + 200).await;
    assert_eq!(load.end().await, 0, "requests failed");
    // Two hundred versions that stay take more than 30 MiB: code, instances, bindings.
    until("memory to be back", || weir.rss() < before + (8 << 20)).await;
    eventually("one instance", || async { (instances(&weir, "p").await <= 1.0).then_some(()) }).await;
    for kind in ["trap", "deadline", "memory", "bad-answer", "start"] {
        assert_eq!(failures(&weir, "p", "router", kind).await, 0.0, "{kind}");
    }
}

#[tokio::test]
async fn health_checks_by_former_versions_leave_nothing_behind() {
    let endpoint = Endpoint::start("here").await;
    let health = "health = { plugin = \"p\", interval = \"20ms\", timeout = \"5s\", settings = { do = \"http\" } }";
    let weir = start(&(plugin("p", "misbehave", "") + &all("", &[endpoint.address], health))).await;
    for number in 1..=4 {
        let checks = endpoint.checks();
        push(&weir, "p", &variant(&component("misbehave"), number)).await.unwrap();
        until("checks to go on", || endpoint.checks() >= checks + 3).await;
    }
    eventually("one instance", || async { (instances(&weir, "p").await <= 1.0).then_some(()) }).await;
}

#[tokio::test]
async fn a_thousand_bindings_share_one_instance() {
    let routes: String = (0..1_000)
        .map(|number| {
            let binding = format!("{{ plugin = \"p\", settings = {{ do = \"bindings\", number = {number} }} }}");
            format!(
                "[[routes]]\nname = \"r{number}\"\nmatch = {{ path = \"/{number}\" }}\n\
                 plugins = [{binding}]\ncluster = \"c\"\n"
            )
        })
        .collect();
    let cluster = "[clusters.c]\nendpoints = [\"127.0.0.1:1\"]\n";
    let weir = start(&[&plugin("p", "misbehave", "deadline = \"100ms\""), &routes, cluster].concat()).await;
    let mut client = Client::http1(weir.web()).await;
    for number in 0..1_000 {
        // Each answers with the number of bindings its instance has taken up.
        assert_eq!(client.get(&format!("/{number}")).await.text(), (number + 1).to_string());
    }
    assert_eq!(instances(&weir, "p").await, 1.0);
}

#[tokio::test]
async fn each_worker_has_an_instance_and_no_more() {
    let route = "plugins = [{ plugin = \"p\", settings = { do = \"bindings\" } }]";
    let config = plugin("p", "misbehave", "deadline = \"100ms\"") + &all(route, &["127.0.0.1:1"], "");
    let weir = Weir::start(&complete(&config).replace("workers = 1", "workers = 3")).await;
    let patience = std::time::Duration::from_secs(30);
    eventually_within(patience, "three instances", || async {
        assert_eq!(ask(&weir, "/", &[]).await.text(), "1");
        (instances(&weir, "p").await == 3.0).then_some(())
    })
    .await;
    for _ in 0..50 {
        ask(&weir, "/", &[]).await;
    }
    assert_eq!(instances(&weir, "p").await, 3.0);
}

#[tokio::test]
async fn a_restart_does_not_compile_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let route = "plugins = [{ plugin = \"p\", settings = { do = \"bindings\" } }]";
    let config = plugin("p", "misbehave", "deadline = \"100ms\"") + &all(route, &["127.0.0.1:1"], "");
    let config = complete(&config).replace("workers = 1", &format!("workers = 1\nplugin-cache = {cache:?}"));
    let restart = async || assert_eq!(ask(&Weir::start(&config).await, "/", &[]).await.text(), "1");
    restart().await;
    let compiled = files(&cache);
    assert_eq!(compiled.len(), 2, "code and its checksum: {compiled:?}");
    restart().await;
    assert_eq!(files(&cache), compiled);
    // Code that is not what was written is not run.
    let code = compiled.keys().find(|path| path.extension().is_some_and(|end| end == "cwasm")).unwrap();
    std::fs::write(code, "damaged").unwrap();
    restart().await;
    assert!(std::fs::metadata(code).unwrap().len() > 10_000);
}

/// What is in a folder; a file that is written again has another inode.
fn files(folder: &std::path::Path) -> std::collections::BTreeMap<std::path::PathBuf, u64> {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.path(), entry.metadata().unwrap().ino())).collect()
}

#[tokio::test]
async fn a_plugin_that_takes_long_to_configure_is_ready_before_it_is_asked() {
    let endpoint = Endpoint::start("native").await;
    let settings = format!("settings = {{ a = \"{}\", do = \"bindings\" }}", "x".repeat(4 << 20));
    let route = "plugins = [\"p\"]";
    let weir = start(&(plugin("p", "misbehave", &settings) + &all(route, &[endpoint.address], ""))).await;
    assert_eq!(instances(&weir, "p").await, 2.0, "one for the worker, and one to go on with");
    assert_eq!(ask(&weir, "/", &[]).await.text(), "1");
    for number in 1..=3 {
        push(&weir, "p", &variant(&component("misbehave"), number)).await.unwrap();
        assert_eq!(ask(&weir, "/", &[]).await.text(), "1", "the new version decides at once");
    }
    assert_eq!(endpoint.requests(), 0);
}
