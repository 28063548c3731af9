//! `[plugins.NAME]`

use std::time::Duration;

use super::named;
use crate::{
    model::{ByteSize, Grant, OnFailure, Plugin},
    node::Node,
    read::bindings::settings,
};

const GRANTS: [(&str, Grant); 5] = [
    ("log", Grant::Log),
    ("metrics", Grant::Metrics),
    ("clock", Grant::Clock),
    ("random", Grant::Random),
    ("kv", Grant::Kv),
];

pub(super) fn plugin(node: &Node<'_>) -> Option<Plugin> {
    let table = node.table("`[plugins.NAME]` above its keys")?;
    let path = table.require("path", "\"plugin.wasm\"").and_then(|node| node.file());
    let deadline = Duration::from_millis(1)..=Duration::from_secs(10);
    let choices = [("native", OnFailure::Native), ("reject", OnFailure::Reject)];
    let settings = table.read("settings", settings).unwrap_or_default();
    let deadline = table.read("deadline", |node| node.duration(deadline)).unwrap_or(Duration::from_millis(5));
    let memory = table.read("memory", |node| node.size(64 << 10..=4 << 30)).unwrap_or(ByteSize(16 << 20));
    let on_failure = table.read("on-failure", |node| node.choice(&choices)).unwrap_or(OnFailure::Native);
    let grants = table
        .read("grants", |node| node.each("`[\"log\"]`", |node| node.choice(&GRANTS)))
        .unwrap_or_else(|| vec![Grant::Log, Grant::Metrics, Grant::Clock, Grant::Random]);
    table.done();
    let settings = serde_json::Value::Object(settings);
    Some(Plugin { name: named(node), path: path?, settings, deadline, memory, on_failure, grants })
}
