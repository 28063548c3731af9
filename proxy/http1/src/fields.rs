//! Fields that speak of one connection only (RFC 9110 section 7.6.1), and those that are none of a trailer's.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Whether one of the `Connection` options is this one, without regard to case.
pub fn connection_has(headers: &HeaderMap, option: &str) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| match is_plain_option(value) {
        true => value.as_bytes().eq_ignore_ascii_case(option.as_bytes()),
        false => options(value).any(|o| o.eq_ignore_ascii_case(option)),
    })
}

fn options(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or("").split(',').map(str::trim).filter(|o| !o.is_empty())
}

/// Whether a field is about the connection even when `Connection` does not name it.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    [&CONNECTION, &TE, &TRANSFER_ENCODING, &UPGRADE, &KEEP_ALIVE, &PROXY_CONNECTION, &HTTP2_SETTINGS].contains(&name)
}

/// Fields that decide about the message or its routing have no meaning after it (RFC 9110 section
/// 6.5.1): a forwarder that merged them would let a client change what was already decided.
pub(crate) fn is_forbidden_trailer(name: &HeaderName) -> bool {
    is_hop_by_hop(name) || [CONTENT_LENGTH, HOST, TRAILER, AUTHORIZATION, COOKIE, SET_COOKIE].contains(name)
}

/// Remove from trailers what they may not say, as is done where they come in HTTP/1.1.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    let forbidden: Vec<HeaderName> = trailers.keys().filter(|name| is_forbidden_trailer(name)).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

/// Remove every field that is about the connection it came by. `TE: trailers` stays, as it tells
/// the next hop that trailers are understood.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if let Some(value) = headers.get(CONNECTION) {
        if !is_plain_option(value) {
            strip_nominated(headers);
        }
        headers.remove(CONNECTION);
    }
    // One look at each name, rather than a look-up for each that is nearly never there.
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    let trailers = accepts_trailers(headers);
    for name in [&TE, &TRANSFER_ENCODING, &UPGRADE, &KEEP_ALIVE, &PROXY_CONNECTION, &HTTP2_SETTINGS] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// The values that nominate nothing, which is nearly all of them.
fn is_plain_option(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    value.eq_ignore_ascii_case(b"close") || value.eq_ignore_ascii_case(b"keep-alive")
}

fn strip_nominated(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(options)
        .filter(|option| !NEVER_NOMINATED.iter().any(|n| n.eq_ignore_ascii_case(option)))
        .filter_map(|option| HeaderName::from_bytes(option.as_bytes()).ok())
        .collect();
    for name in nominated {
        headers.remove(name);
    }
}

/// Fields that a client must not be able to make us drop by naming them in `Connection`.
const NEVER_NOMINATED: [&str; 10] = [
    "host",
    "content-length",
    "content-type",
    "te",
    "authorization",
    "cookie",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
];

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().flat_map(options).any(|o| o.eq_ignore_ascii_case("trailers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn removes_what_connection_names() {
        let mut headers = map(&[("connection", "close, X-Secret"), ("x-secret", "1"), ("x-other", "2")]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("x-other", "2")]));
    }

    #[test]
    fn keeps_the_wish_for_trailers_only() {
        let mut headers = map(&[("te", "gzip, trailers"), ("connection", "te"), ("upgrade", "h2c")]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("te", "trailers")]));
    }

    #[test]
    fn connection_cannot_remove_what_decides_about_the_request() {
        let decisive =
            [("host", "a"), ("cookie", "b=c"), ("forwarded", "for=192.0.2.1"), ("x-forwarded-for", "192.0.2.1")];
        let names = "Host, Cookie, content-length, Forwarded, x-forwarded-for";
        let mut headers = map(&[&[("connection", names)], &decisive[..]].concat());
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&decisive));
    }

    #[test]
    fn trailers_decide_nothing() {
        let mut trailers = map(&[("x-sum", "4"), ("authorization", "a"), ("cookie", "b"), ("host", "c"), ("te", "d")]);
        trailers.append("set-cookie", HeaderValue::from_static("e"));
        trailers.append("set-cookie", HeaderValue::from_static("f"));
        strip_trailers(&mut trailers);
        assert_eq!(trailers, map(&[("x-sum", "4")]));
    }
}
