//! Compiling, which a plugin can make as expensive as it likes: it has limits, and nothing waits for it.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use http::Method;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::stage::{all, ask, command, complete, component, current, plugin, push, variant};
use crate::e2e::harness::{Setup, Weir, eventually, until};

/// A few hundred bytes that instantiate a module a million times.
fn multiplying() -> Vec<u8> {
    let mut text = String::from("(component $c0 (core module $m) (core instance (instantiate $m)))");
    for level in 1..=20 {
        let inner = level - 1;
        let twice = format!("(instance (instantiate $c{inner}))").repeat(2);
        text = format!("(component $c{level} {text} {twice})");
    }
    wat::parse_str(text).unwrap()
}

/// A function whose blocks join all that each of its locals can be: it takes a compiler the longer the more there are.
fn joining(blocks: usize, locals: usize) -> Vec<u8> {
    let mut body = String::new();
    for number in 0..blocks {
        let local = 1 + number % locals;
        let _ = write!(
            body,
            "(block (br_if 0 (local.get 0)) (local.set {local} (i32.add (local.get {local}) (local.get 0))))"
        );
    }
    let locals = "i32 ".repeat(locals);
    let text = format!("(component (core module (func (param i32) (local {locals}) (loop {body} (br 0)))))");
    wat::parse_str(text).unwrap()
}

/// One that takes a compiler some minutes.
fn endless() -> Vec<u8> {
    joining(20_000, 3_000)
}

/// A route for which `p` decides, with these keys of the process and a cache of its own.
fn deciding(process: &str) -> Setup {
    let keys = "[plugins.p]\npath = \"p.wasm\"\ndeadline = \"100ms\"\nsettings = { do = \"bindings\" }\n\
                grants = [\"log\", \"metrics\", \"clock\", \"random\", \"kv\"]\n";
    let config = complete(&(keys.to_owned() + &all("plugins = [\"p\"]", &["127.0.0.1:1"], "")));
    let process = format!("workers = 1\nplugin-cache = \"cache\"\nwatch = false\n{process}");
    Setup::new(&config.replace("workers = 1", &process)).file("p.wasm", component("misbehave"))
}

/// A push that is not waited for.
async fn begin_push(weir: &Weir, component: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(weir.admin).await.unwrap();
    let head = format!("PUT /v1/plugins/p HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", component.len());
    stream.write_all(&[head.as_bytes(), component].concat()).await.unwrap();
    stream
}

async fn compiling(weir: &Weir) -> Vec<Value> {
    weir.status().await["compiling"].as_array().unwrap().clone()
}

/// Processes that compile for this one.
fn children(weir: &Weir) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()?;
        (parent == weir.pid()).then_some(stat)
    });
    processes.collect()
}

/// Lowers the limits of one that runs.
async fn lower(weir: &Weir, limits: &str) {
    let text = fs::read_to_string(weir.path("weir.toml")).unwrap();
    weir.configure(&text.replace("watch = false", &format!("watch = false\nplugin-compile = {{ {limits} }}")));
    assert_eq!(weir.command(Method::POST, "/v1/reload", "").await.status, 200);
}

#[tokio::test]
async fn what_takes_too_much_is_refused_by_check_and_by_a_push() {
    let limits = "cpu = \"1s\"";
    let weir = deciding("").start().await;
    let before = current(&weir).await;
    lower(&weir, limits).await;
    let hostile =
        [(multiplying(), "core instances: a component may have at most 64"), (endless(), "`cpu` of `plugin-compile`")];
    for (component, why) in hostile {
        let refused = push(&weir, "p", &component).await.unwrap_err();
        assert!(refused.contains(why), "{refused}");
        let setup = deciding(&format!("plugin-compile = {{ {limits} }}")).file("p.wasm", &component);
        let checked = tokio::task::spawn_blocking(move || setup.check()).await.unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(2), "{said}");
        assert!(said.contains(why) && said.contains("p.wasm"), "{said}");
    }
    assert_eq!(current(&weir).await, before);
    assert_eq!(ask(&weir, "/", &[]).await.text(), "1");
    assert_eq!(children(&weir), Vec::<String>::new());
}

