//! Which version decides: after a push, a rollback, a change of the file, a reload.

use nix::sys::signal::Signal;

use super::stage::{all, ask, command, complete, component, current, push, variant};
use crate::e2e::harness::{Setup, Weir, eventually, guest};

/// `misbehave` in a file of its own, which answers one word and may become `keeper`, which answers four.
async fn answering() -> Weir {
    let keys = "[plugins.p]\npath = \"p.wasm\"\ndeadline = \"100ms\"\nsettings = { do = \"bindings\" }\n\
                grants = [\"log\", \"metrics\", \"clock\", \"random\", \"kv\"]\n";
    let config = complete(&(keys.to_owned() + &all("plugins = [\"p\"]", &["127.0.0.1:1"], "")));
    Setup::new(&config).file("p.wasm", component("misbehave")).start().await
}

async fn words(weir: &Weir) -> usize {
    ask(weir, "/", &[]).await.text().split_whitespace().count()
}

#[tokio::test]
async fn a_push_decides_from_the_next_request_on() {
    let weir = answering().await;
    let before = current(&weir).await;
    assert_eq!(words(&weir).await, 1);
    let answer = push(&weir, "p", &component("keeper")).await.unwrap();
    assert_eq!(words(&weir).await, 4);
    let after = current(&weir).await;
    assert_ne!(before, after);
    assert_eq!((&answer["previous"], &answer["sha256"]), (&before.into(), &after.into()));
}

#[tokio::test]
async fn the_command_line_pushes_lists_and_brings_back() {
    let weir = answering().await;
    let first = current(&weir).await;
    let said = command(&weir, &["push", "p", guest("keeper").to_str().unwrap()]).unwrap();
    let second = current(&weir).await;
    assert_eq!(words(&weir).await, 4);
    assert!(said.contains(&format!("p is now version {}", &second[..12])), "{said}");
    assert!(said.contains("weir plugin rollback p"), "{said}");
    let list = command(&weir, &["list"]).unwrap();
    assert!(list.contains(&format!("{}*", &second[..12])) && list.contains(&first[..12]), "{list}");

    command(&weir, &["rollback", "p"]).unwrap();
    assert_eq!((words(&weir).await, current(&weir).await), (1, first));
    let none = command(&weir, &["rollback", "p"]).unwrap_err();
    assert!(none.contains("no version before this one"), "{none}");
    command(&weir, &["rollback", "p", "--to", &second[..8]]).unwrap();
    assert_eq!((words(&weir).await, current(&weir).await), (4, second));
    let unknown = command(&weir, &["rollback", "p", "--to", "00000000"]).unwrap_err();
    assert!(unknown.contains("plugin p has no version 00000000"), "{unknown}");
}

#[tokio::test]
async fn a_file_that_changes_is_taken_up() {
    let weir = answering().await;
    assert_eq!(words(&weir).await, 1);
    weir.write("p.wasm", component("keeper"));
    eventually("the file to decide", || async { (words(&weir).await == 4).then_some(()) }).await;
    weir.write("p.wasm", "this is no plugin");
    let refusal = weir.said("configuration refused, the former one goes on").await;
    assert!(refusal["faults"].as_str().unwrap().contains("p.wasm"), "{refusal}");
    assert_eq!(words(&weir).await, 4);
}

#[tokio::test]
async fn a_reload_keeps_what_was_pushed_until_the_file_changes() {
    let weir = answering().await;
    push(&weir, "p", &component("keeper")).await.unwrap();
    let (pushed, snapshot) = (current(&weir).await, weir.snapshot().await);
    weir.signal(Signal::SIGHUP);
    weir.after(snapshot).await;
    assert_eq!((words(&weir).await, current(&weir).await), (4, pushed.clone()));
    weir.write("p.wasm", variant(&component("misbehave"), 1));
    eventually("the file to decide", || async { (current(&weir).await != pushed).then_some(()) }).await;
    assert_eq!(words(&weir).await, 1);
    command(&weir, &["rollback", "p"]).unwrap();
    assert_eq!((words(&weir).await, current(&weir).await), (4, pushed));
}
