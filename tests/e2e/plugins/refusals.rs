//! Components that are not taken: the former one decides on, and the operator is told why.

use std::fs;

use super::stage::{all, ask, command, component, plugin, push, replaced, start};
use crate::e2e::harness::{Setup, Weir};

const GRANTS: &str = "grants = [\"log\", \"metrics\", \"clock\", \"random\", \"kv\"]";

/// A guest under the name `p`, which answers everything by itself.
async fn deciding(file: &str, keys: &str) -> Weir {
    start(&(plugin("p", file, keys) + &all("plugins = [\"p\"]", &["127.0.0.1:1"], ""))).await
}

/// Pushed by the admin interface and by the command line: both say why, and nothing has changed.
async fn refused(weir: &Weir, component: &[u8], why: &[&str]) {
    let (status, reply) = (weir.status().await, ask(weir, "/", &[]).await);
    let told = push(weir, "p", component).await.unwrap_err();
    let file = weir.path("refused.wasm");
    fs::write(&file, component).unwrap();
    let said = command(weir, &["push", "p", file.to_str().unwrap()]).unwrap_err();
    for part in why {
        assert!(told.contains(part), "{part:?} is not in {told:?}");
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    assert_eq!(ask(weir, "/", &[]).await.status, reply.status);
    let after = weir.status().await;
    assert_eq!((&after["plugins"], &after["snapshot"]), (&status["plugins"], &status["snapshot"]));
}

#[tokio::test]
async fn what_is_no_component() {
    let weir = deciding("keeper", GRANTS).await;
    refused(&weir, b"not wasm at all", &["not", "WebAssembly"]).await;
    refused(&weir, b" ", &["not", "WebAssembly"]).await;
    refused(&weir, b"\0asm\x01\0\0\0", &["core module"]).await;
    refused(&weir, &component("keeper")[..5_000], &["not a valid component"]).await;
}

#[tokio::test]
async fn a_component_without_the_role() {
    let weir = deciding("keeper", GRANTS).await;
    let why = ["has not the role `router` (it has: balancer)", "route all"];
    refused(&weir, &component("consistent-hash"), &why).await;
}

#[tokio::test]
async fn a_component_of_another_contract() {
    let weir = deciding("keeper", GRANTS).await;
    let other = replaced(&component("keeper"), b"@0.1.0", b"@0.9.0");
    refused(&weir, &other, &["contract version 0.9.0, this Weir speaks 0.1"]).await;
}

#[tokio::test]
async fn a_component_that_wants_what_no_plugin_gets() {
    let weir = deciding("keeper", GRANTS).await;
    let wasi = replaced(&component("misbehave"), b"weir:plugin/target@0.1.0", b"wasi:random/random@0.2.0");
    refused(&weir, &wasi, &["wasi:random/random@0.2.0"]).await;
}

#[tokio::test]
async fn a_component_that_wants_what_it_was_not_granted() {
    let weir = deciding("misbehave", "settings = { do = \"bindings\" }").await;
    refused(&weir, &component("keeper"), &["kv"]).await;
}

#[tokio::test]
async fn a_component_that_refuses_its_settings() {
    let weir = deciding("keeper", &format!("{GRANTS}\nsettings = {{ do = \"refuse\" }}")).await;
    refused(&weir, &component("misbehave"), &["refuses its settings: `do` must not be \"refuse\""]).await;
}

#[tokio::test]
async fn a_component_that_fails_while_it_is_tried() {
    for (harm, why) in [("trap-at-start", "trapped"), ("loop-at-start", "deadline")] {
        let weir = deciding("keeper", &format!("{GRANTS}\nsettings = {{ do = \"{harm}\" }}")).await;
        refused(&weir, &component("misbehave"), &[why]).await;
    }
}

#[tokio::test]
async fn a_plugin_that_nobody_configured() {
    let weir = deciding("keeper", GRANTS).await;
    let why = "there is no plugin q; there is: p";
    assert_eq!(push(&weir, "q", &component("keeper")).await.unwrap_err(), why);
    let file = weir.path("q.wasm");
    fs::write(&file, component("keeper")).unwrap();
    assert!(command(&weir, &["push", "q", file.to_str().unwrap()]).unwrap_err().contains(why));
    assert!(command(&weir, &["rollback", "q"]).unwrap_err().contains(why));
}

#[tokio::test]
async fn a_start_with_a_plugin_that_is_none() {
    let config = "[plugins.p]\npath = \"p.wasm\"\n".to_owned() + &all("plugins = [\"p\"]", &["127.0.0.1:1"], "");
    let setup = Setup::new(&super::stage::complete(&config)).file("p.wasm", "no wasm");
    let output = setup.run();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("plugin p:") && said.contains("p.wasm: is not WebAssembly"), "{said}");
}
