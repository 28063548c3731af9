//! `[listeners.NAME]`

use std::{net::SocketAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use super::{
    Names, WAIT, body, count,
    limits::{access, used, used_by_connections},
    named, tls,
};
use crate::{
    model::{
        ByteSize, Cluster, EncodedSlashes, Forwarded, ForwardedHeader, ForwardedMode, Limits, Listener, Network, Paths,
        Protocol, ProxyProtocol, ProxyVersion, SentPath,
    },
    node::{Node, Table},
};

const DEFAULT_LIMITS: Limits = Limits {
    connections: 8_000,
    header_bytes: ByteSize(32 << 10),
    headers: 128,
    url_bytes: None,
    max_body: None,
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(75),
    body_timeout: Duration::from_secs(60),
    min_rate: None,
    h2_streams: 128,
};

const PROTOCOLS: [(&str, Protocol); 5] = [
    ("http", Protocol::Http),
    ("tcp", Protocol::Tcp),
    ("tls", Protocol::Tls),
    ("tls-passthrough", Protocol::TlsPassthrough),
    ("udp", Protocol::Udp),
];

const FORWARDED_HEADERS: [(&str, ForwardedHeader); 6] = [
    ("x-forwarded-for", ForwardedHeader::XForwardedFor),
    ("x-forwarded-proto", ForwardedHeader::XForwardedProto),
    ("x-forwarded-host", ForwardedHeader::XForwardedHost),
    ("x-forwarded-port", ForwardedHeader::XForwardedPort),
    ("x-real-ip", ForwardedHeader::XRealIp),
    ("forwarded", ForwardedHeader::Forwarded),
];

const DEFAULT_PATHS: Paths = Paths { encoded_slashes: EncodedSlashes::Keep, send: SentPath::Normalised };

const CONNECTIONS: RangeInclusive<u32> = 1..=10_000_000;

/// Every listener with the node of its address.
pub(super) fn listeners<'a>(nodes: &[Node<'a>], names: &Names<'a>) -> Vec<(Listener, Node<'a>)> {
    nodes.iter().filter_map(|node| listener(node, names)).collect()
}

fn listener<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<(Listener, Node<'a>)> {
    let table = node.table("`[listeners.NAME]` above its keys")?;
    let address_node = table.require("address", "\"127.0.0.1:8080\"");
    let address = address_node.as_ref().and_then(Node::address);
    let protocol_node = table.get("protocol");
    let protocol = protocol_node.as_ref().and_then(|node| node.choice(&PROTOCOLS)).unwrap_or(Protocol::Http);
    let cluster = cluster(&table, protocol, names);
    let tls_node = table.get("tls");
    let tls = tls_node.as_ref().and_then(|node| tls::listener(node, protocol, names));
    if let Some(node) = &protocol_node {
        tls::fits(node, protocol, tls_node.as_ref());
    }
    let usual = usual_limits(protocol);
    let limits = table.read("limits", |node| limits(node, usual)).unwrap_or(usual);
    let access = access(&table);
    let [rate_limits, connection_limits] = rates(&table, protocol, node.name(), names);
    let forwarded = table.read("forwarded", forwarded).unwrap_or_else(default_forwarded);
    let proxy_node = table.get("proxy-protocol");
    let proxy_protocol = proxy_node.as_ref().and_then(proxy_protocol).flatten();
    if let (Protocol::Udp, Some(_), Some(node)) = (protocol, &proxy_protocol, proxy_node) {
        node.key_fault("datagrams begin with no PROXY header", "leave out `proxy-protocol`");
    }
    let paths = table.read("paths", paths).unwrap_or(DEFAULT_PATHS);
    table.done();
    let name = named(node);
    let listener = Listener {
        name,
        address: address?,
        protocol,
        cluster,
        tls,
        limits,
        access,
        rate_limits,
        connection_limits,
        forwarded,
        proxy_protocol,
        paths,
    };
    Some((listener, address_node?))
}

/// Where a protocol has no requests that routes could tell apart.
fn cluster<'a>(table: &Table<'a>, protocol: Protocol, names: &Names<'a>) -> Option<Arc<str>> {
    let node = table.get("cluster")?;
    if protocol == Protocol::Http {
        return node.fault("requests of HTTP go by routes", "name the cluster in `[[routes]]`, or set `protocol`");
    }
    let name = node.reference("cluster", &names.clusters)?;
    names.used_clusters.borrow_mut().insert(name);
    Some(Arc::from(name))
}

