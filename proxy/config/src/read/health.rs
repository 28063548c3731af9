//! `health` of a cluster: how often, and what follows. What is asked has its own file.

use std::time::Duration;

use super::{
    Names, WAIT,
    checks::{self, Protocol},
    tls,
};
use crate::{
    model::{Health, HealthKind, Initial, OnCheckFailure, TcpCheck, UpstreamTls},
    node::{Node, Table},
    read::bindings::{beside, one_of},
};

const KINDS: [&str; 5] = ["http", "tcp", "grpc", "exec", "plugin"];
/// Where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(1);

/// `protocol` is the cluster's own.
pub(super) fn health<'a>(node: &Node<'a>, names: &Names<'a>, protocol: Protocol<'_>) -> Option<Health> {
    let table = node.table("`{ http = { path = \"/healthz\" } }`")?;
    // Everything is read, and its faults told, where nothing is asked as well.
    let kind = kind(&table, names, &protocol);
    let default = Health::new(kind.clone().unwrap_or(HealthKind::Tcp(TcpCheck::default())));
    let interval = table.read("interval", |node| node.duration(WAIT)).unwrap_or(default.interval);
    let health = Health {
        interval,
        fast_interval: table.read("fast-interval", |node| fast(node, interval)).unwrap_or(interval / 4),
        jitter: table.read("jitter", |node| node.integer(0..=50)).unwrap_or(default.jitter),
        timeout: timeout(node, &table, interval).unwrap_or(default.timeout),
        fall: table.read("fall", |node| node.integer(1..=1_000)).unwrap_or(default.fall),
        rise: table.read("rise", |node| node.integer(1..=1_000)).unwrap_or(default.rise),
        port: table.read("port", port),
        tls: table.read("tls", tls).unwrap_or_else(|| protocol.tls.cloned()),
        initial: table.read("initial", initial).unwrap_or(default.initial),
        on_failure: table.read("on-failure", |node| on_failure(node, &table)).unwrap_or(default.on_failure),
        kind: default.kind,
    };
    table.done();
    kind.map(|_| health)
}

fn kind<'a>(table: &Table<'a>, names: &Names<'a>, protocol: &Protocol<'_>) -> Option<HealthKind> {
    let nodes = KINDS.map(|kind| table.get(kind));
    let own = table.get("settings");
    one_of(table, &nodes.each_ref().map(Option::as_ref), &KINDS);
    let [http, tcp, grpc, exec, plugin] = nodes;
    let bound = beside(plugin.as_ref(), own.as_ref(), names).map(HealthKind::Plugin);
    http.and_then(|node| checks::http(&node, protocol))
        .or_else(|| tcp.and_then(|node| checks::tcp(&node, protocol)))
        .or_else(|| grpc.and_then(|node| checks::grpc(&node)))
        .or_else(|| exec.and_then(|node| checks::exec(&node)))
        .or(bound)
}

fn timeout(health: &Node<'_>, table: &Table<'_>, interval: Duration) -> Option<Duration> {
    let node = table.get("timeout");
    let timeout = node.as_ref().and_then(|node| node.duration(WAIT));
    if timeout.unwrap_or(TIMEOUT) >= interval {
        let problem = "a check may still run when the next is due: `timeout` reaches `interval`";
        node.as_ref().unwrap_or(health).warn(problem, "make `timeout` the shorter");
    }
    timeout
}

fn fast(node: &Node<'_>, interval: Duration) -> Option<Duration> {
    let fast = node.duration(WAIT)?;
    if fast > interval {
        node.warn("`fast-interval` is longer than `interval`: changes are noticed later", "make it the shorter");
    }
    Some(fast)
}

pub(super) fn port(node: &Node<'_>) -> Option<u16> {
    u16::try_from(node.integer(1..=65_535)?).ok()
}

/// `false`, or a table.
fn tls(node: &Node<'_>) -> Option<Option<UpstreamTls>> {
    if !node.is_boolean() {
        return tls::cluster(node).map(Some);
    }
    match node.boolean()? {
        false => Some(None),
        true => node.fault("`true` says nothing on whom to trust", "write `{}` for TLS with the defaults"),
    }
}

/// For checks by plugins: others cannot fail but at their endpoint.
fn on_failure(node: &Node<'_>, health: &Table<'_>) -> Option<OnCheckFailure> {
    if health.get("plugin").is_none() {
        node.key_warn("`on-failure` is for checks by a plugin", "leave it out");
    }
    node.choice(&[("tcp", OnCheckFailure::Tcp), ("fail", OnCheckFailure::Fail)])
}

fn initial(node: &Node<'_>) -> Option<Initial> {
    node.choice(&[("healthy", Initial::Healthy), ("unhealthy", Initial::Unhealthy), ("checking", Initial::Checking)])
}
