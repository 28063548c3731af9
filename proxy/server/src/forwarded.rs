//! Telling endpoints who asked, and learning it from proxies that are trusted: `X-Forwarded-*`, `X-Real-IP` and
//! `Forwarded` (RFC 7239).

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};
use weir_config::{Forwarded, ForwardedHeader, ForwardedMode};

use crate::{
    fields,
    request::{self, Client, Request},
    router::port_of,
};

static FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// Fields by which programs learn how a client came. Of an untrusted peer none of them passes.
static OURS: [HeaderName; 10] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
    FORWARDED,
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-ssl"),
];

/// The client a trusted proxy speaks for, as far as the proxy says anything: the rightmost address of
/// `X-Forwarded-For` that is not trusted itself, since whatever the client wrote there stands further left, and the
/// scheme by which that client came.
pub fn client(peer: &Client, headers: &HeaderMap, config: &Forwarded) -> Option<Client> {
    if !is_trusted(config, peer.address.ip()) {
        return None;
    }
    let (mut found, mut walked) = (None, 0);
    for hop in from_the_right(headers, &FOR) {
        let Some(address) = address(hop) else { break };
        (found, walked) = (Some(address), walked + 1);
        if !is_trusted(config, address.ip()) {
            break;
        }
    }
    let scheme = scheme(headers, walked);
    (found.is_some() || scheme.is_some()).then(|| peer.speaking_for(found.unwrap_or(peer.address), scheme))
}

fn is_trusted(config: &Forwarded, ip: IpAddr) -> bool {
    config.trusted.iter().any(|network| network.contains(ip))
}

fn from_the_right<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(name).iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','))
}

/// What `X-Forwarded-Proto` says of the hop that the walk through `X-Forwarded-For` came to. Most proxies write one
/// value, in place of a list.
fn scheme(headers: &HeaderMap, walked: usize) -> Option<&'static str> {
    let said = from_the_right(headers, &PROTO).take(walked.max(1));
    said.map_while(|scheme| match scheme.trim_ascii() {
        secure if secure.eq_ignore_ascii_case(b"https") || secure.eq_ignore_ascii_case(b"wss") => Some("https"),
        plain if plain.eq_ignore_ascii_case(b"http") || plain.eq_ignore_ascii_case(b"ws") => Some("http"),
        _ => None,
    })
    .last()
}

/// With a port or without.
fn address(hop: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(SocketAddr::new(address.ip().to_canonical(), address.port()));
    }
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip.to_canonical(), 0))
}

/// What is made of the fields that came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// They go, and ours stand in their place.
    Replace,
    /// Ours come behind them.
    Append,
    /// They are a trusted proxy's word: lists are added to, single values pass.
    Believe,
}

/// Sets the fields as the listener says.
pub fn set(request: &mut Request, client: &Client, config: &Forwarded) {
    let trusted = is_trusted(config, client.peer.ip());
    let rule = match config.mode {
        ForwardedMode::Off => return,
        ForwardedMode::Append if trusted || config.trusted.is_empty() => Rule::Append,
        ForwardedMode::Trusted if trusted => Rule::Believe,
        ForwardedMode::Replace | ForwardedMode::Append | ForwardedMode::Trusted => Rule::Replace,
    };
    match rule {
        Rule::Replace => remove(&mut request.headers),
        Rule::Append => {}
        Rule::Believe => doubt(&mut request.headers, client, config),
    }
    for header in &config.headers {
        match header {
            ForwardedHeader::XForwardedFor => hop(request, client, rule),
            ForwardedHeader::XForwardedProto => proto(request, client, rule),
            ForwardedHeader::XForwardedHost => host(request, rule),
            ForwardedHeader::XForwardedPort => port(request, client, rule),
            ForwardedHeader::XRealIp => drop(client.ip_value().map(|ip| request.headers.insert(&REAL_IP, ip))),
            ForwardedHeader::Forwarded => forwarded(request, client, rule),
        }
    }
}

/// Removes what was said before.
pub fn remove(headers: &mut HeaderMap) {
    // Most requests have none.
    if headers.keys().any(|name| name.as_str().starts_with(['x', 'f'])) {
        fields::remove(headers, &OURS);
    }
}

/// Takes out of a trusted proxy's word what it is likely to have passed on unread: a client may have written it.
fn doubt(headers: &mut HeaderMap, client: &Client, config: &Forwarded) {
    fields::remove_disguised(headers, &OURS);
    if !config.headers.contains(&ForwardedHeader::Forwarded) {
        headers.remove(FORWARDED);
    }
    if let (true, Some(ip)) = (headers.contains_key(&REAL_IP), client.ip_value()) {
        headers.insert(&REAL_IP, ip);
    }
}

/// A chain names the peer that asked each of its proxies.
fn asker(client: &Client, rule: Rule) -> SocketAddr {
    if rule == Rule::Replace { client.address } else { client.peer }
}

fn hop(request: &mut Request, client: &Client, rule: Rule) {
    let named = asker(client, rule);
    let value = if named == client.address { client.ip_value() } else { request::ip_value(named.ip()) };
    put(&mut request.headers, &FOR, value, rule != Rule::Replace);
}

fn proto(request: &mut Request, client: &Client, rule: Rule) {
    let scheme = if rule == Rule::Append { client.connection_scheme() } else { client.scheme() };
    put(&mut request.headers, &PROTO, Some(HeaderValue::from_static(scheme)), rule == Rule::Append);
}

fn host(request: &mut Request, rule: Rule) {
    if rule == Rule::Believe && request.headers.contains_key(&HOST) {
        return;
    }
    let asked = request.headers.get(http::header::HOST).cloned();
    put(&mut request.headers, &HOST, asked, rule == Rule::Append);
}

fn port(request: &mut Request, client: &Client, rule: Rule) {
    if rule == Rule::Believe && request.headers.contains_key(&PORT) {
        return;
    }
    let port = match client.scheme() {
        // Ours is the port that the proxy asked.
        scheme if rule != Rule::Append && client.peer != client.address => {
            port_of(request.authority()).unwrap_or(if scheme == "https" { 443 } else { 80 })
        }
        _ => client.destination().port(),
    };
    put(&mut request.headers, &PORT, Some(HeaderValue::from(port)), rule == Rule::Append);
}

fn forwarded(request: &mut Request, client: &Client, rule: Rule) {
    let scheme = if rule == Rule::Replace { client.scheme() } else { client.connection_scheme() };
    let value = element(asker(client, rule).ip(), scheme, request.authority());
    put(&mut request.headers, &FORWARDED, HeaderValue::try_from(value).ok(), rule != Rule::Replace);
}

fn put(headers: &mut HeaderMap, name: &HeaderName, value: Option<HeaderValue>, append: bool) {
    let Some(value) = value else { return };
    if !append || !headers.contains_key(name) {
        headers.insert(name, value);
        return;
    }
    let mut list: Vec<u8> = Vec::new();
    for part in headers.get_all(name).iter().chain([&value]) {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(part.as_bytes());
    }
    if let Ok(list) = HeaderValue::try_from(list) {
        headers.insert(name, list);
    }
}

fn element(ip: IpAddr, proto: &str, host: &str) -> String {
    match ip {
        IpAddr::V4(ip) => format!("for={ip};host=\"{host}\";proto={proto}"),
        IpAddr::V6(ip) => format!("for=\"[{ip}]\";host=\"{host}\";proto={proto}"),
    }
}
