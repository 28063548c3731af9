//! The project's own commands: `cargo xtask <demo|test|guests|release|bench|conformance>`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod bench;
mod checks;
mod conformance;
mod datagrams;
mod demo;
mod endpoint;
mod guests;
mod http;
mod paths;
mod peers;
mod process;
mod release;
mod tables;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about = "The project's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start Weir with three small endpoints on examples/quickstart and say what to try.
    Demo(demo::Options),
    /// Run every check: format, lints, guests, all tests, documentation.
    Test,
    /// Build the plugins, and the guests of the tests, into target/guests.
    Guests,
    /// Build the fastest weir: optimised by a profile of its own work.
    Release,
    /// Measure Weir beside nginx and haproxy.
    Bench(bench::Options),
    /// Run third-party suites against Weir, nginx and haproxy.
    Conformance(conformance::Options),
    /// Datagrams for the bench.
    #[command(hide = true)]
    Datagrams(datagrams::Options),
    /// One of the demo's HTTP endpoints.
    #[command(hide = true)]
    Endpoint(endpoint::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo(options) => demo::run(&options),
        Command::Test => checks::run(),
        Command::Guests => guests::run().map(|()| ExitCode::SUCCESS),
        Command::Release => release::run(),
        Command::Bench(options) => bench::run(&options),
        Command::Conformance(options) => conformance::run(&options),
        Command::Datagrams(options) => datagrams::run(&options),
        Command::Endpoint(options) => endpoint::run(&options),
    }
}
