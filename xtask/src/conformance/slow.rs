//! slowhttptest in its four modes: slow clients, while others want to be served.

use std::thread;

use anyhow::{Context, Result};

use super::{
    Outcome, Verdict,
    tools::{bounded, finish},
    yard::{Peer, Yard},
};

/// What it asks.
pub const WHAT: &str =
    "400 slow clients for 15 seconds, in each of four modes: a probe of the tool's own must be answered all the time";

/// Name, and the arguments that make it.
const MODES: [(&str, &[&str]); 4] = [
    ("slow headers", &["-H", "-i", "3"]),
    ("slow body", &["-B", "-i", "3", "-s", "8192"]),
    ("slow read", &["-X", "-k", "3", "-n", "3", "-w", "512", "-y", "1024", "-z", "32"]),
    ("ranges", &["-R", "-a", "10", "-b", "3000", "-t", "HEAD"]),
];

/// The proxies side by side, mode after mode.
pub fn run(yard: &Yard) -> Result<Outcome> {
    let mut verdicts: Vec<_> = yard.peers().iter().map(|peer| (peer.kind, Verdict::default())).collect();
    for (mode, arguments) in MODES {
        let served: Vec<Result<bool>> = thread::scope(|scope| {
            let runs: Vec<_> = yard.peers().iter().map(|peer| scope.spawn(|| served(peer, arguments))).collect();
            runs.into_iter().map(|run| run.join().map_err(|_| anyhow::anyhow!("a run broke off"))?).collect()
        });
        for ((_, verdict), served) in verdicts.iter_mut().zip(served) {
            verdict.note(served?, || format!("{mode}: others were not served"));
        }
    }
    Ok(Outcome { tool: "slowhttptest".to_owned(), verdicts })
}

/// Whether the tool's probe was answered whenever it looked.
fn served(peer: &Peer, arguments: &[&str]) -> Result<bool> {
    let mut command = bounded(120, "slowhttptest");
    command.args(arguments).args(["-c", "400", "-r", "200", "-l", "15", "-p", "3", "-v", "1", "-u"]);
    let output = finish(command.arg(format!("http://{}/4m", peer.listens.plain)))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    judge(&said).with_context(|| format!("slowhttptest says nothing of its probe: {said}"))
}

/// The states it printed, of which none may be `NO`.
fn judge(said: &str) -> Option<bool> {
    let states = || said.lines().filter(|line| line.contains("service available"));
    states().next()?;
    Some(states().all(|line| line.contains("YES")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unanswered_probe_counts() {
        let state = |answer: &str| format!("pending:             0\nservice available:   {answer}\n");
        assert_eq!(judge(&state("YES")), Some(true));
        assert_eq!(judge(&(state("YES") + &state("NO") + &state("YES"))), Some(false));
        assert_eq!(judge("nothing"), None);
    }
}
