//! The compiler for guests: the `wasm32-unknown-unknown` target of the active toolchain, or Debian's
//! `rustc-web` with its library sources.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::process::{cargo, installed, output, run};

/// The target guests are built for.
pub const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_LINKER: &str = "/usr/bin/wasm-ld";

/// What builds guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolchain {
    /// The toolchain that builds everything else has the target.
    Active,
    /// Debian's, which builds the standard library along.
    Debian,
}

impl Toolchain {
    /// What is here; else what can be installed without asking questions.
    pub fn find_or_install() -> Result<Self> {
        if let Some(toolchain) = Self::find() {
            return Ok(toolchain);
        }
        add_target();
        if let Some(toolchain) = Self::find() {
            return Ok(toolchain);
        }
        install_packages()?;
        match Self::find() {
            Some(toolchain) => Ok(toolchain),
            None => bail!(
                "plugins are built for {TARGET}, and no toolchain here has it. Do one of:\n  \
                 rustup target add {TARGET}\n  \
                 apt-get install --no-install-recommends {}   (Debian 12 or later, as root)",
                DEBIAN_PACKAGES.join(" ")
            ),
        }
    }

    fn find() -> Option<Self> {
        if active_has_target() {
            return Some(Self::Active);
        }
        debian_is_here().then_some(Self::Debian)
    }

    /// `cargo build` of guests, for release.
    pub fn cargo_build(self) -> Command {
        let mut command = match self {
            Self::Active => cargo(),
            Self::Debian => Command::new(DEBIAN_CARGO),
        };
        // Flags for the host's linker and target would break a guest.
        for flags in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
            command.env_remove(flags);
        }
        command.args(["build", "--quiet", "--release", "--target", TARGET]);
        if self == Self::Debian {
            command
                .arg("-Zbuild-std=std,panic_abort")
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER);
        }
        command
    }
}

/// Whether the target's libraries are in the sysroot, whoever put them there.
fn active_has_target() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--print", "target-libdir", "--target", TARGET]).stderr(Stdio::null());
    let Ok(libraries) = output(&mut command) else {
        return false;
    };
    let libraries = fs::read_dir(libraries.trim()).into_iter().flatten().flatten();
    libraries.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

fn debian_is_here() -> bool {
    let sources = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";
    [DEBIAN_RUSTC, DEBIAN_CARGO, DEBIAN_LINKER, sources].iter().all(|path| Path::new(path).exists())
}

/// A failure is no error: there is another way, and at the end the user is told of both.
fn add_target() {
    if installed("rustup") {
        eprintln!("plugins are built for {TARGET}: rustup target add {TARGET}");
        let _ = run(Command::new("rustup").args(["target", "add", TARGET]));
    }
}

fn install_packages() -> Result<()> {
    let root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !root || !Path::new("/etc/debian_version").exists() || !installed("apt-get") {
        return Ok(());
    }
    eprintln!("plugins are built for {TARGET}: apt-get install {}", DEBIAN_PACKAGES.join(" "));
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    run(Command::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(DEBIAN_PACKAGES)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}