/// Limits of requests, and limits of connections.
fn rates<'a>(table: &Table<'a>, protocol: Protocol, name: &str, names: &Names<'a>) -> [Vec<Arc<str>>; 2] {
    if let (false, Some(node)) = (protocol == Protocol::Http, table.get("rate-limits")) {
        node.key_fault("there are no requests that could be counted", "write `connection-limits` in its place");
    }
    [used(table, &format!("listener:{name}"), names), used_by_connections(table, name, names)]
}

fn usual_limits(protocol: Protocol) -> Limits {
    match protocol {
        Protocol::Http => DEFAULT_LIMITS,
        Protocol::Udp => Limits { idle_timeout: Duration::from_secs(60), ..DEFAULT_LIMITS },
        _ => Limits { idle_timeout: Duration::from_secs(600), ..DEFAULT_LIMITS },
    }
}

fn limits(node: &Node<'_>, base: Limits) -> Option<Limits> {
    let table = node.table("`{ connections = 8000 }`")?;
    let wait = |key, default| table.read(key, |node| node.duration(WAIT)).unwrap_or(default);
    let limits = Limits {
        connections: table.read("connections", |node| count(node, CONNECTIONS)).unwrap_or(base.connections),
        header_bytes: table.read("header-bytes", |node| node.size(1 << 10..=16 << 20)).unwrap_or(base.header_bytes),
        headers: table.read("headers", |node| count(node, 1..=256)).unwrap_or(base.headers),
        url_bytes: table.read("url-bytes", |node| node.size(64..=16 << 20)),
        max_body: table.read("max-body", body),
        header_timeout: wait("header-timeout", base.header_timeout),
        idle_timeout: wait("idle-timeout", base.idle_timeout),
        body_timeout: wait("body-timeout", base.body_timeout),
        min_rate: table.read("min-rate", |node| node.size(1..=1 << 30)),
        h2_streams: table.read("h2-streams", |node| node.integer(1..=65_536)).unwrap_or(base.h2_streams),
    };
    table.done();
    Some(limits)
}

fn forwarded(node: &Node<'_>) -> Option<Forwarded> {
    let table = node.table("`{ mode = \"replace\" }`")?;
    let modes = [
        ("replace", ForwardedMode::Replace),
        ("trusted", ForwardedMode::Trusted),
        ("append", ForwardedMode::Append),
        ("off", ForwardedMode::Off),
    ];
    let mode_node = table.get("mode");
    let mode = mode_node.as_ref().and_then(|node| node.choice(&modes));
    let headers = table
        .read("headers", |node| node.each("`[\"x-forwarded-for\"]`", |node| node.choice(&FORWARDED_HEADERS)))
        .unwrap_or(default_forwarded().headers);
    let trusted = table.read("trusted", networks).unwrap_or_default();
    table.done();
    if let (Some(node), true) = (&mode_node, trusted.is_empty()) {
        rests_on_trust(node, mode);
    }
    let usual = if trusted.is_empty() { ForwardedMode::Replace } else { ForwardedMode::Trusted };
    Some(Forwarded { mode: mode.unwrap_or(usual), headers, trusted })
}

/// Modes that are about peers which are trusted, where none are.
fn rests_on_trust(node: &Node<'_>, mode: Option<ForwardedMode>) {
    let remedy = "add `trusted = [\"10.0.0.0/8\"]` with the networks of the proxies before this listener";
    match mode {
        Some(ForwardedMode::Append) => node.warn("endpoints are told what any client writes in these headers", remedy),
        Some(ForwardedMode::Trusted) => node.warn("no proxy is trusted: every client's headers are replaced", remedy),
        _ => {}
    }
}

fn paths(node: &Node<'_>) -> Option<Paths> {
    let table = node.table("`{ encoded-slashes = \"refuse\" }`")?;
    let slashes =
        [("keep", EncodedSlashes::Keep), ("decode", EncodedSlashes::Decode), ("refuse", EncodedSlashes::Refuse)];
    let sent = [("normalised", SentPath::Normalised), ("as-sent", SentPath::AsSent)];
    let paths = Paths {
        encoded_slashes: table
            .read("encoded-slashes", |node| node.choice(&slashes))
            .unwrap_or(DEFAULT_PATHS.encoded_slashes),
        send: table.read("send", |node| node.choice(&sent)).unwrap_or(DEFAULT_PATHS.send),
    };
    table.done();
    Some(paths)
}

