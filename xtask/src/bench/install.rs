//! The programs the bench needs, as Debian packages.

use std::process::Command;

use anyhow::{Result, bail};
use nix::unistd::Uid;

use crate::process::{installed, run};

/// Program and the package that holds it.
const TOOLS: [(&str, &str); 6] = [
    ("nginx", "nginx"),
    ("haproxy", "haproxy"),
    ("h2load", "nghttp2-client"),
    ("ab", "apache2-utils"),
    ("openssl", "openssl"),
    ("taskset", "util-linux"),
];

/// Install what is missing when we are root, or say what to install.
pub fn tools(asked: bool) -> Result<()> {
    let missing: Vec<&str> =
        TOOLS.iter().filter(|(program, _)| !installed(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !Uid::effective().is_root() {
        let how = if asked { "only root can install" } else { "missing" };
        bail!("{how}: apt-get install --no-install-recommends {}", missing.join(" "));
    }
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], missing.as_slice()].concat())
}

/// `RUNLEVEL=1` keeps packages from starting their services.
fn apt(arguments: &[&str]) -> Result<()> {
    run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1"))
}
