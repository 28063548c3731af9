//! `[plugins.NAME]`

use std::{ops::RangeInclusive, time::Duration};

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

/// A call runs on the thread of its worker.
const LONGEST_CALL: Duration = Duration::from_millis(100);
const CHECK_CPU: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);

pub(super) fn plugin(node: &Node<'_>) -> Option<Plugin> {
    let table = node.table("`[plugins.NAME]` above its keys")?;
    let path = table.require("path", "\"plugin.wasm\"").and_then(|node| node.file());
    let choices = [("native", OnFailure::Native), ("reject", OnFailure::Reject)];
    let settings = table.read("settings", settings).unwrap_or_default();
    let deadline = table.read("deadline", deadline).unwrap_or(Duration::from_millis(5));
    let worker_share = table.read("worker-share", |node| node.integer(1..=100)).unwrap_or(50);
    let check_cpu = table.read("check-cpu", |node| node.duration(CHECK_CPU)).unwrap_or(Duration::from_millis(100));
    let memory = table.read("memory", |node| node.size(64 << 10..=1 << 30)).unwrap_or(ByteSize(16 << 20));
    let on_failure = table.read("on-failure", |node| node.choice(&choices)).unwrap_or(OnFailure::Native);
    let grants = table
        .read("grants", |node| node.each("`[\"log\"]`", |node| node.choice(&GRANTS)))
        .unwrap_or_else(|| vec![Grant::Log, Grant::Metrics, Grant::Clock, Grant::Random]);
    table.done();
    let settings = serde_json::Value::Object(settings);
    Some(Plugin {
        name: named(node),
        path: path?,
        settings,
        deadline,
        worker_share,
        check_cpu,
        memory,
        on_failure,
        grants,
    })
}

/// A worker serves nothing else while it waits for a call.
fn deadline(node: &Node<'_>) -> Option<Duration> {
    let deadline = node.duration(Duration::from_millis(1)..=Duration::from_secs(10))?;
    if deadline <= LONGEST_CALL {
        return Some(deadline);
    }
    node.fault(
        "a call longer than 100ms holds up every connection of its worker",
        "write 1ms to 100ms; a health check may take longer, by the `timeout` of its cluster's `health`",
    )
}
