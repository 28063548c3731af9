//! PROXY protocol between every pair of proxies, in both directions and both versions.

use std::process::Command;

use anyhow::{Context, Result};

use super::{
    Outcome, Verdict,
    tools::{bounded, finish, version},
    yard::{Pair, Yard},
};

/// What it asks.
pub const WHAT: &str = "a client's address through two proxies, each pair in both directions, PROXY protocol version 1 \
                        and 2 (nginx writes version 1 alone)";

/// The client's, which neither proxy would have by itself.
const CLIENT: &str = "127.0.0.9";

/// A request by way of each pair; it counts for both of them.
pub fn run(yard: &Yard) -> Result<Outcome> {
    let mut verdicts: Vec<_> = yard.peers().iter().map(|peer| (peer.kind, Verdict::default())).collect();
    for pair in yard.pairs() {
        let seen = seen(pair)?;
        for (_, verdict) in verdicts.iter_mut().filter(|(kind, _)| [pair.sender, pair.receiver].contains(kind)) {
            let Pair { sender, receiver, introduction } = pair;
            verdict.note(seen == CLIENT, || {
                let (sender, receiver, version) = (sender.name(), receiver.name(), introduction.version);
                format!("{sender} to {receiver}, version {version}: {seen:?}")
            });
        }
    }
    let curl = version(Command::new("curl").arg("--version"))?;
    Ok(Outcome { tool: curl.split(" (").take(1).collect(), verdicts })
}

/// The address that the endpoint was told.
fn seen(pair: &Pair) -> Result<String> {
    let mut command = bounded(20, "curl");
    command.args(["--silent", "--max-time", "10", "--interface", CLIENT]);
    let output = finish(command.arg(format!("http://{}/address", pair.introduction.from)))?;
    String::from_utf8(output.stdout).context("an address that is no text")
}
