//! `weir upgrade`: another process takes the place of the running one.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, anyhow, bail};

use super::{FAULT, Upgrade, client::finish, exit};
use crate::upgrade::{Asked, ask};

/// Asks the running process, and says how it went.
pub fn upgrade(command: &Upgrade) -> ExitCode {
    match socket(command) {
        Ok(path) => finish(upgraded(path, command.binary.clone())),
        Err(why) => {
            eprintln!("{why}");
            exit(FAULT)
        }
    }
}

/// Where the running process hears requests.
fn socket(command: &Upgrade) -> Result<PathBuf, String> {
    if let Some(path) = &command.socket {
        return Ok(path.clone());
    }
    let config = command.configured.path();
    let loaded = weir_config::load(&config)
        .map_err(|faults| format!("{faults}\n{} cannot be used: nothing is upgraded", config.display()))?;
    loaded.config.process.upgrade_socket.ok_or_else(|| {
        format!(
            "error: {} has no `upgrade-socket` in `[process]`: name one and start Weir again, or send SIGUSR2 to it",
            config.display()
        )
    })
}

async fn upgraded(path: PathBuf, binary: Option<PathBuf>) -> anyhow::Result<String> {
    let program =
        binary.map(|binary| binary.canonicalize().with_context(|| binary.display().to_string())).transpose()?;
    match ask(&path, program).await.map_err(|error| unheard(&path, &error))? {
        Asked::Upgraded { pid, former } => {
            Ok(format!("process {pid} serves now, {former} finishes what is in flight\n"))
        }
        Asked::Refused(why) => bail!("nothing is upgraded: {why}"),
    }
}

fn unheard(path: &Path, error: &std::io::Error) -> anyhow::Error {
    let shown = path.display();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => anyhow!(
            "nobody listens at {shown}: is weir running, and did it start with this `upgrade-socket`? (--socket PATH)"
        ),
        ErrorKind::PermissionDenied => {
            anyhow!("{shown} cannot be opened: be the user that weir runs as, or root")
        }
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
            anyhow!("the process at {shown} does not answer: be the user that it runs as, or root, and see its log")
        }
        _ => anyhow!("{shown}: {error}"),
    }
}