fn networks(node: &Node<'_>) -> Option<Vec<Network>> {
    node.each("`[\"10.0.0.0/8\"]`", Node::network)
}

/// None within when it is off.
fn proxy_protocol(node: &Node<'_>) -> Option<Option<ProxyProtocol>> {
    let table = node.table("`{ accept = \"required\", trusted = [\"10.0.0.0/8\"] }`")?;
    let words = [("required", Some(true)), ("optional", Some(false)), ("off", None)];
    let accept = table.read("accept", |node| node.choice(&words)).flatten();
    let trusted_node = table.get("trusted");
    let trusted = trusted_node.as_ref().and_then(networks);
    table.done();
    let Some(required) = accept else { return Some(None) };
    let nobody = match &trusted_node {
        None => true,
        Some(node) => node.array("`[\"10.0.0.0/8\"]`")?.is_empty(),
    };
    if nobody {
        let remedy = "add `trusted = [\"10.0.0.0/8\"]` with the networks of the proxies before this listener";
        return node.fault("nobody is trusted to send a PROXY header", remedy);
    }
    Some(Some(ProxyProtocol { required, trusted: trusted? }))
}

fn default_forwarded() -> Forwarded {
    let headers =
        vec![ForwardedHeader::XForwardedFor, ForwardedHeader::XForwardedProto, ForwardedHeader::XForwardedHost];
    Forwarded { mode: ForwardedMode::Replace, headers, trusted: Vec::new() }
}

/// Whether its clients can say which server they ask for.
pub(super) fn shows_server_names(listener: &Listener) -> bool {
    listener.tls.is_some() || listener.protocol == Protocol::TlsPassthrough || listener.proxy_protocol.is_some()
}

/// What a UDP listener leads to has to be told of clients in the version that knows UDP.
pub(super) fn introductions_fit(listeners: &[(Listener, Node<'_>)], clusters: &[Cluster]) {
    for (listener, node) in listeners.iter().filter(|(listener, _)| listener.protocol == Protocol::Udp) {
        let cluster = clusters.iter().find(|cluster| Some(&cluster.name) == listener.cluster.as_ref());
        if let Some(cluster) = cluster
            && cluster.send_proxy_protocol == Some(ProxyVersion::V1)
        {
            let problem =
                format!("cluster `{}` wants version 1 of the PROXY protocol, which knows no UDP", cluster.name);
            node.fault::<()>(problem, "write `send-proxy-protocol = \"v2\"`, or lead elsewhere");
        }
    }
}

/// Two of them on one address cannot both be bound, unless one is of datagrams; port 0 is another each
/// time. Every address of its family belongs to `0.0.0.0` and `[::]`, where connections are accepted.
pub(super) fn addresses_differ(listeners: &[(Listener, Node<'_>)], admin: &[(SocketAddr, Node<'_>)]) {
    let admin = admin.iter().map(|(address, node)| (*address, false, node));
    let all = listeners.iter().map(|(one, node)| (one.address, one.protocol == Protocol::Udp, node)).chain(admin);
    let mut all: Vec<(SocketAddr, bool, &Node<'_>)> = all.filter(|(address, ..)| address.port() != 0).collect();
    all.sort_by_key(|(_, _, node)| node.line());
    for (at, (second, datagrams, node)) in all.iter().enumerate() {
        let mut before = all.iter().take(at).filter(|(_, of_datagrams, _)| of_datagrams == datagrams);
        let taken = before.find(|(first, ..)| first == second || (!datagrams && overlap(*first, *second)));
        if let Some((first, _, taken)) = taken {
            let problem = match first == second {
                true => format!("the address {second} is already taken on line {}", taken.line()),
                false => format!("the addresses {first} on line {} and {second} cannot both be bound", taken.line()),
            };
            node.fault::<()>(problem, "choose another port");
        }
    }
}

fn overlap(first: SocketAddr, second: SocketAddr) -> bool {
    let any = first.ip().is_unspecified() || second.ip().is_unspecified();
    any && first.port() == second.port() && first.is_ipv4() == second.is_ipv4()
}
