//! `[listeners.NAME]`

use std::{net::SocketAddr, time::Duration};

use super::{WAIT, count, named, section};
use crate::{
    model::{
        Admin, ByteSize, Certificate, Forwarded, ForwardedHeader, ForwardedMode, Limits, Listener, ListenerTls,
        Network, ProxyProtocol,
    },
    node::{Node, Table},
};

const DEFAULT_LIMITS: Limits = Limits {
    connections: 8_000,
    header_bytes: ByteSize(32 << 10),
    headers: 128,
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(75),
    body_timeout: Duration::from_secs(60),
    h2_streams: 128,
};

const FORWARDED_HEADERS: [(&str, ForwardedHeader); 4] = [
    ("x-forwarded-for", ForwardedHeader::XForwardedFor),
    ("x-forwarded-proto", ForwardedHeader::XForwardedProto),
    ("x-forwarded-host", ForwardedHeader::XForwardedHost),
    ("forwarded", ForwardedHeader::Forwarded),
];

const CERTIFICATES: &str = "`[{ cert = \"cert.pem\", key = \"key.pem\" }]`";

/// Every listener with the node of its address.
pub(super) fn listeners<'a>(root: &Table<'a>) -> Vec<(Listener, Node<'a>)> {
    section(root, "listeners", "[listeners.NAME]").iter().filter_map(listener).collect()
}

fn listener<'a>(node: &Node<'a>) -> Option<(Listener, Node<'a>)> {
    let table = node.table("`[listeners.NAME]` above its keys")?;
    let address_node = table.require("address", "\"127.0.0.1:8080\"");
    let address = address_node.as_ref().and_then(Node::address);
    let tls_node = table.get("tls");
    let tls = tls_node.as_ref().and_then(tls);
    let limits = table.read("limits", limits).unwrap_or(DEFAULT_LIMITS);
    let forwarded = table.read("forwarded", forwarded).unwrap_or_else(default_forwarded);
    let proxy_protocol = table.read("proxy-protocol", proxy_protocol).flatten();
    table.done();
    let listener = Listener { name: named(node), address: address?, tls, limits, forwarded, proxy_protocol };
    Some((listener, address_node?))
}

fn tls(node: &Node<'_>) -> Option<ListenerTls> {
    let table = node.table("`{ certificates = [{ cert = \"cert.pem\", key = \"key.pem\" }] }`")?;
    let certificates = table.require("certificates", CERTIFICATES.trim_matches('`'));
    let http2 = table.read("http2", Node::boolean).unwrap_or(true);
    table.done();
    let node = certificates?;
    if node.array(CERTIFICATES)?.is_empty() {
        return node.fault("there is no certificate", format!("write {CERTIFICATES}"));
    }
    Some(ListenerTls { certificates: node.each(CERTIFICATES, certificate)?, http2 })
}

fn certificate(node: &Node<'_>) -> Option<Certificate> {
    let table = node.table("`{ cert = \"cert.pem\", key = \"key.pem\" }`")?;
    let cert = table.require("cert", "\"cert.pem\"").and_then(|node| node.file());
    let key = table.require("key", "\"key.pem\"").and_then(|node| node.file());
    table.done();
    Some(Certificate { cert: cert?, key: key? })
}

fn limits(node: &Node<'_>) -> Option<Limits> {
    let table = node.table("`{ connections = 8000 }`")?;
    let base = DEFAULT_LIMITS;
    let wait = |key, default| table.read(key, |node| node.duration(WAIT)).unwrap_or(default);
    let limits = Limits {
        connections: table.read("connections", |node| count(node, 1..=10_000_000)).unwrap_or(base.connections),
        header_bytes: table.read("header-bytes", |node| node.size(1 << 10..=16 << 20)).unwrap_or(base.header_bytes),
        headers: table.read("headers", |node| count(node, 1..=256)).unwrap_or(base.headers),
        header_timeout: wait("header-timeout", base.header_timeout),
        idle_timeout: wait("idle-timeout", base.idle_timeout),
        body_timeout: wait("body-timeout", base.body_timeout),
        h2_streams: table.read("h2-streams", |node| node.integer(1..=65_536)).unwrap_or(base.h2_streams),
    };
    table.done();
    Some(limits)
}

fn forwarded(node: &Node<'_>) -> Option<Forwarded> {
    let table = node.table("`{ mode = \"replace\" }`")?;
    let default = default_forwarded();
    let modes = [("replace", ForwardedMode::Replace), ("append", ForwardedMode::Append), ("off", ForwardedMode::Off)];
    let mode = table.read("mode", |node| node.choice(&modes)).unwrap_or(default.mode);
    let headers = table
        .read("headers", |node| node.each("`[\"x-forwarded-for\"]`", |node| node.choice(&FORWARDED_HEADERS)))
        .unwrap_or(default.headers);
    let trusted = table.read("trusted", networks).unwrap_or_default();
    table.done();
    Some(Forwarded { mode, headers, trusted })
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

/// Two of them on one address cannot both be bound; port 0 is another each time.
pub(super) fn addresses_differ(listeners: &[(Listener, Node<'_>)], admin: Option<&(Admin, Node<'_>)>) {
    let admin = admin.map(|(admin, node)| (admin.address, node));
    let all = listeners.iter().map(|(listener, node)| (listener.address, node)).chain(admin);
    let mut all: Vec<(SocketAddr, &Node<'_>)> = all.filter(|(address, _)| address.port() != 0).collect();
    all.sort_by_key(|(address, node)| (*address, node.line()));
    for pair in all.windows(2) {
        if let [(first, taken), (second, node)] = pair
            && first == second
        {
            let problem = format!("the address {second} is already taken on line {}", taken.line());
            node.fault::<()>(problem, "choose another port");
        }
    }
}
