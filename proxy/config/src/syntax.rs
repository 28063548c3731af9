//! What names, header fields, hosts and paths may look like.

use std::net::{IpAddr, Ipv6Addr};

use crate::model::HostMatch;

/// What is wrong with a text, and what would be right.
pub(crate) type Wrong = (String, String);

/// Names of listeners, plugins, routes and clusters: they appear in metrics, logs and addresses.
pub(crate) fn name(text: &str) -> Result<(), Wrong> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match !text.is_empty() && text.len() <= 64 && text.chars().all(fits) {
        true => Ok(()),
        false => wrong(format!("`{text}` is not a name"), "use 1 to 64 letters, digits, `-`, `_` or `.`"),
    }
}

/// A token (RFC 9110, section 5.6.2): header names, methods, cookie names.
pub(crate) fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

/// A header name, in lower case.
pub(crate) fn header_name(text: &str) -> Result<String, Wrong> {
    match is_token(text) {
        true => Ok(text.to_ascii_lowercase()),
        false => wrong(format!("`{text}` is not a header name"), "use letters, digits and `-`, as in `x-team`"),
    }
}

/// A header value (RFC 9110, section 5.5).
pub(crate) fn header_value(text: &str) -> Result<(), Wrong> {
    let fits = |c: char| c == '\t' || c == ' ' || c.is_ascii_graphic();
    if !text.chars().all(fits) {
        return wrong("this is not a header value", "write printable ASCII on one line");
    }
    match text.trim_matches([' ', '\t']) == text {
        true => Ok(()),
        false => wrong("a header value begins and ends with no space", "leave out the spaces"),
    }
}

/// A method (RFC 9110, section 9.1: case-sensitive).
pub(crate) fn method(text: &str) -> Result<String, Wrong> {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    let upper = text.to_ascii_uppercase();
    if known.contains(&upper.as_str()) && upper != text {
        return wrong(format!("`{text}` is not a method: they are case-sensitive"), format!("did you mean `{upper}`?"));
    }
    match is_token(text) {
        true => Ok(text.to_owned()),
        false => wrong(format!("`{text}` is not a method"), "use a method such as `GET`"),
    }
}

/// A media type without parameters, in lower case; `text/*` is every one of a kind (RFC 9110 section 8.3.1).
pub(crate) fn media_type(text: &str) -> Result<String, Wrong> {
    let parts = text.split_once('/');
    match parts.is_some_and(|(kind, name)| is_token(kind) && kind != "*" && (name == "*" || is_token(name))) {
        true => Ok(text.to_ascii_lowercase()),
        false => wrong(format!("`{text}` is not a media type"), "write one such as `text/html`, or `text/*`"),
    }
}

/// A path of a request target, without query (RFC 3986, section 3.3).
pub(crate) fn path(text: &str) -> Result<(), Wrong> {
    if text.contains(['?', '#']) {
        return wrong(
            format!("`{text}` is more than a path"),
            "leave out what begins with `?` or `#`; `query` matches parameters",
        );
    }
    target(text)
}

/// A path, with or without a query.
pub(crate) fn target(text: &str) -> Result<(), Wrong> {
    if !text.starts_with('/') {
        return wrong(format!("the path `{text}` does not begin with `/`"), format!("did you mean `/{text}`?"));
    }
    match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => wrong(
            format!("`{text}` cannot be the path of a request"),
            "write spaces and letters beyond ASCII percent-encoded, as in `%20`",
        ),
    }
}

/// A host, or `*.` and a host.
pub(crate) fn host(text: &str) -> Result<HostMatch, Wrong> {
    let lower = text.to_ascii_lowercase();
    if let Some(below) = lower.strip_prefix("*.") {
        return host_name(below).map(|host| HostMatch::Suffix(format!(".{host}")));
    }
    if lower == "*" {
        return wrong("`*` is every host", "leave out `host` to take every host");
    }
    if lower.contains('*') {
        return wrong(
            format!("`{text}` has a `*` in the wrong place"),
            "`*.` may only begin a host, as in `*.example.com`",
        );
    }
    host_name(&lower).map(HostMatch::Exact)
}

/// A DNS name or an IP address (IPv6 in brackets), in lower case and without port.
pub(crate) fn host_name(text: &str) -> Result<String, Wrong> {
    if text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) {
        return wrong(format!("`{text}` lacks its brackets"), format!("write `[{text}]`"));
    }
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if bracketed.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok()) {
        return Ok(text.to_owned());
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return wrong(format!("the host `{text}` has a port"), format!("write `{host}`"));
    }
    let host = text.strip_suffix('.').unwrap_or(text);
    if !host.is_ascii() {
        return wrong(
            format!("`{text}` has letters beyond ASCII"),
            "write the name as it is on the wire, as in `xn--bcher-kva.example`",
        );
    }
    match host.len() <= 253 && host.split('.').all(is_label) {
        true => Ok(host.to_owned()),
        false => wrong(format!("`{text}` is not a host"), "write a name as in `api.example.com`"),
    }
}

fn is_label(label: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(fits)
}

fn wrong<T>(problem: impl Into<String>, remedy: impl Into<String>) -> Result<T, Wrong> {
    Err((problem.into(), remedy.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert_eq!(host("API.Example.com"), Ok(HostMatch::Exact("api.example.com".into())));
        assert_eq!(host("*.example.com"), Ok(HostMatch::Suffix(".example.com".into())));
        assert_eq!(host("[::1]"), Ok(HostMatch::Exact("[::1]".into())));
        for (text, remedy) in [
            ("example.com:80", "write `example.com`"),
            ("::1", "write `[::1]`"),
            ("a.*.com", "`*.` may only begin"),
            ("*", "leave out `host`"),
            ("bücher.example", "xn--"),
            ("a..b", "write a name"),
            ("", "write a name"),
        ] {
            let (_, found) = host(text).unwrap_err();
            assert!(found.contains(remedy), "{text}: {found}");
        }
    }

    #[test]
    fn methods_are_case_sensitive() {
        assert_eq!(method("PURGE"), Ok("PURGE".into()));
        assert_eq!(method("get").unwrap_err().1, "did you mean `GET`?");
        assert!(method("G T").is_err());
    }

    #[test]
    fn header_fields() {
        assert_eq!(header_name("X-Team"), Ok("x-team".into()));
        assert!(header_name("x team").is_err() && header_name("").is_err());
        assert!(header_value("a b\tc").is_ok());
        assert!(header_value("a\r\nb").is_err() && header_value(" a").is_err());
    }
}
