//! Cases of ours for varnishtest, which plays the client and the endpoint around a proxy.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

use super::{
    Outcome, Verdict,
    tools::{bounded, finish, version},
    yard::{Peer, Yard},
};
use crate::{paths, peers::Kind};

/// What it asks.
pub const WHAT: &str = "HTTP/1.1 and HTTP/2 as RFC 9110, 9112 and 9113 want them of a proxy: the cases of `tests/vtc`";

/// Every case against every proxy.
pub fn run(yard: &Yard) -> Result<Outcome> {
    let cases = cases()?;
    let mut verdicts = Vec::new();
    for peer in yard.peers() {
        let mut verdict = Verdict::default();
        for case in &cases {
            let title = title(case)?;
            let passed = passes(yard, peer, case)?;
            verdict.note(passed, || title);
        }
        verdicts.push((peer.kind, verdict));
    }
    let package = version(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "varnish"]))?;
    Ok(Outcome { tool: format!("varnishtest {package}"), verdicts })
}

fn cases() -> Result<Vec<PathBuf>> {
    let folder = paths::root().join("tests/vtc");
    let files = fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))?;
    let mut cases: Vec<PathBuf> = files.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
    cases.retain(|path| path.extension().is_some_and(|kind| kind == "vtc"));
    cases.sort();
    ensure!(!cases.is_empty(), "no cases in {}", folder.display());
    Ok(cases)
}

/// The case in its own words: `vtest "..."`.
fn title(case: &PathBuf) -> Result<String> {
    let text = fs::read_to_string(case)?;
    let name = case.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let title = text.lines().find_map(|line| line.strip_prefix("varnishtest \"")?.strip_suffix('"'));
    Ok(format!("{name}: {}", title.with_context(|| format!("{} has no title", case.display()))?))
}

/// How HTTP/2 begins with each of them: the tool takes frames in just the order it is told.
fn greeting(kind: Kind) -> &'static str {
    match kind {
        Kind::Weir | Kind::Nginx => "rxsettings\nrxwinup\ntxsettings\ntxsettings -ack\nrxsettings",
        Kind::Haproxy => "rxsettings\ntxsettings\ntxsettings -ack\nrxsettings",
    }
}

fn passes(yard: &Yard, peer: &Peer, case: &PathBuf) -> Result<bool> {
    let define = |name: &str, value: &dyn ToString| [String::from("-D"), format!("{name}={}", value.to_string())];
    let mut command = bounded(60, "varnishtest");
    command
        .args(["-v", "-t", "20"])
        .args(define("plain", &peer.listens.plain))
        .args(define("h2c", &peer.listens.h2c))
        .args(define("endpoint", &yard.played()))
        .args(define("greeting", &greeting(peer.kind)))
        .env("TMPDIR", yard.folder())
        .arg(case);
    let output = finish(&mut command)?;
    let log = yard.folder().join(format!(
        "{}-{}.log",
        case.file_stem().unwrap_or_default().to_string_lossy(),
        peer.kind.name()
    ));
    fs::write(log, [output.stdout, output.stderr].concat())?;
    match output.status.code() {
        Some(0) => Ok(true),
        // 77 is a case that was skipped, which none of ours may be.
        Some(1 | 2) => Ok(false),
        _ => anyhow::bail!("varnishtest ended with {} in {}", output.status, case.display()),
    }
}
