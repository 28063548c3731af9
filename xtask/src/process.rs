//! Child processes: run to the end, or kept alive by a guard that ends them by their id.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::{
        prctl,
        signal::{self, Signal},
    },
    unistd::Pid,
};

const POLL: Duration = Duration::from_millis(10);

/// Run a command to its end; an exit code other than 0 is an error that names it.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Run a command and keep what it printed on standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}", shown(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::paths::root());
    command
}

/// Whether a program is on the path.
pub fn installed(program: &str) -> bool {
    find(program).is_some()
}

/// Where a program is on the path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// A process of ours that ends with its guard: SIGTERM, then SIGKILL after five seconds.
pub struct Running {
    name: String,
    child: Child,
}

impl Running {
    /// Start a command.
    pub fn start(name: &str, command: &mut Command) -> Result<Running> {
        let child = ending_with_us(command)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", shown(command)))?;
        Ok(Running { name: name.to_owned(), child })
    }

    /// Its standard output, once, where that was piped.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Wait until all of the addresses accept connections; an early end is an error.
    pub fn wait_until_listening(&mut self, addresses: &[SocketAddr]) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        for address in addresses {
            while TcpStream::connect_timeout(address, Duration::from_secs(1)).is_err() {
                self.still_runs()?;
                if Instant::now() > deadline {
                    bail!("{} does not listen on {address}", self.name);
                }
                thread::sleep(POLL);
            }
        }
        self.still_runs()
    }

    /// An error when the process has ended.
    pub fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended early with {status}", self.name),
            None => Ok(()),
        }
    }

    /// End it and say how it went.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.end().with_context(|| format!("cannot stop {}", self.name))
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
        self.child.kill()?;
        self.child.wait()
    }

    fn signal(&mut self, signal: Signal) {
        // A child that ended but was not waited for keeps its id, so this reaches nobody else.
        if let (Ok(None), Ok(id)) = (self.child.try_wait(), i32::try_from(self.child.id())) {
            let _ = signal::kill(Pid::from_raw(id), signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.end());
    }
}

/// The kernel ends the child should we be killed before our guards can.
fn ending_with_us(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec the closure makes one system call, and neither allocates nor locks.
    unsafe { command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGTERM).map_err(io::Error::from)) }
}

/// Addresses on the loopback whose ports were free a moment ago.
pub fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    let sockets: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<io::Result<_>>()?;
    Ok(sockets.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?)
}

/// A folder that goes with its guard.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Make one below `parent`, apart for this process.
    pub fn build(parent: &Path, name: &str) -> Result<Scratch> {
        let folder = parent.join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Scratch(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