#[tokio::test]
async fn what_takes_too_long_or_too_much_memory_is_refused() {
    let endless = endless();
    for (limits, key) in [("time = \"1s\"", "`time`"), ("memory = \"512MiB\"", "`memory`")] {
        let weir = deciding("").start().await;
        lower(&weir, limits).await;
        let refused = push(&weir, "p", &endless).await.unwrap_err();
        assert!(refused.contains(&format!("{key} of `plugin-compile` in [process]")), "{refused}");
    }
}

#[tokio::test]
async fn what_is_not_granted_is_refused_before_it_is_compiled() {
    let weir = deciding("").start().await;
    let mut text = String::from("(component (import \"wasi:cli/stdout@0.2.0\" (instance)) (core module (func");
    text.push_str(&"(drop (i32.const 1))".repeat(100_000));
    text.push_str(")))");
    let refused = push(&weir, "p", &wat::parse_str(text).unwrap()).await.unwrap_err();
    assert!(refused.starts_with("imports wasi:cli/stdout@0.2.0"), "{refused}");
    assert_eq!(files(&weir.path("cache")).len(), 2, "nothing was compiled");
}

#[tokio::test]
async fn nothing_waits_for_a_component_that_compiles() {
    let weir = deciding("").start().await;
    let second = variant(&component("misbehave"), 1);
    push(&weir, "p", &second).await.unwrap();
    let endless = endless();
    let push_under_way = begin_push(&weir, &endless).await;
    let listed = eventually("it to compile", || async { compiling(&weir).await.into_iter().next() }).await;
    assert_eq!((&listed["plugin"], &listed["size"]), (&"p".into(), &endless.len().into()));
    assert!(command(&weir, &["list"]).unwrap().contains("compiling "), "{listed}");

    let endpoint = "/v1/clusters/c/endpoints/127.0.0.1:1";
    assert_eq!(weir.command(Method::POST, &format!("{endpoint}/drain"), "").await.status, 200);
    assert_eq!(weir.command(Method::PUT, "/v1/clusters/c/endpoints/127.0.0.1:2", "").await.status, 200);
    assert_eq!(weir.command(Method::POST, "/v1/reload", "").await.status, 200);
    command(&weir, &["rollback", "p"]).unwrap();
    push(&weir, "p", &component("misbehave")).await.unwrap();
    assert_eq!(compiling(&weir).await, [listed], "all of that was before it was compiled");
    assert_eq!(weir.endpoint("c", "127.0.0.1:1".parse().unwrap()).await["state"], "draining");

    drop(push_under_way);
    weir.said("the client of a push has left, its component is not compiled").await;
    eventually("nothing to compile", || async { compiling(&weir).await.is_empty().then_some(()) }).await;
    assert_eq!(children(&weir), Vec::<String>::new());
}

#[tokio::test]
async fn a_process_ends_without_waiting_for_what_compiles() {
    let mut weir = deciding("").start().await;
    let _push = begin_push(&weir, &endless()).await;
    until("a compiler", || !children(&weir).is_empty()).await;
    weir.write("p.wasm", endless());
    weir.signal(Signal::SIGHUP);
    let two = || async { (compiling(&weir).await.len() == 2).then_some(()) };
    eventually("the file to compile as well", two).await;
    let child = children(&weir)[0].split(' ').next().unwrap().parse().unwrap();
    weir.signal(Signal::SIGTERM);
    assert!(weir.ended().await.success());
    until("the compiler to end with it", || kill(Pid::from_raw(child), None).is_err()).await;
}

#[tokio::test]
async fn an_endpoint_is_drained_while_an_upgrade_hangs() {
    let weir = deciding("upgrade-socket = \"upgrade.sock\"\nupgrade-timeout = \"10m\"").start().await;
    let program = weir.path("hangs");
    fs::write(&program, "#!/bin/sh\nexec sleep 600\n").unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut asked = crate::e2e::harness::weir(&["upgrade", "--socket", weir.path("upgrade.sock").to_str().unwrap()])
        .args(["--binary", program.to_str().unwrap()])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let successor = weir.said("upgrading").await["successor"].as_u64();
    let drained = weir.command(Method::POST, "/v1/clusters/c/endpoints/127.0.0.1:1/drain", "").await;
    assert_eq!(drained.status, 200, "{}", drained.text());
    assert!(asked.try_wait().unwrap().is_none(), "the upgrade is still under way");
    let pid = successor.or_else(|| children(&weir)[0].split(' ').next()?.parse().ok()).unwrap();
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    assert_eq!(asked.wait().unwrap().code(), Some(1));
    assert_eq!(weir.endpoint("c", "127.0.0.1:1".parse().unwrap()).await["state"], "draining");
}

