//! Tools that Debian does not have: fetched once, into a folder of the user's cache.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::process::{find, run};

/// How `timeout` says that it ended a command.
const ENDED: i32 = 124;

/// The folder of a tool, filled by `fetch` unless it was before.
pub fn cached(name: &str, fetch: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = cache()?.join(name);
    let done = folder.join(".complete");
    if !done.is_file() {
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        eprintln!("  fetching {name}");
        fetch(&folder)?;
        fs::write(done, "")?;
    }
    Ok(folder)
}

fn cache() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("weir-conformance"))
}

/// A Python package in an environment of its own.
pub fn python(name: &str, package: &str) -> Result<PathBuf> {
    cached(name, |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", package]))
    })
}

/// A Python 2.7: one of pyenv's, whose name on the path is not the program itself, or one on the path.
pub fn python2() -> Result<PathBuf> {
    let pyenv = env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv/versions"));
    let versions = pyenv.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let mut installed = versions
        .filter(|version| version.file_name().to_string_lossy().starts_with("2.7"))
        .map(|version| version.path().join("bin/python"));
    installed.next().or_else(|| find("python2.7")).context("no Python 2.7: pyenv install 2.7.18")
}

/// A command that is ended, with all it started, after so many seconds.
pub fn bounded(seconds: u32, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.arg(seconds.to_string()).arg(program).stdin(Stdio::null());
    command
}

/// What it printed; an error when it had to be ended.
pub fn finish(command: &mut Command) -> Result<Output> {
    let output = command.output().context("cannot run timeout")?;
    if output.status.code() == Some(ENDED) {
        bail!("it took too long: {}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(output)
}

/// First line of what a program prints about itself.
pub fn version(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&said).into_owned();
    Ok(text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned())
}
