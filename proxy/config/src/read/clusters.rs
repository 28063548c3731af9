//! `[clusters.NAME]`: endpoints, balancing and connections; affinity and health have their own files.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use super::{
    Names, WAIT,
    affinity::affinity,
    balance::{balance, load_reports},
    checks::Protocol,
    count,
    discover::discover,
    health::health,
    named, tls, zone,
};
use crate::{
    model::{Balance, Cluster, Endpoint, OutlierDetection, ProxyVersion},
    node::{Node, Table},
    read::{
        attempts::{at_once, hedge, limits, queue, retries, retry_budget},
        outlier::{agent, outliers},
    },
};

const DRAIN: Duration = Duration::from_secs(30);
/// Any time that may pass, or none.
const ANY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);

pub(super) fn cluster<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<Cluster> {
    let table = node.table("`[clusters.NAME]` above its keys")?;
    let wait = |key, seconds| {
        let read = table.read(key, |node| node.duration(WAIT));
        read.unwrap_or(Duration::from_secs(seconds))
    };
    let http2 = table.read("http2", Node::boolean).unwrap_or(false);
    let tls = table.read("tls", tls::cluster);
    let takes_requests = names.routed_clusters.borrow().contains(node.name());
    let protocol = Protocol { http2, tls: tls.as_ref(), takes_requests };
    let health = table.read("health", |node| health(node, names, protocol));
    let found = table.get("discover");
    let listed = match &found {
        Some(_) => table.get("endpoints"),
        None => table.require("endpoints", "[\"127.0.0.1:9001\"]"),
    };
    let endpoints = listed.and_then(|node| match found.is_some() && node.is_empty_array() {
        true => Some(Vec::new()),
        false => endpoints(&node),
    });
    let cluster = Cluster {
        name: named(node),
        endpoints: endpoints.unwrap_or_default(),
        discover: found.as_ref().and_then(discover),
        balance: table.read("balance", |node| balance(node, names)).unwrap_or(Balance::RoundRobin),
        load_reports: table.read("load-reports", load_reports),
        affinity: table.read("affinity", |node| affinity(node, names)),
        health,
        agent: table.read("agent", agent),
        outlier_detection: table
            .read("outlier-detection", outliers)
            .unwrap_or_else(|| Some(OutlierDetection::default())),
        drain: table.read("drain", |node| node.duration(ANY)).unwrap_or(DRAIN),
        slow_start: table.read("slow-start", |node| node.duration(ANY)).filter(|over| !over.is_zero()),
        min_healthy: table.read("min-healthy", percent).unwrap_or(50),
        panic_threshold: table.read("panic-threshold", percent).unwrap_or(0),
        zone: names.zone.clone(),
        http2,
        h2_streams: h2_streams(&table, http2),
        tls,
        connect_timeout: wait("connect-timeout", 5),
        response_timeout: wait("response-timeout", 60),
        idle_connections: table.read("idle-connections", |node| count(node, 0..=100_000)).unwrap_or(64),
        idle_timeout: wait("idle-timeout", 30),
        send_proxy_protocol: table
            .read("send-proxy-protocol", |node| node.choice(&[("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)])),
        timeout: table.read("timeout", |node| node.duration(WAIT)),
        attempt_timeout: table.read("attempt-timeout", |node| node.duration(WAIT)),
        retries: table.read("retries", retries),
        hedge: table.read("hedge", hedge),
        tunnel_idle_timeout: wait("tunnel-idle-timeout", 3600),
        retry_budget: table.read("retry-budget", retry_budget).unwrap_or_default(),
        limits: table.read("limits", limits).unwrap_or_default(),
        queue: table.read("queue", queue).unwrap_or_default(),
    };
    habits(&table, &cluster);
    table.done();
    shared_connections(&table, &cluster);
    warn_of_addresses(found.as_ref(), &cluster);
    Some(cluster)
}

/// Streams on one connection.
fn h2_streams(table: &Table<'_>, http2: bool) -> u32 {
    let node = table.get("h2-streams");
    if let (Some(node), false) = (&node, http2) {
        node.key_warn("`h2-streams` is for connections of HTTP/2", "add `http2 = true`, or leave out `h2-streams`");
    }
    node.and_then(|node| node.integer(1..=65_536)).unwrap_or(100)
}

/// What makes a cluster slower or rougher than it need be, or has no effect.
fn habits(table: &Table<'_>, cluster: &Cluster) {
    if let (Balance::First { .. }, Some(node)) = (&cluster.balance, table.get("load-reports")) {
        node.key_warn("load reports change weights, and `first` does not go by weight", "leave out `load-reports`");
    }
    if let (true, Some(node)) = (cluster.drain.is_zero(), table.get("drain")) {
        node.warn(
            "there is no drain: an endpoint that leaves loses its sessions at once",
            "give them time, as with `drain = \"30s\"`",
        );
    }
    let near = |endpoint: &Endpoint| is_near(endpoint.address.ip());
    if let (true, true, Some(node)) =
        (cluster.tls.is_some(), cluster.idle_connections == 0, table.get("idle-connections"))
        && cluster.endpoints.iter().any(near)
    {
        node.warn(
            "every request pays for a TLS handshake with an endpoint of the own network",
            "keep connections: leave out `idle-connections`, or leave out `tls` where the network is trusted",
        );
    }
}

/// What counts connections has no meaning where each takes many requests.
fn shared_connections(table: &Table<'_>, cluster: &Cluster) {
    let limits = cluster.limits;
    let whole = limits.connections.or(limits.endpoint_connections).is_some();
    let own = cluster.endpoints.iter().any(|endpoint| endpoint.max_connections.is_some());
    let key = if whole { "limits" } else { "endpoints" };
    if let (true, true, Some(node)) = (cluster.http2, whole || own, table.get(key)) {
        node.key_fault(
            "a connection of HTTP/2 takes many requests: their number is limited by requests alone",
            "limit `requests`, `endpoint-requests` or `max-requests` instead",
        );
    }
}

/// Certificates are hardly ever for the addresses that are found.
fn warn_of_addresses(discover: Option<&Node<'_>>, cluster: &Cluster) {
    let by_address = cluster.tls.as_ref().is_some_and(|tls| tls.verify && tls.sni.is_none());
    if let (Some(node), true) = (discover, by_address) {
        node.key_warn(
            "certificates of endpoints are verified for the addresses that are found",
            "write the name they are for as `sni` of `tls`",
        );
    }
}

/// Whether an address is on this machine or on a private network (RFC 1918, RFC 4193).
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

pub(super) fn endpoints(node: &Node<'_>) -> Option<Vec<Endpoint>> {
    let example = "`[\"127.0.0.1:9001\"]`";
    let nodes = node.array(example)?;
    if nodes.is_empty() {
        return node.fault("a cluster without endpoints answers nothing", format!("write {example}"));
    }
    let mut lines: HashMap<SocketAddr, usize> = HashMap::new();
    let endpoints: Vec<Endpoint> = nodes.iter().filter_map(|node| endpoint(node, &mut lines)).collect();
    if !endpoints.is_empty() && endpoints.iter().all(|endpoint| endpoint.weight == 0) {
        node.warn("every endpoint has weight 0: none takes requests", "raise the weight of one");
    }
    if !endpoints.is_empty() && endpoints.iter().all(|endpoint| endpoint.backup) {
        node.warn("every endpoint is a backup: there is none they stand in for", "leave out `backup`");
    }
    Some(endpoints)
}

fn percent(node: &Node<'_>) -> Option<u32> {
    node.integer(0..=100)
}

fn endpoint(node: &Node<'_>, lines: &mut HashMap<SocketAddr, usize>) -> Option<Endpoint> {
    if node.as_string().is_some() {
        let address = endpoint_address(node, lines)?;
        return Some(Endpoint::at(address));
    }
    let table = node.table("`\"127.0.0.1:9001\"` or `{ address = \"127.0.0.1:9001\" }`")?;
    let address = table.require("address", "\"127.0.0.1:9001\"");
    let weight = table.read("weight", |node| node.integer(0..=1_000)).unwrap_or(1);
    let labels = table.read("labels", labels).unwrap_or_default();
    let priority = table.read("priority", |node| node.integer(0..=65_535)).unwrap_or(0);
    let zone = table.read("zone", zone);
    let backup = table.read("backup", Node::boolean).unwrap_or(false);
    let max_requests = table.read("max-requests", at_once);
    let max_connections = table.read("max-connections", at_once);
    table.done();
    Some(Endpoint {
        address: endpoint_address(&address?, lines)?,
        weight,
        labels,
        priority,
        zone,
        backup,
        max_requests,
        max_connections,
    })
}

/// An address that can be connected to and that the cluster does not have yet.
fn endpoint_address(node: &Node<'_>, lines: &mut HashMap<SocketAddr, usize>) -> Option<SocketAddr> {
    let address = node.address()?;
    if address.port() == 0 {
        return node.fault("nothing listens on port 0", "write the endpoint's port");
    }
    match lines.insert(address, node.line()) {
        Some(line) => node.fault(
            format!("the endpoint {address} is already there on line {line}"),
            "give one endpoint a greater `weight` instead",
        ),
        None => Some(address),
    }
}

fn labels(node: &Node<'_>) -> Option<BTreeMap<String, String>> {
    let entries = node.table("`{ version = \"v2\" }`")?.entries();
    let label = |node: &Node<'_>| {
        let value = node.string("the value in quotes")?;
        Some((node.name().to_owned(), value.to_owned()))
    };
    Some(entries.iter().filter_map(label).collect())
}
