//! `cargo xtask conformance`: suites that others wrote, and cases of ours for another's tool, against
//! Weir, nginx and haproxy in one run.
//!
//! A suite says how many of its cases each proxy passed and names the others. That a case fails is a
//! finding and no error: the command fails when a suite could not be run.

mod autobahn;
mod config;
mod proxy_protocol;
mod report;
mod slow;
mod smuggling;
mod tls;
mod tools;
mod vtc;
mod yard;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    paths,
    peers::{self, Kind, NGINX_STREAM},
    process::{Scratch, cargo, run as execute},
};
use report::Report;
use yard::Yard;

/// Program and the package that holds it.
const TOOLS: [(&str, &str); 9] = [
    ("nginx", "nginx"),
    (NGINX_STREAM, "libnginx-mod-stream"),
    ("haproxy", "haproxy"),
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("varnishtest", "varnish"),
    ("slowhttptest", "slowhttptest"),
    ("testssl", "testssl.sh"),
    ("hexdump", "bsdextrautils"),
];

/// `cargo xtask conformance`
#[derive(Args)]
pub struct Options {
    /// Only this suite; may be repeated.
    #[arg(long = "suite", value_name = "NAME")]
    suites: Vec<String>,
    /// Examine this binary instead of building one.
    #[arg(long, value_name = "PATH")]
    weir: Option<PathBuf>,
    /// Rewrite docs/conformance.md with the results.
    #[arg(long)]
    write: bool,
}

/// Cases that belong together.
pub struct Suite {
    /// As `--suite` names it.
    pub name: &'static str,
    /// What it asks, for people.
    pub what: &'static str,
    run: fn(&Yard) -> Result<Outcome>,
}

/// In the order they are run and shown.
pub const SUITES: [Suite; 7] = [
    Suite { name: "varnishtest", what: vtc::WHAT, run: vtc::run },
    Suite { name: "autobahn", what: autobahn::WHAT, run: autobahn::run },
    Suite { name: "smugglex", what: smuggling::WHAT, run: smuggling::run },
    Suite { name: "slowhttptest", what: slow::WHAT, run: slow::run },
    Suite { name: "sslyze", what: tls::SSLYZE, run: tls::sslyze },
    Suite { name: "testssl", what: tls::TESTSSL, run: tls::testssl },
    Suite { name: "proxy-protocol", what: proxy_protocol::WHAT, run: proxy_protocol::run },
];

/// How one proxy did in one suite.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Cases.
    pub of: usize,
    /// Those that it did not pass, one line each.
    pub failing: Vec<String>,
}

impl Verdict {
    /// Count a case; a failing one is named.
    pub fn note(&mut self, passed: bool, name: impl FnOnce() -> String) {
        self.of += 1;
        if !passed {
            self.failing.push(name());
        }
    }
}

/// What a suite found.
pub struct Outcome {
    /// The tool, with its version.
    pub tool: String,
    /// For each proxy.
    pub verdicts: Vec<(Kind, Verdict)>,
}

/// Run the suites, print the table, write the page.
pub fn run(options: &Options) -> Result<ExitCode> {
    let chosen = options.chosen()?;
    peers::install(&TOOLS)?;
    let weir = options.binary()?;
    let scratch = Scratch::build(&paths::target(), "conformance")?;
    let yard = Yard::open(scratch.path(), &weir)?;
    let mut results = Vec::new();
    for suite in chosen {
        eprintln!("{}", suite.name);
        let outcome = (suite.run)(&yard).with_context(|| format!("{} could not be run", suite.name))?;
        results.push((suite, outcome));
    }
    Report { versions: yard.versions()?, results }.publish(options.write)?;
    Ok(ExitCode::SUCCESS)
}

impl Options {
    fn chosen(&self) -> Result<Vec<&'static Suite>> {
        if let Some(name) = self.suites.iter().find(|name| !SUITES.iter().any(|suite| suite.name == **name)) {
            let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
            bail!("no suite {name}; there are {}", names.join(", "));
        }
        let wanted = |suite: &&Suite| self.suites.is_empty() || self.suites.iter().any(|name| name == suite.name);
        Ok(SUITES.iter().filter(wanted).collect())
    }

    fn binary(&self) -> Result<PathBuf> {
        match &self.weir {
            Some(path) => path.canonicalize().with_context(|| format!("no {}", path.display())),
            None => {
                execute(cargo().args(["build", "--workspace", "--bin", "weir"]))?;
                Ok(paths::weir("debug"))
            }
        }
    }
}
