//! `outlier-detection` and `agent` of a cluster.

use std::time::Duration;

use super::{WAIT, checks::octets, health::port};
use crate::{
    model::{Agent, Latency, OutlierDetection, SuccessRate},
    node::{Node, Table},
};

/// `false`, or a table; none inside is off.
pub(super) fn outliers(node: &Node<'_>) -> Option<Option<OutlierDetection>> {
    if node.is_boolean() {
        return match node.boolean()? {
            false => Some(None),
            true => node.fault("`true` is what holds without the key", "leave it out, or write a table"),
        };
    }
    let table = node.table("`{ consecutive-5xx = 5 }` or `false`")?;
    let default = OutlierDetection::default();
    let in_a_row = |key, default| table.read(key, |node| node.integer(0..=1_000)).unwrap_or(default);
    let time = |key, default| table.read(key, |node| node.duration(WAIT)).unwrap_or(default);
    let ejection = time("ejection", default.ejection);
    let percent = |key, range| table.read(key, |node| node.integer(range));
    let max_ejected = percent("max-ejected", 1..=100).unwrap_or(default.max_ejected);
    let panic_threshold = default.panic_threshold.min(100_u32.saturating_sub(max_ejected));
    let detection = OutlierDetection {
        connect_failures: in_a_row("consecutive-connect-failures", default.connect_failures),
        gateway_errors: in_a_row("consecutive-gateway-errors", default.gateway_errors),
        server_errors: in_a_row("consecutive-5xx", default.server_errors),
        interval: time("interval", default.interval),
        ejection,
        max_ejection: longest(&table, ejection).unwrap_or(default.max_ejection.max(ejection)),
        max_ejected,
        panic_threshold: percent("panic-threshold", 0..=100).unwrap_or(panic_threshold),
        check_ends_ejection: table.read("check-ends-ejection", Node::boolean).unwrap_or(default.check_ends_ejection),
        success_rate: table.read("success-rate", success_rate),
        latency: table.read("latency", latency),
    };
    table.done();
    Some(Some(detection))
}

fn longest(table: &Table<'_>, ejection: Duration) -> Option<Duration> {
    let node = table.get("max-ejection")?;
    let longest = node.duration(WAIT)?;
    if longest < ejection {
        node.warn("`max-ejection` is shorter than `ejection`, which it cuts", "make it the longer");
    }
    Some(longest)
}

fn success_rate(node: &Node<'_>) -> Option<SuccessRate> {
    let table = node.table("`{}`, or `{ deviations = 1.9 }`")?;
    let default = SuccessRate::default();
    let rate = SuccessRate {
        endpoints: endpoints(&table).unwrap_or(default.endpoints),
        requests: requests(&table).unwrap_or(default.requests),
        deviations: table.read("deviations", |node| node.hundredths(10..=1_000)).unwrap_or(default.deviations),
    };
    table.done();
    Some(rate)
}

fn latency(node: &Node<'_>) -> Option<Latency> {
    let table = node.table("`{}`, or `{ factor = 3 }`")?;
    let default = Latency::default();
    let latency = Latency {
        endpoints: endpoints(&table).unwrap_or(default.endpoints),
        requests: requests(&table).unwrap_or(default.requests),
        factor: table.read("factor", |node| node.hundredths(110..=10_000)).unwrap_or(default.factor),
    };
    table.done();
    Some(latency)
}

fn endpoints(table: &Table<'_>) -> Option<u32> {
    table.read("min-endpoints", |node| node.integer(2..=10_000))
}

fn requests(table: &Table<'_>) -> Option<u32> {
    table.read("min-requests", |node| node.integer(1..=1_000_000))
}

pub(super) fn agent(node: &Node<'_>) -> Option<Agent> {
    let table = node.table("`{ port = 9777 }`")?;
    let port = table.require("port", "9777").and_then(|node| port(&node));
    let wait = |key, seconds| table.read(key, |node| node.duration(WAIT)).unwrap_or(Duration::from_secs(seconds));
    let (interval, timeout) = (wait("interval", 2), wait("timeout", 1));
    let send = table.read("send", octets).unwrap_or_default();
    table.done();
    Some(Agent { port: port?, interval, timeout, send })
}
