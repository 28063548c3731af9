//! Autobahn, through each proxy to the WebSocket server `ws`.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use super::{
    Outcome, Verdict,
    tools::{bounded, cached, finish, python2},
    yard::Yard,
};
use crate::process::run as execute;

/// What it asks.
pub const WHAT: &str =
    "WebSocket through the proxy to npm `ws`: every case but large messages (9) and compression (12, 13)";

const VERSION: &str = "0.8.2";

#[derive(Deserialize)]
struct Case {
    behavior: String,
    #[serde(rename = "behaviorClose")]
    close: String,
}

/// One run over all proxies.
pub fn run(yard: &Yard) -> Result<Outcome> {
    let python = python2()?;
    let base = cached(&format!("autobahntestsuite-{VERSION}"), |folder| {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--user", "--no-warn-script-location"]);
        execute(pip.arg(format!("autobahntestsuite=={VERSION}")).env("PYTHONUSERBASE", folder))
    })?;
    let reports = yard.folder().join("autobahn");
    let servers: Vec<_> = yard
        .peers()
        .iter()
        .map(|peer| json!({ "agent": peer.kind.name(), "url": format!("ws://{}/ws", peer.listens.plain) }))
        .collect();
    let spec = json!({
        "outdir": reports, "servers": servers, "cases": ["*"], "exclude-cases": ["9.*", "12.*", "13.*"],
        "exclude-agent-cases": {},
    });
    let file = yard.folder().join("autobahn.json");
    fs::write(&file, spec.to_string())?;
    let mut command = bounded(300, &python);
    command.arg(base.join("bin/wstest")).args(["-m", "fuzzingclient", "-s"]).arg(&file).env("PYTHONUSERBASE", &base);
    let output = finish(&mut command)?;
    let index = fs::read_to_string(reports.join("index.json"))
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let index: BTreeMap<String, BTreeMap<String, Case>> = serde_json::from_str(&index)?;
    let verdicts =
        yard.peers().iter().map(|peer| (peer.kind, index.get(peer.kind.name()).map(judge).unwrap_or_default()));
    Ok(Outcome { tool: format!("autobahntestsuite {VERSION}, ws 8.23.0"), verdicts: verdicts.collect() })
}

/// Cases that fail: what is not strict or for information passes, as the suite has it.
fn judge(cases: &BTreeMap<String, Case>) -> Verdict {
    let mut verdict = Verdict::default();
    for (name, case) in cases {
        let bad = |behavior: &str| matches!(behavior, "FAILED" | "UNIMPLEMENTED");
        verdict.note(!bad(&case.behavior) && !bad(&case.close), || format!("case {name}: {}", case.behavior));
    }
    verdict
}
