//! The process that compiles, as its parent sees it: fed, watched, and understood.

use std::{
    io::{self, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Instant,
};

use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use weir_config::PluginCompile;

use super::{CompileTerms, CompilerProgram, LOOK, child::seconds, invalid};
use crate::Refused;

/// Bytes of a checksum.
const SUM: usize = 32;
/// Most that is read of what it complains of.
const COMPLAINT: u64 = 64 << 10;

/// The code that a process of its own makes of a component.
pub(super) fn run(
    program: &CompilerProgram,
    on_demand: bool,
    bytes: &[u8],
    terms: &CompileTerms,
) -> Result<Vec<u8>, Refused> {
    let limits = &terms.limits;
    let broken = |error: io::Error| Refused::Host(format!("the compiler cannot be run: {error}"));
    let mut child = start(program, on_demand, limits).map_err(broken)?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(Refused::Host("the compiler cannot be fed".to_owned()));
    };
    let (ended, end) = channel();
    thread::scope(|scope| {
        // It may end before it has read everything; why is said elsewhere.
        scope.spawn(move || drop(stdin.write_all(bytes)));
        let complaint = scope.spawn(|| read(stderr, COMPLAINT));
        let code = scope.spawn(move || {
            let code = read(stdout, limits.memory.0);
            drop(ended);
            code
        });
        let begun = Instant::now();
        let watched = loop {
            match end.recv_timeout(LOOK) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break Ok(()),
            }
            let over = terms.cancel.check().and_then(|()| match begun.elapsed() > limits.time {
                true => Err(limit("time", format!("{:?}", limits.time))),
                false => Ok(()),
            });
            if over.is_err() {
                break over;
            }
        };
        let status = finish(&mut child, watched.is_err()).map_err(broken)?;
        watched?;
        let complaint = complaint.join().unwrap_or_default();
        let code = code.join().unwrap_or_default();
        understood(status, code, &String::from_utf8_lossy(&complaint), limits)
    })
}

fn start(program: &CompilerProgram, on_demand: bool, limits: &PluginCompile) -> io::Result<Child> {
    let mut command = Command::new(&program.path);
    command.arg0("weir").arg(&program.command);
    command.arg("--memory").arg(limits.memory.0.to_string());
    command.arg("--cpu").arg(seconds(limits.cpu).to_string());
    command.args(on_demand.then_some("--on-demand"));
    // Address space that its allocator reserves at once would count as taken.
    command.env("MIMALLOC_ARENA_RESERVE", "32MiB");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

fn finish(child: &mut Child, unwanted: bool) -> io::Result<ExitStatus> {
    if unwanted {
        child.kill()?;
    }
    child.wait()
}

/// All of it up to a bound, and past the rest.
fn read(mut from: impl Read, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.by_ref().take(most).read_to_end(&mut bytes);
    let _ = io::copy(&mut from, &mut io::sink());
    bytes
}

fn understood(status: ExitStatus, code: Vec<u8>, complaint: &str, limits: &PluginCompile) -> Result<Vec<u8>, Refused> {
    if status.success() {
        return whole(code);
    }
    let out_of_memory = || limit("memory", format!("{} MiB", limits.memory.0 >> 20));
    let last = complaint.trim().lines().last().unwrap_or_default();
    Err(match status.signal().and_then(|signal| Signal::try_from(signal).ok()) {
        Some(Signal::SIGXCPU) => limit("cpu", format!("{:?}", limits.cpu)),
        _ if complaint.contains("memory allocation of") || complaint.contains("os error 12") => out_of_memory(),
        Some(Signal::SIGKILL) => {
            Refused::Host("its compiler was killed: the system may have run short of memory".to_owned())
        }
        Some(signal) => Refused::Host(format!("its compiler ended with {signal}: {last}")),
        None if status.code() == Some(1) => invalid(complaint.trim().trim_start_matches("error: ")),
        None => Refused::Host(format!("its compiler failed ({status}): {last}")),
    })
}

/// The code, if it has come whole.
fn whole(mut code: Vec<u8>) -> Result<Vec<u8>, Refused> {
    let sum = code.split_off(code.len().saturating_sub(SUM));
    match Sha256::digest(&code)[..] == sum[..] {
        true => Ok(code),
        false => Err(Refused::Host("its compiled code did not arrive whole".to_owned())),
    }
}

fn limit(key: &str, most: String) -> Refused {
    Refused::TooLarge(format!(
        "compiling it takes more {} than {most}: a plugin that is meant to be so large needs a higher `{key}` of \
         `plugin-compile` in [process]",
        match key {
            "memory" => "memory",
            "cpu" => "CPU time",
            _ => "time",
        }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: i32, complaint: &str) -> String {
        let refused = understood(ExitStatus::from_raw(status), Vec::new(), complaint, &PluginCompile::default());
        refused.unwrap_err().to_string()
    }

    #[test]
    fn an_end_says_which_limit_was_reached() {
        let xcpu = Signal::SIGXCPU as i32;
        assert!(refusal(xcpu, "").starts_with("compiling it takes more CPU time than 60s"), "{}", refusal(xcpu, ""));
        let abort = refusal(Signal::SIGABRT as i32, "memory allocation of 64 bytes failed\n");
        assert!(abort.starts_with("compiling it takes more memory than 2048 MiB"), "{abort}");
        assert!(abort.contains("a higher `memory` of `plugin-compile`"), "{abort}");
        assert_eq!(refusal(1 << 8, "error: unknown import\n"), "is not a valid component: unknown import");
        assert!(refusal(101 << 8, "thread panicked\nat x").contains("at x"));
        assert!(refusal(Signal::SIGKILL as i32, "").contains("short of memory"));
    }

    #[test]
    fn code_is_taken_whole_or_not_at_all() {
        let code = b"code".to_vec();
        let sent = [&code[..], &Sha256::digest(&code)].concat();
        assert_eq!(whole(sent.clone()).unwrap(), code);
        assert!(whole(sent[..sent.len() - 1].to_vec()).is_err());
        assert!(whole(Vec::new()).is_err());
    }
}