#[tokio::test]
async fn words_on_endpoints_outlast_reloads_at_the_same_time() {
    let setup = deciding("");
    let text = fs::read_to_string(setup.folder().join("weir.toml")).unwrap();
    let mut weir = setup.start().await;
    for number in 1..=12_u16 {
        let address = format!("127.0.0.1:{}", 1_000 + number);
        let text = text.replace("[clusters.c]", &format!("[clusters.c]\ndrain = \"{number}s\""));
        weir.configure(&text);
        let path = format!("/v1/clusters/c/endpoints/{address}");
        let (reload, word) =
            tokio::join!(weir.command(Method::POST, "/v1/reload", ""), weir.command(Method::PUT, &path, ""));
        assert_eq!((reload.status, word.status), (http::StatusCode::OK, http::StatusCode::OK));
        assert_eq!(weir.endpoint("c", address.parse().unwrap()).await["origin"], "admin");
    }
    weir.reload(&text).await.unwrap();
    let status = weir.status().await;
    assert_eq!(status["clusters"][0]["endpoints"].as_array().unwrap().len(), 13);
}

#[tokio::test]
async fn a_reload_loads_only_what_has_changed() {
    let weir = deciding("").start().await;
    let loaded = weir.status().await["plugins"].clone();
    for (file, _) in files(&weir.path("cache")) {
        fs::remove_file(weir.path("cache").join(file)).unwrap();
    }
    assert_eq!(weir.command(Method::POST, "/v1/reload", "").await.status, 200);
    assert!(files(&weir.path("cache")).is_empty(), "nothing was compiled");
    assert_eq!(weir.status().await["plugins"], loaded);
    weir.write("p.wasm", variant(&component("misbehave"), 1));
    assert_eq!(weir.command(Method::POST, "/v1/reload", "").await.status, 200);
    assert_eq!(files(&weir.path("cache")).len(), 2);
}

#[tokio::test]
async fn code_of_versions_that_do_not_decide_is_on_disk_and_not_in_memory() {
    let weir = deciding("").start().await;
    for number in 1..=3 {
        push(&weir, "p", &variant(&component("misbehave"), number)).await.unwrap();
        assert_eq!(ask(&weir, "/", &[]).await.text(), "1");
    }
    let newest = current(&weir).await;
    let in_memory = || mapped(&weir);
    until("one version in memory", || in_memory().len() == 1).await;
    assert!(in_memory().first().unwrap().contains(&newest), "{:?}", in_memory());
    let code = files(&weir.path("cache")).into_iter().filter(|(file, _)| file.ends_with(".cwasm"));
    assert_eq!(code.count(), 4);
    command(&weir, &["rollback", "p"]).unwrap();
    assert_eq!(ask(&weir, "/", &[]).await.text(), "1");
    let before = current(&weir).await;
    assert_ne!(before, newest);
    until("the other in its place", || in_memory().len() == 1 && in_memory().first().unwrap().contains(&before)).await;
}

#[tokio::test]
async fn more_instances_than_there_is_room_for_are_a_fault() {
    let plugins: String = (0..12).map(|number| plugin(&format!("p{number}"), "misbehave", "")).collect();
    let config = complete(&(plugins + &all("", &["127.0.0.1:1"], ""))).replace("workers = 1", "workers = 1024");
    let checked = Setup::new(&config).check();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(2), "{said}");
    let why = "12 plugins on 1024 workers may take 13312 instances at a time, and this process has room for 12000";
    assert!(said.contains(why) && said.contains("lower `workers` in [process]"), "{said}");
}

/// Compiled plugins that a process has in memory.
fn mapped(weir: &Weir) -> BTreeSet<String> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", weir.pid())).unwrap();
    maps.lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .filter(|file| file.ends_with(".cwasm"))
        .map(str::to_owned)
        .collect()
}

/// Names and sizes in a folder.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())).collect()
}
