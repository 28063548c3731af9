//! The process that compiles: it bounds itself first.

use std::{
    fs,
    io::{self, Read, Write},
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sha2::{Digest, Sha256};

use crate::engine;

/// How much less than others it gets of a busy machine.
const NICE: i32 = 10;

/// How a component is compiled for the process that started this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildTask {
    /// Bytes of address space.
    pub memory: u64,
    /// Seconds of CPU time.
    pub cpu: u64,
    /// Whether the code is for instances that are allocated on demand.
    pub on_demand: bool,
}

/// Compiles the component at standard input; the code goes to standard output, its checksum after it.
///
/// # Errors
/// The component is not valid, or a limit cannot be set: for people.
pub fn compile_for_parent(task: ChildTask) -> Result<(), String> {
    restrain(task).map_err(|error| format!("no limits: {error}"))?;
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let engine = engine::for_compiling(task.on_demand).map_err(|error| format!("{error:#}"))?;
    let code = engine.precompile_component(&bytes).map_err(|error| format!("{error:#}"))?;
    let mut out = io::stdout().lock();
    let written = out.write_all(&code).and_then(|()| out.write_all(&Sha256::digest(&code)));
    written.and_then(|()| out.flush()).map_err(|error| error.to_string())
}

fn restrain(task: ChildTask) -> nix::Result<()> {
    bound(Resource::RLIMIT_AS, task.memory)?;
    bound(Resource::RLIMIT_CPU, task.cpu)?;
    bound(Resource::RLIMIT_CORE, 0)?;
    #[cfg(target_os = "linux")]
    {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        // Where the system runs short of memory, it is to take this process first. It may not be told so: then not.
        let _ = fs::write("/proc/self/oom_score_adj", "1000");
    }
    // SAFETY: it takes a number and changes this process's priority. A process may always give way.
    unsafe { libc::nice(NICE) };
    Ok(())
}

/// The limit, or the one that holds already where that is lower.
fn bound(of: Resource, most: u64) -> nix::Result<()> {
    let (_, hard) = getrlimit(of)?;
    let soft = most.min(hard);
    // The hard limit of CPU time ends the process without a word of why; the soft one says it.
    setrlimit(of, soft, soft.saturating_add(1).min(hard))
}

/// Whole seconds, at least one.
pub(super) fn seconds(time: Duration) -> u64 {
    time.as_secs().max(1)
}
