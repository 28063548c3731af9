//! `[process]` and `[access-log]`.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    model::{AccessLog, LogFormat, PluginCompile, Process},
    node::{Node, Table},
    read::{WAIT, count, text, zone},
    syntax::Wrong,
};

const GRACE: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(5);
const UPGRADE: Duration = Duration::from_secs(60);
/// Longest path of a Unix socket.
const SOCKET_PATH: usize = 107;

pub(super) fn process(root: &Table<'_>) -> Process {
    root.read("process", |node| node.table("`[process]` above its keys").map(|table| filled(&table))).unwrap_or(
        Process {
            workers: None,
            shutdown_grace: GRACE,
            drain_delay: Duration::ZERO,
            drain_idle: IDLE,
            upgrade_socket: None,
            upgrade_timeout: UPGRADE,
            watch: true,
            plugin_cache: None,
            plugin_compile: PluginCompile::default(),
            zone: None,
            resolvers: Vec::new(),
            max_connections: None,
            max_memory: None,
        },
    )
}

fn filled(table: &Table<'_>) -> Process {
    let grace = Duration::ZERO..=*WAIT.end();
    let process = Process {
        workers: table.read("workers", |node| count(node, 1..=1_024)),
        shutdown_grace: table.read("shutdown-grace", |node| patience(node, grace.clone())).unwrap_or(GRACE),
        drain_delay: table.read("drain-delay", |node| node.duration(grace.clone())).unwrap_or_default(),
        drain_idle: table.read("drain-idle", |node| node.duration(grace)).unwrap_or(IDLE),
        upgrade_socket: table.read("upgrade-socket", |node| socket_path(node, node.path()?)),
        upgrade_timeout: table.read("upgrade-timeout", |node| node.duration(WAIT)).unwrap_or(UPGRADE),
        watch: table.read("watch", Node::boolean).unwrap_or(true),
        plugin_cache: table.read("plugin-cache", Node::path),
        plugin_compile: table.read("plugin-compile", plugin_compile).unwrap_or_default(),
        zone: table.read("zone", zone).map(Arc::from),
        resolvers: table.read("resolvers", resolvers).unwrap_or_default(),
        max_connections: table.read("max-connections", |node| count(node, 1..=10_000_000)),
        max_memory: table.read("max-memory", |node| node.size(16 << 20..=1 << 50)),
    };
    table.done();
    process
}

fn plugin_compile(node: &Node<'_>) -> Option<PluginCompile> {
    let table = node.table("`{ memory = \"2GiB\", cpu = \"1m\" }`")?;
    let usual = PluginCompile::default();
    let seconds = Duration::from_secs(1)..=Duration::from_secs(3_600);
    let compile = PluginCompile {
        memory: table.read("memory", |node| node.size(128 << 20..=1 << 40)).unwrap_or(usual.memory),
        cpu: table.read("cpu", |node| node.duration(seconds.clone())).unwrap_or(usual.cpu),
        time: table.read("time", |node| node.duration(seconds)).unwrap_or(usual.time),
    };
    table.done();
    Some(compile)
}

fn patience(node: &Node<'_>, range: RangeInclusive<Duration>) -> Option<Duration> {
    let grace = node.duration(range)?;
    if grace.is_zero() {
        node.warn(
            "there is no drain: a shutdown cuts every exchange",
            "give them time, as with `shutdown-grace = \"30s\"`",
        );
    }
    Some(grace)
}

/// A path that a Unix socket can have.
pub(super) fn socket_path(node: &Node<'_>, path: PathBuf) -> Option<PathBuf> {
    if path.as_os_str().len() > SOCKET_PATH {
        return node.fault(
            format!("{} is longer than the {SOCKET_PATH} bytes that a socket's path may have", path.display()),
            "name a shorter one, as in `/run/weir/weir.sock`",
        );
    }
    match path.is_dir() {
        true => node.fault(format!("{} is a folder", path.display()), "name a file in it"),
        false => Some(path),
    }
}

fn resolvers(node: &Node<'_>) -> Option<Vec<SocketAddr>> {
    node.each("`[\"127.0.0.1:53\"]`", Node::address)
}

pub(super) fn access_log(root: &Table<'_>) -> AccessLog {
    root.read("access-log", |node| node.table("`[access-log]` above its keys").map(|table| log(&table)))
        .unwrap_or(AccessLog { format: LogFormat::Json, path: None, redact: Some(Vec::new()) })
}

fn log(table: &Table<'_>) -> AccessLog {
    let format = table.read("format", log_format).unwrap_or(LogFormat::Json);
    let path = table.read("path", log_path).flatten();
    let redact = table.read("redact", redact).unwrap_or(Some(Vec::new()));
    table.done();
    AccessLog { format, path, redact }
}

/// None within where nothing is redacted.
fn redact(node: &Node<'_>) -> Option<Option<Vec<String>>> {
    const EXAMPLE: &str = "`[\"invite\"]`, or `false`";
    if !node.is_boolean() {
        let name = |node: &Node<'_>| text(node, "`\"invite\"`", parameter);
        return node.each(EXAMPLE, name).map(Some);
    }
    match node.boolean()? {
        true => node.fault("`true` names no parameter", format!("leave it out, or write {EXAMPLE}")),
        false => {
            node.warn("the access log has the values of tokens and passwords in queries", "leave `redact` out");
            Some(None)
        }
    }
}

fn parameter(name: &str) -> Result<(), Wrong> {
    match name.is_empty() || name.contains(['=', '&', ';', '?']) {
        true => Err((format!("`{name}` is not the name of a parameter"), "write it as in `\"invite\"`".to_owned())),
        false => Ok(()),
    }
}

fn log_format(node: &Node<'_>) -> Option<LogFormat> {
    let formats = [("json", LogFormat::Json), ("logfmt", LogFormat::Logfmt), ("off", LogFormat::Off)];
    let format = node.choice(&formats)?;
    if format == LogFormat::Off {
        node.warn("the access log is off", "write `\"json\"` or `\"logfmt\"` to have one");
    }
    Some(format)
}

/// `-` is standard output, which is no path.
fn log_path(node: &Node<'_>) -> Option<Option<PathBuf>> {
    if node.as_string() == Some("-") {
        return Some(None);
    }
    let path = node.path()?;
    let folder = path.parent().filter(|folder| !folder.is_dir());
    if let Some(folder) = folder {
        let problem = format!("there is no folder {}", folder.display());
        return node.fault(problem, "create the folder, or write `-` for standard output");
    }
    match path.is_dir() {
        true => node.fault(format!("{} is a folder", path.display()), "name a file"),
        false => Some(Some(path)),
    }
}
