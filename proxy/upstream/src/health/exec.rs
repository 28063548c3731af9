//! The exec check: a command that ends with 0 when the endpoint is well.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    pin::pin,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe::Receiver,
    process::{Child, Command},
    sync::Semaphore,
    time::timeout,
};
use weir_config::{Cluster, ExecCheck, Unusable};

use super::{Checking, Probe, Turn, Verdict};
use crate::{dial::Dial, endpoint::Endpoint};

/// Commands that run at one time in the process.
static RUNNING: Semaphore = Semaphore::const_new(8);
/// As much of what a command writes as may become a reason.
const MOST_SAID: usize = 200;
/// How long the words of a command that has ended may take to arrive.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Asks by a command.
#[derive(Debug)]
pub struct ExecProbe {
    dial: Dial,
    check: ExecCheck,
    cluster: Arc<str>,
}

impl ExecProbe {
    /// The probe of a cluster. Errors are of its TLS settings.
    pub fn try_new(cluster: &Cluster, check: &ExecCheck) -> Result<Self, Unusable> {
        Ok(Self { dial: Dial::try_new(cluster)?, check: check.clone(), cluster: Arc::clone(&cluster.name) })
    }

    async fn ask(&self, endpoint: &Endpoint) -> io::Result<Verdict> {
        let (mut group, output) = self.start(endpoint)?;
        let mut said = Vec::new();
        let status = {
            let mut reading = pin!(listen(output, &mut said));
            tokio::select! {
                status = group.ended() => {
                    // Something the command left behind may keep the pipe open.
                    let _ = timeout(LAST_WORDS, &mut reading).await;
                    status?
                }
                () = &mut reading => group.ended().await?,
            }
        };
        Ok(judge(status, &first_line(&said)))
    }

    /// In a process group of its own, and one pipe for both of its outputs.
    fn start(&self, endpoint: &Endpoint) -> io::Result<(Group, Receiver)> {
        let (reader, writer) = io::pipe()?;
        let address = self.dial.address(endpoint);
        let child = Command::new(&self.check.command)
            .args(&self.check.args)
            .env("WEIR_ENDPOINT_NAME", endpoint.name())
            .env("WEIR_ENDPOINT_ADDRESS", address.to_string())
            .env("WEIR_ENDPOINT_HOST", address.ip().to_string())
            .env("WEIR_ENDPOINT_PORT", address.port().to_string())
            .env("WEIR_ENDPOINT_CLUSTER", &*self.cluster)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok((Group { child }, Receiver::from_owned_fd(OwnedFd::from(reader))?))
    }
}

impl Probe for ExecProbe {
    fn turn(&self) -> Turn<'_> {
        Box::pin(async { RUNNING.acquire().await.ok() })
    }

    fn check<'a>(&'a self, endpoint: &'a Arc<Endpoint>) -> Checking<'a> {
        Box::pin(async move {
            let verdict = self.ask(endpoint).await;
            Ok(verdict.unwrap_or_else(|error| Verdict::unhealthy(format!("{}: {error}", self.check.command))))
        })
    }
}

/// A command with whatever it has started. Killed as a whole when it is dropped before its end.
struct Group {
    child: Child,
}

impl Group {
    async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The number is known only until the end was noticed: afterwards it may be another's.
        if let Some(leader) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

/// Takes everything, so that nobody waits for a full pipe, and keeps the beginning.
async fn listen(mut output: Receiver, said: &mut Vec<u8>) {
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = output.read(&mut buffer).await {
        let room = MOST_SAID.saturating_sub(said.len());
        said.extend(buffer.iter().take(read.min(room)));
    }
}

fn first_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().next().unwrap_or_default().trim();
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn judge(status: ExitStatus, line: &str) -> Verdict {
    let ended = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    };
    let why = if line.is_empty() { ended } else { format!("{ended}: {line}") };
    if status.success() { Verdict::healthy(why) } else { Verdict::unhealthy(why) }
}

#[cfg(test)]
mod tests;
