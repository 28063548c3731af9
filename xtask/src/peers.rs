//! Weir and the proxies it stands beside, and what each of them needs to start.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use crate::process::{find, installed, run};

/// What lets nginx pass on TCP.
pub const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// This project.
    Weir,
    /// nginx.org
    Nginx,
    /// haproxy.org
    Haproxy,
}

impl Kind {
    /// In the order they are shown.
    pub const ALL: [Kind; 3] = [Kind::Weir, Kind::Nginx, Kind::Haproxy];

    /// As shown.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Weir => "weir",
            Kind::Nginx => "nginx",
            Kind::Haproxy => "haproxy",
        }
    }
}

/// Where a program is, or an error that names it.
pub fn program(name: &str) -> Result<PathBuf> {
    find(name).with_context(|| format!("{name} is not installed"))
}

/// What a process that did not start left behind.
pub fn said(folder: &Path) -> String {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    format!("{}{}", read("output"), read("error.log"))
}

/// A self-signed P-256 certificate that clients can take for its own root: `cert.pem`, `key.pem`, `both.pem`.
pub fn certificates(folder: &Path) -> Result<()> {
    let (cert, key, request) = (folder.join("cert.pem"), folder.join("key.pem"), folder.join("request"));
    let text = "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = more\n\
                [name]\nCN = localhost\n\
                [more]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = DNS:localhost, IP:127.0.0.1\n";
    fs::write(&request, text)?;
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30";
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).arg("-config").arg(&request).arg("-keyout").arg(&key).arg("-out").arg(&cert);
    run(command.stderr(Stdio::null()))?;
    let both = [fs::read(&cert)?, fs::read(&key)?].concat();
    if both.is_empty() {
        bail!("openssl wrote no certificate");
    }
    fs::write(folder.join("both.pem"), both)?;
    Ok(())
}

/// How the configuration of an nginx begins that keeps to its folder and has room for so many connections, `http {`
/// included.
pub fn nginx_http(folder: &Path, connections: u32) -> String {
    let folder = folder.display();
    let user = if Uid::effective().is_root() { "user root;\n" } else { "" };
    let module =
        if Path::new(NGINX_STREAM).exists() { format!("load_module {NGINX_STREAM};\n") } else { String::new() };
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        "{module}{user}daemon off;
worker_processes 1;
worker_rlimit_nofile {};
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections {connections}; }}
http {{
{folders}",
        connections + 4096
    )
}

/// What `weir check` would say of a configuration beside which these files are: nothing of one that is well. `name` is
/// that of the folder it is in.
#[cfg(test)]
pub fn checked(name: &str, files: &[&str], text: impl FnOnce(&Path) -> String) -> String {
    use std::os::unix::fs::PermissionsExt;
    let folder = crate::process::Scratch::build(&std::env::temp_dir(), name).unwrap();
    for name in files {
        let path = folder.path().join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let loaded = weir_config::parse(&text(folder.path()), &folder.path().join("weir.toml"));
    loaded.map_or_else(|faults| faults.to_string(), |loaded| loaded.warnings.to_string())
}

/// Install what is missing of these programs and their Debian packages when we are root, or say what to install.
pub fn install(tools: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> =
        tools.iter().filter(|(program, _)| !installed(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !Uid::effective().is_root() || !installed("apt-get") {
        bail!("missing: apt-get install --no-install-recommends {}", missing.join(" "));
    }
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], missing.as_slice()].concat())
}

/// `RUNLEVEL=1` keeps packages from starting their services.
fn apt(arguments: &[&str]) -> Result<()> {
    run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1"))
}
