//! smugglex, which looks for requests that two servers part differently.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    Outcome, Verdict,
    tools::{bounded, cached, finish},
    yard::{Peer, Yard},
};
use crate::process::{cargo, run as execute};

/// What it asks.
pub const WHAT: &str = "request smuggling between the proxy and nginx: each kind of check, none may find anything";

const VERSION: &str = "0.4.0";
const CHECKS: &str = "cl-te,te-cl,te-te,h2c,h2,cl-edge,cl-0,0-cl,parser-discrepancy";

/// A scan of each proxy.
pub fn run(yard: &Yard) -> Result<Outcome> {
    let folder = cached(&format!("smugglex-{VERSION}"), |folder| {
        let package = format!("smugglex@{VERSION}");
        execute(cargo().args(["install", "--quiet", "--locked", "--debug", "--root"]).arg(folder).arg(package))
    })?;
    let scan = |peer: &Peer| {
        let mut command = bounded(240, folder.join("bin/smugglex"));
        judge(command.args(["--json", "-c", CHECKS]).arg(format!("http://{}/read", peer.listens.plain)))
    };
    let verdicts: Result<_> = yard.peers().iter().map(|peer| Ok((peer.kind, scan(peer)?))).collect();
    Ok(Outcome { tool: format!("smugglex {VERSION}"), verdicts: verdicts? })
}

fn judge(command: &mut Command) -> Result<Verdict> {
    let output = finish(command)?;
    let report: Value =
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let checks = report.pointer("/results/0/checks").and_then(Value::as_array).context("smugglex reports no checks")?;
    let mut verdict = Verdict::default();
    for check in checks {
        let name = || check["check_type"].as_str().unwrap_or("unnamed").to_owned();
        verdict.note(check["vulnerable"] == false, name);
    }
    Ok(verdict)
}
