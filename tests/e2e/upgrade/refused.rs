//! A process that cannot take over leaves the running one as it is, and says why.

use std::{fs, os::unix::fs::PermissionsExt, process::Output};

use nix::sys::signal::Signal::SIGTERM;

use super::{super::harness::*, SOCKET, text, upgrade, upgraded};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A program beside the configuration.
fn program(weir: &Weir, name: &str, script: &str) -> String {
    let path = weir.path(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The upgrade fails for this reason, which the command and the log tell, and everything is as it was.
async fn stays(weir: &Weir, arguments: &[&str], why: &str) {
    let failed = weir.metric("weir_upgrades_failed_total").await;
    let output = upgrade(weir, arguments).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains(why), "{why}? {}", said(&output));
    weir.said_where("upgrade failed, this process goes on", |line| line["why"].as_str().unwrap().contains(why)).await;
    assert_eq!(weir.metric("weir_upgrades_failed_total").await, failed + 1.0);
    assert_eq!(weir.status().await["pid"], weir.pid());
    assert_eq!(get(weir.web(), "/").await.text(), "a");
}

#[tokio::test]
async fn a_faulty_configuration() {
    let endpoint = Endpoint::start("a").await;
    let good = text(endpoint.address, "watch = false", "");
    let weir = Weir::start(&good).await;
    weir.configure(&text(endpoint.address, "watch = false", "balanse = \"random\""));
    stays(&weir, &[], "did you mean `balance`").await;
    let asked = run(&["upgrade", "--config", weir.path("weir.toml").to_str().unwrap()]);
    assert_eq!(asked.status.code(), Some(2));
    assert!(said(&asked).contains("did you mean `balance`"), "{}", said(&asked));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let listener = format!("[listeners.taken]\naddress = \"{address}\"\n[[routes]]");
    weir.configure(&good.replacen("[[routes]]", &listener, 1));
    stays(&weir, &[], &format!("listener taken: {address}")).await;
    weir.configure(&good);
    let asked = run(&["upgrade", "--config", weir.path("weir.toml").to_str().unwrap()]);
    assert!(asked.status.success(), "{}", said(&asked));
}

#[tokio::test]
async fn a_program_that_is_not_there_ends_or_is_something_else() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&text(endpoint.address, "upgrade-timeout = \"20s\"", "")).await;
    let asked = upgrade(&weir, &["--binary", "/nowhere/weir"]).await;
    assert_eq!(asked.status.code(), Some(1));
    assert!(said(&asked).contains("/nowhere/weir"), "{}", said(&asked));
    stays(&weir, &["--binary", &program(&weir, "dies", "exit 7")], "exit code 7").await;
    stays(&weir, &["--binary", &program(&weir, "killed", "kill -9 $$")], "signal 9").await;
    stays(&weir, &["--binary", &program(&weir, "talks", "printf 'hello, it is me' >&0")], "").await;
    upgraded(&weir).await;
}

#[tokio::test]
async fn a_program_that_is_never_ready() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&text(endpoint.address, "upgrade-timeout = \"300ms\"", "")).await;
    let sleeps = program(&weir, "sleeps", "exec sleep 600");
    stays(&weir, &["--binary", &sleeps], "not ready within 300ms").await;
    let pid = weir.said("upgrading").await["pid"].as_u64().unwrap();
    super::gone(pid as u32).await;
}

#[tokio::test]
async fn one_upgrade_at_a_time_and_none_of_a_process_that_ends() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = Weir::start(&text(endpoint.address, "upgrade-timeout = \"1h\"", "")).await;
    let sleeps = program(&weir, "sleeps", "exec sleep 600");
    let socket = weir.path(SOCKET).to_str().unwrap().to_owned();
    let asking = tokio::task::spawn_blocking(move || run(&["upgrade", "--socket", &socket, "--binary", &sleeps]));
    let pid = weir.said("upgrading").await["pid"].as_u64().unwrap();
    stays(&weir, &[], "under way already").await;
    weir.signal(SIGTERM);
    let asked = soon("the answer", asking).await.unwrap();
    assert_eq!(asked.status.code(), Some(1));
    assert!(said(&asked).contains("told to end"), "{}", said(&asked));
    assert_eq!(weir.ended().await.code(), Some(0));
    super::gone(pid as u32).await;
    let line = weir.said("no upgrade: this process ends").await;
    assert!(line["why"].as_str().unwrap().contains("told to end"), "{line}");
    let goes_on = weir.stderr().lines().filter(|line| line.contains("this process goes on")).count();
    assert_eq!(goes_on, 1, "that of the second request");
}

#[tokio::test]
async fn nobody_is_there_to_be_asked() {
    let endpoint = Endpoint::start("a").await;
    let setup = Setup::new(&text(endpoint.address, "", ""));
    let config = setup.folder().join("weir.toml");
    let asked = run(&["upgrade", "--config", config.to_str().unwrap()]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(said(&asked).contains("is weir running"), "{}", said(&asked));
    let setup = Setup::new("[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"a\"\nrespond = {}\n");
    let asked = run(&["upgrade", "--config", setup.folder().join("weir.toml").to_str().unwrap()]);
    assert_eq!(asked.status.code(), Some(2));
    assert!(said(&asked).contains("SIGUSR2"), "{}", said(&asked));
}
