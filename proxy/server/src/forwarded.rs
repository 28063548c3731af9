//! Telling endpoints who asked: `X-Forwarded-*` and `Forwarded` (RFC 7239).

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};
use weir_config::{Forwarded, ForwardedHeader, ForwardedMode};

use crate::request::{Client, Request};

static FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Set the fields as the listener says. What a client sent is believed only in append mode.
pub fn set(request: &mut Request, client: &Client, config: &Forwarded) {
    if config.mode == ForwardedMode::Off {
        return;
    }
    let append = config.mode == ForwardedMode::Append;
    if !append {
        remove_all(&mut request.headers);
    }
    for header in &config.headers {
        match header {
            ForwardedHeader::XForwardedFor => put(&mut request.headers, &FOR, client.ip_value(), append),
            ForwardedHeader::XForwardedProto if !(append && request.headers.contains_key(&PROTO)) => {
                request.headers.insert(&PROTO, HeaderValue::from_static(client.scheme()));
            }
            ForwardedHeader::XForwardedHost if !(append && request.headers.contains_key(&HOST)) => {
                if let Some(host) = request.headers.get(http::header::HOST).cloned() {
                    request.headers.insert(&HOST, host);
                }
            }
            ForwardedHeader::Forwarded => {
                let value = HeaderValue::try_from(element(client, request.authority())).ok();
                put(&mut request.headers, &FORWARDED, value, append);
            }
            ForwardedHeader::XForwardedProto | ForwardedHeader::XForwardedHost => {}
        }
    }
}

/// One look at each name, since nearly never is one of them there.
fn remove_all(headers: &mut HeaderMap) {
    let ours = [&FOR, &PROTO, &HOST, &FORWARDED];
    if headers.keys().any(|name| ours.contains(&name)) {
        for name in ours {
            headers.remove(name);
        }
    }
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

fn element(client: &Client, host: &str) -> String {
    let proto = client.scheme();
    match client.address.ip() {
        IpAddr::V4(ip) => format!("for={ip};host=\"{host}\";proto={proto}"),
        IpAddr::V6(ip) => format!("for=\"[{ip}]\";host=\"{host}\";proto={proto}"),
    }
}
