//! The demo without a terminal: asks, pushes a second version of the plugin under load, rolls back,
//! and judges every answer.

use std::{
    net::SocketAddr,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    load::Load,
    stage::Stage,
    users::{self, USERS, endpoint_of, good},
};
use crate::{
    http::{self, Request, Response},
    paths,
    process::output,
};

/// Concurrent clients during the push.
const CLIENTS: usize = 8;
/// Requests that must pass between two steps.
const BETWEEN: u64 = 500;
/// Longest wait for a change to show.
const PATIENCE: Duration = Duration::from_secs(30);

/// Go through it; the code is 0 when every answer was right.
pub fn run() -> Result<ExitCode> {
    let stage = Stage::on_free_ports()?;
    if let Err(error) = go_through(&stage) {
        eprintln!("{}\n", stage.log());
        return Err(error);
    }
    stage.stop()?;
    println!("demo: all as it should be");
    Ok(ExitCode::SUCCESS)
}

fn go_through(stage: &Stage) -> Result<()> {
    wait_until_ready(stage.admin())?;
    first_requests(stage)?;
    let load = Load::start(stage.web(), CLIENTS);
    let changed = change_and_return(stage, &load);
    let outcome = load.stop();
    changed?;
    println!("load: {} requests answered, {} failed", outcome.answered, outcome.failed);
    if let Some(why) = outcome.first_failure {
        bail!("a request failed under load: {why}");
    }
    Ok(())
}

/// Wait until every cluster can serve.
pub fn wait_until_ready(admin: SocketAddr) -> Result<()> {
    wait("Weir is ready", || Ok(http::send(admin, &Request::get("/readyz")).is_ok_and(|answer| answer.status == 200)))
}

fn first_requests(stage: &Stage) -> Result<()> {
    let first = ask(stage.web(), "/", &[])?;
    println!("GET / -> {}", first.text().trim_end());

    let alice = [("x-user", "alice")];
    let endpoint = endpoint_of(&ask(stage.web(), "/hello", &alice)?)?;
    for _ in 0..10 {
        let again = endpoint_of(&ask(stage.web(), "/hello", &alice)?)?;
        ensure!(again == endpoint, "alice met {endpoint}, then {again}");
    }
    println!("x-user: alice -> {endpoint}, eleven times");

    let canary = endpoint_of(&ask(stage.web(), "/hello", &[("x-canary", "always")])?)?;
    ensure!(canary == "three", "x-canary: always went to {canary}, not to three");
    println!("x-canary: always -> {canary}");

    let status = http::send(stage.admin(), &Request::get("/v1/status"))?;
    let status: serde_json::Value = serde_json::from_slice(&status.body).context("/v1/status is not JSON")?;
    ensure!(status.to_string().contains("canary"), "/v1/status does not name the plugin");
    println!("GET /v1/status -> JSON that names the plugin");
    Ok(())
}

fn change_and_return(stage: &Stage, load: &Load) -> Result<()> {
    pass(load)?;
    let before = users::of_canary(stage.web())?;
    println!("version 1 sends {} of {USERS} users to the canary", before.len());

    let file = paths::guests().join("canary-v2.wasm");
    plugin(stage, &["push", "canary", &file.display().to_string()])?;
    wait("the decisions change", || Ok(users::of_canary(stage.web())? != before))?;
    let after = users::of_canary(stage.web())?;
    println!("version 2 sends {} of {USERS} users to the canary", after.len());
    pass(load)?;

    plugin(stage, &["rollback", "canary"])?;
    wait("the decisions return", || Ok(users::of_canary(stage.web())? == before))?;
    println!("rolled back: the same {} users as before", before.len());
    pass(load)
}

/// Some more requests under load, none of them failed.
fn pass(load: &Load) -> Result<()> {
    let goal = load.answered() + BETWEEN;
    wait("requests are answered under load", || Ok(load.answered() >= goal || load.has_failed()))
}

fn plugin(stage: &Stage, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(paths::weir("debug"));
    command.arg("plugin").args(arguments).args(["--admin", &stage.admin().to_string()]);
    print!("weir plugin {}\n{}", arguments.join(" "), output(&mut command)?);
    Ok(())
}

fn ask(web: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
    good(http::send(web, &Request { headers, ..Request::get(path) })?)
}

fn wait(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done()? {
        ensure!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
