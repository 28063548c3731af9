//! `cargo xtask test`: every check, cheap ones first, with the time each took.

use std::{
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    guests, paths,
    process::{cargo, installed, run as execute},
};

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 7] = [
    ("format", format),
    ("lints", lints),
    ("guests", guests::run),
    ("unit and end to end", tests),
    ("examples in documentation", doc_tests),
    ("plugins", plugins),
    ("documentation", documentation),
];

/// Run the steps until one fails.
pub fn run() -> Result<ExitCode> {
    let mut done: Vec<(&str, Duration, bool)> = Vec::new();
    for (name, step) in STEPS {
        println!("\n== {name}");
        let start = Instant::now();
        let result = step();
        if let Err(error) = &result {
            eprintln!("error: {error:#}");
        }
        done.push((name, start.elapsed(), result.is_ok()));
        if result.is_err() {
            break;
        }
    }
    Ok(summary(&done))
}

fn summary(done: &[(&str, Duration, bool)]) -> ExitCode {
    println!("\n== summary");
    for (name, time, passed) in done {
        let word = if *passed { "passed" } else { "FAILED" };
        println!("{word}  {:>7.1} s  {name}", time.as_secs_f64());
    }
    for (name, _) in STEPS.iter().skip(done.len()) {
        println!("not run            {name}");
    }
    if done.iter().all(|(_, _, passed)| *passed) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn format() -> Result<()> {
    for workspace in [".", "plugins", "tests/guests"].map(|folder| paths::root().join(folder)) {
        if workspace.join("Cargo.toml").is_file() {
            execute(cargo().current_dir(&workspace).args(["fmt", "--all", "--check"]))?;
        }
    }
    Ok(())
}

fn lints() -> Result<()> {
    let rest = ["--workspace", "--all-targets", "--", "-D", "warnings"];
    execute(cargo().arg("clippy").args(rest))?;
    execute(plugin_cargo().arg("clippy").args(rest))
}

fn tests() -> Result<()> {
    if installed("cargo-nextest") {
        return execute(cargo().args(["nextest", "run", "--workspace", "--no-fail-fast"]));
    }
    execute(cargo().args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]))
}

fn doc_tests() -> Result<()> {
    execute(cargo().args(["test", "--workspace", "--doc"]))
}

fn plugins() -> Result<()> {
    execute(plugin_cargo().args(["test", "--workspace"]))
}

fn documentation() -> Result<()> {
    execute(cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Cargo in the plugins' own workspace, which keeps its own target folder.
fn plugin_cargo() -> Command {
    let mut command = cargo();
    command.current_dir(paths::root().join("plugins")).env_remove("CARGO_TARGET_DIR");
    command
}
