//! `health` of a cluster.

use std::time::Duration;

use super::{Names, WAIT, checked, text};
use crate::{
    model::{Health, HealthKind},
    node::Node,
    read::bindings::{beside, exactly_one},
    syntax,
};

pub(super) fn health<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<Health> {
    let table = node.table("`{ http = { path = \"/healthz\" } }`")?;
    let check = table.get("http");
    let plugin = table.get("plugin");
    let own = table.get("settings");
    let timeout_node = table.get("timeout");
    let interval = table.read("interval", |node| node.duration(WAIT));
    let timeout = timeout_node.as_ref().and_then(|node| node.duration(WAIT));
    let fall = table.read("fall", |node| node.integer(1..=1_000)).unwrap_or(3);
    let rise = table.read("rise", |node| node.integer(1..=1_000)).unwrap_or(2);
    exactly_one(&table, ("http", check.as_ref()), ("plugin", plugin.as_ref()));
    table.done();
    let interval = interval.unwrap_or(Duration::from_secs(2));
    let timeout = timeout.unwrap_or(Duration::from_secs(1));
    if timeout >= interval {
        let problem = "a check may still run when the next is due: `timeout` reaches `interval`";
        timeout_node.as_ref().unwrap_or(node).warn(problem, "make `timeout` the shorter");
    }
    let bound = beside(plugin.as_ref(), own.as_ref(), names).map(HealthKind::Plugin);
    let kind = check.and_then(|node| http(&node)).or(bound)?;
    Some(Health { kind, interval, timeout, fall, rise })
}

fn http(node: &Node<'_>) -> Option<HealthKind> {
    let table = node.table("`{ path = \"/healthz\" }`")?;
    let path = table.read("path", |node| text(node, "`\"/healthz\"`", syntax::target));
    let host = table.read("host", host);
    let method = table.read("method", |node| checked(node, "`\"GET\"`", syntax::method));
    let expect = table.read("expect", expect);
    table.done();
    Some(HealthKind::Http {
        path: path.unwrap_or_else(|| "/".to_owned()),
        host,
        method: method.unwrap_or_else(|| "GET".to_owned()),
        expect: expect.unwrap_or_else(|| vec![(200, 399)]),
    })
}

/// A Host header: here a port may follow.
fn host(node: &Node<'_>) -> Option<String> {
    let check = |text: &str| {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => (host, Some(port)),
            _ => (text, None),
        };
        let host = syntax::host_name(&host.to_ascii_lowercase())?;
        Ok(port.map_or(host.clone(), |port| format!("{host}:{port}")))
    };
    checked(node, "a host in quotes", check)
}

fn expect(node: &Node<'_>) -> Option<Vec<(u16, u16)>> {
    let example = "`[\"200-299\", 302]`";
    if node.array(example)?.is_empty() {
        return node.fault("no status counts as healthy", format!("write {example}"));
    }
    node.each(example, statuses)
}

/// `302` or `"200-299"`
pub(super) fn statuses(node: &Node<'_>) -> Option<(u16, u16)> {
    if node.is_integer() {
        let status = u16::try_from(node.integer(200..=599)?).ok()?;
        return Some((status, status));
    }
    let text = node.string("`302` or `\"200-299\"`")?;
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (low.trim().parse::<u16>(), high.trim().parse::<u16>()) {
        (Ok(low), Ok(high)) if 200 <= low && low <= high && high <= 599 => Some((low, high)),
        _ => node.fault(format!("`{text}` is not a range of statuses"), range_remedy(text)),
    }
}

/// `2xx` is how people say it.
fn range_remedy(text: &str) -> String {
    match text.to_ascii_lowercase().strip_suffix("xx") {
        Some(hundreds @ ("2" | "3" | "4" | "5")) => {
            format!("did you mean `\"{hundreds}00-{hundreds}99\"`?")
        }
        _ => "write two statuses from 200 to 599, the lower first, as in `\"200-299\"`".to_owned(),
    }
}
