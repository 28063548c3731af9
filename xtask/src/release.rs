//! `cargo xtask release`: a build of weir that is optimised by a profile of its own work.
//!
//! An instrumented build serves what the bench measures, and what else works on every request of those who use it. By
//! what that shows the compiler inlines and lays out the code (profile-guided optimisation): a request takes a fifth fewer
//! instructions, and a third fewer misses of the instruction cache.

mod training;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::SystemTime,
};

use anyhow::{Context, Result};

use crate::{
    bench, paths, peers,
    process::{cargo, find, installed, output, run as execute},
};

/// Build `target/profiled/weir`, and say where it is.
pub fn run() -> Result<ExitCode> {
    println!("{}", build()?.display());
    Ok(ExitCode::SUCCESS)
}

/// The binary, built where something has changed since the last time.
pub fn build() -> Result<PathBuf> {
    bench::prepare()?;
    let compiler = Compiler::ask()?;
    let profdata = compiler.profdata()?;
    let folder = paths::target().join("profiled");
    let (raw, profile) = (folder.join("raw"), folder.join("weir.profdata"));

    let instrumented = compiler.weir(&folder.join("instrumented"), "profile-generate", &raw)?;
    if changed(&profile).is_none_or(|made| changed(&instrumented).is_none_or(|built| built > made)) {
        remove(&raw)?;
        training::run(&instrumented)?;
        // Cargo does not see that the profile is another one.
        remove(&folder.join("optimised"))?;
        merge(&profdata, &raw, &profile)?;
    }
    let optimised = compiler.weir(&folder.join("optimised"), "profile-use", &profile)?;
    let binary = folder.join("weir");
    fs::copy(&optimised, &binary).with_context(|| format!("cannot write {}", binary.display()))?;
    Ok(binary)
}

/// The compiler that cargo takes.
struct Compiler {
    sysroot: PathBuf,
    /// Its target triple.
    host: String,
    /// Major version of its LLVM.
    llvm: String,
}

impl Compiler {
    fn ask() -> Result<Self> {
        let rustc = || Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let version = output(rustc().arg("-vV"))?;
        let field = |name: &str| {
            let line = version.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned()).with_context(|| format!("rustc -vV does not say {name}"))
        };
        Ok(Self {
            sysroot: output(rustc().args(["--print", "sysroot"]))?.trim().into(),
            host: field("host:")?,
            llvm: field("LLVM version:")?.split('.').next().unwrap_or_default().to_owned(),
        })
    }

    /// What merges profiles of this compiler; installed when it is missing and may be.
    fn profdata(&self) -> Result<PathBuf> {
        let own = self.sysroot.join("lib/rustlib").join(&self.host).join("bin/llvm-profdata");
        let versioned = format!("llvm-profdata-{}", self.llvm);
        let present = || own.is_file().then(|| own.clone()).or_else(|| find(&versioned));
        if let Some(program) = present() {
            return Ok(program);
        }
        if installed("rustup") {
            eprintln!("profiles are merged by llvm-profdata: rustup component add llvm-tools");
            // A failure is no error: there is another way.
            let _ = execute(Command::new("rustup").args(["component", "add", "llvm-tools"]));
        }
        if present().is_none() {
            let package = format!("llvm-{}", self.llvm);
            peers::install(&[(&versioned, &package)]).with_context(|| {
                format!("llvm-profdata is missing: rustup component add llvm-tools, or Debian's package {package}")
            })?;
        }
        present().context("llvm-profdata is missing: rustup component add llvm-tools")
    }

    /// Build weir into a target folder of its own, with `-C FLAG=PATH`.
    fn weir(&self, folder: &Path, flag: &str, path: &Path) -> Result<PathBuf> {
        let mut option = OsString::from(format!("-C{flag}="));
        option.push(path);
        // With a target, the flags are not for build scripts and macros.
        execute(
            cargo()
                .args(["build", "--release", "--package", "weir", "--bin", "weir", "--target", &self.host])
                .arg("--target-dir")
                .arg(folder)
                .env("CARGO_ENCODED_RUSTFLAGS", with_flag(&option)),
        )?;
        Ok(folder.join(&self.host).join("release/weir"))
    }
}

/// The flags of the environment and one more, as cargo takes them when they may have spaces.
fn with_flag(option: &OsString) -> OsString {
    let mut flags = match (std::env::var_os("CARGO_ENCODED_RUSTFLAGS"), std::env::var("RUSTFLAGS")) {
        (Some(encoded), _) => encoded,
        (None, Ok(plain)) => plain.split_whitespace().collect::<Vec<_>>().join("\x1f").into(),
        (None, Err(_)) => OsString::new(),
    };
    if !flags.is_empty() {
        flags.push("\x1f");
    }
    flags.push(option);
    flags
}

/// One profile of those that processes left behind.
fn merge(profdata: &Path, raw: &Path, profile: &Path) -> Result<()> {
    let files = fs::read_dir(raw).with_context(|| format!("weir left no profile in {}", raw.display()))?;
    let files: Vec<PathBuf> = files.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?;
    execute(Command::new(profdata).args(["merge", "--output"]).arg(profile).args(files))
}

/// When a file was written; none where there is none.
fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|file| file.modified()).ok()
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
