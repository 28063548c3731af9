//! `weir plugin`: commands to a running Weir, and what they print.

use std::{fmt::Write, path::Path, process::ExitCode};

use anyhow::Context;
use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::{
    PluginCommand,
    client::{ask, finish},
    table::{list, table, text},
};

/// Digits of a version that people see.
const SHORT: usize = 12;

/// Does what was asked and prints the outcome.
pub fn plugin(command: &PluginCommand) -> ExitCode {
    finish(run(command))
}

async fn run(command: &PluginCommand) -> anyhow::Result<String> {
    match command {
        PluginCommand::Push { name, file, admin } => {
            let component = read(file)?;
            let answer = ask(admin, Method::PUT, &format!("/v1/plugins/{name}"), component).await?;
            Ok(current(name, &answer))
        }
        PluginCommand::List { json, admin } => {
            let answer = ask(admin, Method::GET, "/v1/plugins", Bytes::new()).await?;
            Ok(if *json { format!("{answer:#}\n") } else { versions(&answer) })
        }
        PluginCommand::Rollback { name, to, admin } => {
            let version = to.as_deref().map(|version| format!("?version={version}")).unwrap_or_default();
            let path = format!("/v1/plugins/{name}/rollback{version}");
            let answer = ask(admin, Method::POST, &path, Bytes::new()).await?;
            Ok(current(name, &answer))
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Bytes> {
    let component = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let is_wasm = component.starts_with(b"\0asm");
    anyhow::ensure!(is_wasm, "{} is not a WebAssembly component", file.display());
    Ok(component.into())
}

/// What a push or a rollback says: the version that decides now, and the way back.
fn current(name: &str, answer: &Value) -> String {
    let mut text = format!("{name} is now version {}\n", short(answer, "sha256"));
    let previous = answer.get("previous").filter(|previous| previous.is_string());
    if previous.is_some_and(|previous| Some(previous) != answer.get("sha256")) {
        let _ = writeln!(text, "the way back: weir plugin rollback {name} --to {}", short(answer, "previous"));
    }
    text
}

/// One line a version; the current one is marked.
fn versions(answer: &Value) -> String {
    let mut rows = vec![["PLUGIN", "VERSION", "ROLES", "SIZE", "LOADED"].map(str::to_owned)];
    for plugin in list(answer, "plugins") {
        rows.extend(list(plugin, "versions").iter().map(|version| row(plugin, version)));
    }
    if rows.len() == 1 {
        return "no plugins\n".to_owned();
    }
    let mut text = table(&rows) + "* decides now\n";
    for plugin in list(answer, "plugins") {
        list(plugin, "open_breakers").iter().for_each(|open| text += &breaker(plugin, open));
    }
    list(answer, "compiling").iter().for_each(|one| text += &compiling(one));
    text
}

fn compiling(one: &Value) -> String {
    let size = one.get("size").and_then(Value::as_u64).unwrap_or_default().div_ceil(1024);
    format!(
        "compiling {} for {}: {size} KiB, since {}\n",
        short(one, "sha256"),
        text(one, "plugin"),
        text(one, "since")
    )
}

/// A binding that is not asked for now.
fn breaker(plugin: &Value, open: &Value) -> String {
    let places: Vec<&str> = list(open, "used_by").iter().filter_map(Value::as_str).collect();
    let number = |key| open.get(key).and_then(Value::as_u64);
    let worker = number("worker").map_or("health checks".to_owned(), |worker| format!("worker {worker}"));
    format!(
        "{} is not asked by {worker} for {} since {}: {} failures in a row, the last one: {}; next trial in {} ms\n",
        text(plugin, "name"),
        if places.is_empty() { "requests under way".to_owned() } else { places.join(", ") },
        text(open, "since"),
        number("failures").unwrap_or_default(),
        text(open, "failure"),
        number("next_trial_ms").unwrap_or_default(),
    )
}

fn row(plugin: &Value, version: &Value) -> [String; 5] {
    let mark = if version.get("current").and_then(Value::as_bool).unwrap_or_default() { "*" } else { "" };
    let roles: Vec<&str> = list(version, "roles").iter().filter_map(Value::as_str).collect();
    let size = version.get("size").and_then(Value::as_u64);
    [
        text(plugin, "name"),
        short(version, "sha256") + mark,
        roles.join(","),
        size.map_or("-".to_owned(), |bytes| format!("{} KiB", bytes.div_ceil(1024))),
        text(version, "loaded"),
    ]
}

fn short(value: &Value, key: &str) -> String {
    text(value, key).chars().take(SHORT).collect()
}

#[cfg(test)]
mod tests;
