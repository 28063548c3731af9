//! `cargo xtask demo`: three endpoints and Weir in front of them, on examples/quickstart/weir.toml.

mod load;
mod screen;
mod script;
mod stage;
mod users;

use std::{process::ExitCode, thread, time::Duration};

use anyhow::{Context, Result};
use clap::Args;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    guests, paths,
    process::{cargo, run as execute},
};
use screen::Screen;
use stage::Stage;

/// `cargo xtask demo`
#[derive(Args)]
pub struct Options {
    /// Ask, push a plugin under load, roll back and judge the answers; no terminal needed.
    #[arg(long)]
    script: bool,
}

/// Prepare what is missing, then show it or go through it.
pub fn run(options: &Options) -> Result<ExitCode> {
    prepare()?;
    if options.script { script::run() } else { show() }
}

fn prepare() -> Result<()> {
    println!("building the plugins, as WebAssembly components");
    guests::run().context("cannot build the guests")?;
    println!("building Weir; the first build compiles a WebAssembly compiler and TLS, which takes minutes");
    // All of the workspace, so that dependencies get the features they have in tests and are built once.
    execute(cargo().args(["build", "--workspace", "--bins"]))
}

fn show() -> Result<ExitCode> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let mut stage = Stage::on_the_example()?;
    let log = stage.access_log()?;
    script::wait_until_ready(stage.admin())?;
    let shares = users::shares(stage.web())?;
    let screen = Screen::open(&lines_to_try(&shares));
    // Ends with Weir, which closes its end of the pipe.
    let follower = thread::spawn(move || {
        screen.follow(log);
        drop(screen);
    });
    while signals.pending().next().is_none() {
        stage.still_runs()?;
        thread::sleep(Duration::from_millis(100));
    }
    stage.stop()?;
    drop(follower.join());
    println!("Weir and its endpoints have ended");
    Ok(ExitCode::SUCCESS)
}

fn lines_to_try(shares: &str) -> String {
    let here = paths::root();
    let short = |path: std::path::PathBuf| match path.strip_prefix(&here) {
        Ok(inside) => inside.display().to_string(),
        Err(_) => path.display().to_string(),
    };
    let (weir, guests) = (short(paths::weir("debug")), short(paths::guests()));
    format!(
        "\
Weir listens on http://127.0.0.1:8080 in front of one and two (v1) and three (v2).
{shares}
Try, in another terminal:
  curl http://127.0.0.1:8080/
  curl -H 'x-user: alice' http://127.0.0.1:8080/hello      # the same user meets the same endpoint
  curl -H 'x-canary: always' http://127.0.0.1:8080/hello   # the plugin's override: always v2
  curl http://127.0.0.1:9001/sick                          # one says it is unwell; /well ends that
  curl http://127.0.0.1:9901/v1/status                     # what runs, as JSON
  {weir} plugin push canary {guests}/canary-v2.wasm
  {weir} plugin rollback canary
Ctrl-C ends everything. Requests:
"
    )
}
