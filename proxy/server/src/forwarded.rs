//! Telling endpoints who asked: `X-Forwarded-*` and `Forwarded` (RFC 7239).

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};
use weir_config::{Forwarded, ForwardedHeader, ForwardedMode};

use crate::{
    fields,
    request::{self, Client, Request},
};

static FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static OURS: [HeaderName; 4] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    FORWARDED,
];

/// The client a trusted proxy speaks for: the rightmost address of `X-Forwarded-For` that is not
/// trusted itself, since whatever the client wrote there stands further left.
pub fn client(peer: &Client, headers: &HeaderMap, config: &Forwarded) -> Option<Client> {
    let trusted = |ip: IpAddr| config.trusted.iter().any(|network| network.contains(ip));
    if config.trusted.is_empty() || !trusted(peer.address.ip()) {
        return None;
    }
    let mut found = None;
    let hops = headers.get_all(&FOR).iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops {
        let Some(address) = address(hop) else { break };
        found = Some(address);
        if !trusted(address.ip()) {
            break;
        }
    }
    found.map(|address| peer.speaking_for(address))
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

/// Set the fields as the listener says. What a client sent is believed only in append mode.
pub fn set(request: &mut Request, client: &Client, config: &Forwarded) {
    if config.mode == ForwardedMode::Off {
        return;
    }
    let append = config.mode == ForwardedMode::Append;
    if !append {
        remove(&mut request.headers);
    }
    // A chain names whoever asked each of its proxies.
    let named = if append { client.peer } else { client.address };
    for header in &config.headers {
        match header {
            ForwardedHeader::XForwardedFor => put(&mut request.headers, &FOR, ip_value(client, named), append),
            ForwardedHeader::XForwardedProto if !(append && request.headers.contains_key(&PROTO)) => {
                request.headers.insert(&PROTO, HeaderValue::from_static(client.scheme()));
            }
            ForwardedHeader::XForwardedHost if !(append && request.headers.contains_key(&HOST)) => {
                if let Some(host) = request.headers.get(http::header::HOST).cloned() {
                    request.headers.insert(&HOST, host);
                }
            }
            ForwardedHeader::Forwarded => {
                let value = HeaderValue::try_from(element(named.ip(), client.scheme(), request.authority())).ok();
                put(&mut request.headers, &FORWARDED, value, append);
            }
            ForwardedHeader::XForwardedProto | ForwardedHeader::XForwardedHost => {}
        }
    }
}

/// Remove what was said before.
pub fn remove(headers: &mut HeaderMap) {
    fields::remove(headers, &OURS);
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

fn ip_value(client: &Client, named: SocketAddr) -> Option<HeaderValue> {
    if named == client.address { client.ip_value() } else { request::ip_value(named.ip()) }
}

fn element(ip: IpAddr, proto: &str, host: &str) -> String {
    match ip {
        IpAddr::V4(ip) => format!("for={ip};host=\"{host}\";proto={proto}"),
        IpAddr::V6(ip) => format!("for=\"[{ip}]\";host=\"{host}\";proto={proto}"),
    }
}
