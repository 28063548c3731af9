//! `cargo xtask bench`: Weir beside nginx and haproxy in one run.
//!
//! Each proxy has one worker on core 0; clients and endpoints share core 1. The figure is CPU time of
//! the proxy per request, so that a busy client or a noisy clock does not change it.

mod config;
mod cpu;
mod load;
mod machine;
mod memory;
mod proxy;
mod report;
mod scenario;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{
    guests, paths,
    peers::{self, Kind},
    process::Scratch,
    release,
};
pub use load::{Traffic, ask};
use memory::Footprint;
use proxy::{Proxy, Yard};
use report::Report;
use scenario::{Measured, SCENARIOS, Scenario};

/// Program and the package that holds it.
const TOOLS: [(&str, &str); 6] = [
    ("nginx", "nginx"),
    ("haproxy", "haproxy"),
    ("h2load", "nghttp2-client"),
    ("ab", "apache2-utils"),
    ("openssl", "openssl"),
    ("taskset", "util-linux"),
];

/// `cargo xtask bench`
#[derive(Args)]
pub struct Options {
    /// Only this scenario (`memory` for the memory part); may be repeated.
    #[arg(long = "scenario", value_name = "NAME")]
    scenarios: Vec<String>,
    /// Measured rounds of each scenario; their median counts.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// A fifth of the requests and three rounds: enough to see that it works.
    #[arg(long)]
    quick: bool,
    /// Measure this binary instead of one that is built as by `cargo xtask release`.
    #[arg(long, value_name = "PATH")]
    weir: Option<PathBuf>,
    /// Measure nginx and haproxy alone.
    #[arg(long, conflicts_with = "weir")]
    no_weir: bool,
    /// Rewrite docs/benchmarks.md with the figures.
    #[arg(long)]
    write: bool,
}

/// Measure, print the tables, write the files.
pub fn run(options: &Options) -> Result<ExitCode> {
    let chosen = options.chosen()?;
    prepare()?;
    let weir = options.binary()?;
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| weir.is_some() || *kind != Kind::Weir).collect();

    let scratch = Scratch::build(&paths::target(), "bench")?;
    let yard = Yard::open(scratch.path(), weir.as_deref())?;
    let measured = scenarios(options, &yard, &kinds, &chosen)?;
    let footprints = if options.wants_memory() { footprints(&yard, &kinds)? } else { Vec::new() };

    let report = Report { machine: machine::describe(weir.as_deref())?, measured, footprints };
    report.publish(options.write)?;
    Ok(ExitCode::SUCCESS)
}

/// Take a weir through every scenario once, alone, with a tenth of the requests.
pub fn exercise(weir: &Path) -> Result<()> {
    let scratch = Scratch::build(&paths::target(), "exercise")?;
    let yard = Yard::open(scratch.path(), Some(weir))?;
    let proxy = yard.start(Kind::Weir)?;
    for scenario in &SCENARIOS {
        let requests = scenario.requests / 10;
        eprintln!("  {requests} of {}", scenario.name);
        load::run(&scenario.traffic, &proxy.url(scenario), requests)?;
    }
    let ended = proxy.stop()?;
    ensure!(ended.success(), "weir ended with {ended}");
    Ok(())
}

/// What every run needs: cores, programs, plugins, open files.
pub fn prepare() -> Result<()> {
    machine::check()?;
    peers::install(&TOOLS)?;
    let built = |name: &str| paths::guests().join(name).is_file();
    if !["canary.wasm", "consistent-hash.wasm", "tenant-affinity.wasm"].into_iter().all(built) {
        guests::run()?;
    }
    raise_open_files()
}

impl Options {
    fn rounds(&self) -> usize {
        if self.quick { self.rounds.min(3) } else { self.rounds.max(1) }
    }

    fn requests(&self, scenario: &Scenario) -> u64 {
        if self.quick { scenario.requests / 5 } else { scenario.requests }
    }

    fn chosen(&self) -> Result<Vec<&'static Scenario>> {
        let known = |name: &String| name == "memory" || SCENARIOS.iter().any(|scenario| scenario.name == *name);
        if let Some(name) = self.scenarios.iter().find(|name| !known(name)) {
            let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            bail!("no scenario {name}; there are {}, memory", names.join(", "));
        }
        let wanted =
            |scenario: &&Scenario| self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == scenario.name);
        Ok(SCENARIOS.iter().filter(wanted).collect())
    }

    fn wants_memory(&self) -> bool {
        self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == "memory")
    }

    /// The binary to measure, built when none is given.
    fn binary(&self) -> Result<Option<PathBuf>> {
        if self.no_weir {
            return Ok(None);
        }
        match &self.weir {
            Some(path) => path.canonicalize().map(Some).with_context(|| format!("no {}", path.display())),
            None => release::build().map(Some),
        }
    }
}

fn scenarios(options: &Options, yard: &Yard, kinds: &[Kind], chosen: &[&'static Scenario]) -> Result<Vec<Measured>> {
    let proxies: Vec<Proxy> = kinds.iter().map(|kind| yard.start(*kind)).collect::<Result<_>>()?;
    let mut measured = Vec::new();
    for group in scenario::together(chosen) {
        group.iter().for_each(|scenario| eprintln!("{}: {}", scenario.name, scenario.what));
        let requests = |scenario: &Scenario| options.requests(scenario);
        measured.extend(scenario::measure(&group, &proxies, options.rounds(), requests)?);
    }
    Ok(measured)
}

fn footprints(yard: &Yard, kinds: &[Kind]) -> Result<Vec<Footprint>> {
    eprintln!("memory: idle process, then {} idle connections, plain and TLS", memory::CONNECTIONS);
    kinds.iter().map(|kind| memory::measure(yard, *kind)).collect()
}

/// Ours and, by inheritance, that of everything we start.
fn raise_open_files() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of open files")
}
