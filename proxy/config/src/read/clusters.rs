//! `[clusters.NAME]`: endpoints, balancing and connections; affinity and health have their own files.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, SocketAddr},
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
    model::{Balance, Cluster, Discover, Endpoint, NamedEndpoint, OutlierDetection, ProxyVersion, UpstreamTls},
    node::{Node, Table},
    read::{
        attempts::{at_once, hedge, limits, queue, retries, retry_budget},
        outlier::{agent, outliers},
    },
    syntax,
};

/// Longest time an answer of DNS counts.
const MAX_TTL: Duration = Duration::from_secs(60);
const UNSPECIFIED: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
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
    let listed = listed.and_then(|node| match found.is_some() && node.is_empty_array() {
        true => Some(Listed::default()),
        false => listed_endpoints(&node, true).inspect(|listed| exclude(&node, listed, found.as_ref())),
    });
    let listed = listed.unwrap_or_default();
    let (discover, max_ttl) = match &found {
        Some(node) => discover(node).unzip(),
        None => ((!listed.named.is_empty()).then(|| Discover::Names(listed.named.clone())), None),
    };
    let tls = tls.map(|tls| name_of(&listed, tls));
    let cluster = Cluster {
        name: named(node),
        endpoints: listed.endpoints,
        discover,
        max_ttl: max_ttl.flatten().unwrap_or(MAX_TTL),
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
    let place = found.or_else(|| table.get("endpoints").filter(|_| cluster.discover.is_some()));
    warn_of_addresses(place.as_ref(), &cluster);
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
    let named = match &cluster.discover {
        Some(Discover::Names(named)) => named.as_slice(),
        _ => &[],
    };
    let mut all = cluster.endpoints.iter().chain(named.iter().map(|named| &named.like));
    let own = all.any(|endpoint| endpoint.max_connections.is_some());
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

/// Endpoints by their addresses alone.
pub(super) fn endpoints(node: &Node<'_>) -> Option<Vec<Endpoint>> {
    listed_endpoints(node, false).map(|listed| listed.endpoints)
}

/// What `endpoints` lists.
#[derive(Default)]
struct Listed {
    endpoints: Vec<Endpoint>,
    named: Vec<NamedEndpoint>,
}

/// Where an endpoint is.
enum Place {
    At(SocketAddr),
    Named(String, u16),
}

/// Names are followed like what `discover` finds, and there is one such list.
fn exclude(node: &Node<'_>, listed: &Listed, found: Option<&Node<'_>>) {
    if let (Some(named), Some(_)) = (listed.named.first(), found) {
        let name = &named.name;
        node.key_fault(
            format!("the name `{name}` and `discover` exclude each other"),
            "write IP addresses here, or give the names a cluster of their own",
        );
    }
}

/// Where one name is all that is listed, certificates are for that.
fn name_of(listed: &Listed, tls: UpstreamTls) -> UpstreamTls {
    let first = listed.named.first().map(|named| &named.name);
    let alone = listed.endpoints.is_empty() && listed.named.iter().all(|named| Some(&named.name) == first);
    let sni = tls.sni.clone().or_else(|| first.filter(|_| alone).cloned());
    UpstreamTls { sni, ..tls }
}

fn listed_endpoints(node: &Node<'_>, by_name: bool) -> Option<Listed> {
    let example = "`[\"127.0.0.1:9001\"]`";
    let nodes = node.array(example)?;
    if nodes.is_empty() {
        return node.fault("a cluster without endpoints answers nothing", format!("write {example}"));
    }
    let (mut lines, mut listed) = (HashMap::new(), Listed::default());
    for (place, like) in nodes.iter().filter_map(|node| endpoint(node, by_name, &mut lines)) {
        match place {
            Place::At(address) => listed.endpoints.push(Endpoint { address, ..like }),
            Place::Named(name, port) => {
                let address = SocketAddr::new(UNSPECIFIED, port);
                listed.named.push(NamedEndpoint { name, like: Endpoint { address, ..like } });
            }
        }
    }
    let all = || listed.endpoints.iter().chain(listed.named.iter().map(|named| &named.like));
    if all().next().is_some() && all().all(|endpoint| endpoint.weight == 0) {
        node.warn("every endpoint has weight 0: none takes requests", "raise the weight of one");
    }
    if all().next().is_some() && all().all(|endpoint| endpoint.backup) {
        node.warn("every endpoint is a backup: there is none they stand in for", "leave out `backup`");
    }
    Some(listed)
}

fn percent(node: &Node<'_>) -> Option<u32> {
    node.integer(0..=100)
}

/// One of `endpoints`; the address of what is described is yet to be told.
fn endpoint(node: &Node<'_>, by_name: bool, lines: &mut HashMap<String, usize>) -> Option<(Place, Endpoint)> {
    let nowhere = SocketAddr::new(UNSPECIFIED, 0);
    if node.as_string().is_some() {
        return Some((endpoint_place(node, by_name, lines)?, Endpoint::at(nowhere)));
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
    let place = endpoint_place(&address?, by_name, lines)?;
    let like = Endpoint { address: nowhere, weight, labels, priority, zone, backup, max_requests, max_connections };
    Some((place, like))
}

/// Where something can be connected to, and that the cluster does not have yet.
fn endpoint_place(node: &Node<'_>, by_name: bool, lines: &mut HashMap<String, usize>) -> Option<Place> {
    let named = node.as_string().and_then(name_and_port).filter(|_| by_name);
    let (place, port, text) = match named {
        Some((name, port)) => (Place::Named(name.clone(), port), port, format!("{name}:{port}")),
        None => {
            let address = node.address()?;
            (Place::At(address), address.port(), address.to_string())
        }
    };
    if port == 0 {
        return node.fault("nothing listens on port 0", "write the endpoint's port");
    }
    let problem = |line| format!("the endpoint {text} is already there on line {line}");
    match lines.insert(text.clone(), node.line()) {
        Some(line) => node.fault(problem(line), "give one endpoint a greater `weight` instead"),
        None => Some(place),
    }
}

/// A host name, in lower case, with a port. What consists of digits alone was meant to be an address.
fn name_and_port(text: &str) -> Option<(String, u16)> {
    let (name, port) = text.rsplit_once(':')?;
    let is_name = name.contains(|c: char| c.is_ascii_alphabetic()) && !name.contains(['[', ':']);
    let name = syntax::host_name(name).ok().filter(|_| is_name)?;
    Some((name.to_ascii_lowercase(), port.parse().ok()?))
}

fn labels(node: &Node<'_>) -> Option<BTreeMap<String, String>> {
    let entries = node.table("`{ version = \"v2\" }`")?.entries();
    let label = |node: &Node<'_>| {
        let value = node.string("the value in quotes")?;
        Some((node.name().to_owned(), value.to_owned()))
    };
    Some(entries.iter().filter_map(label).collect())
}
