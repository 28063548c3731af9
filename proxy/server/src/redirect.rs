//! Answers that send a client elsewhere. A location is always whole: one that began with the path
//! could be made to name another host.

use http::{HeaderMap, HeaderValue, StatusCode, header::LOCATION};

use crate::{
    path::{Rewriter, escaped},
    request::{Client, Request},
};

/// `redirect` of a route, ready to run.
#[derive(Debug)]
pub struct Redirect {
    status: StatusCode,
    scheme: Option<&'static str>,
    host: Option<String>,
    port: Option<u16>,
    path: Option<Rewriter>,
    strip_query: bool,
}

impl Redirect {
    /// From the configuration.
    ///
    /// # Errors
    /// The status is none.
    pub fn build(config: &weir_config::Redirect) -> Result<Self, String> {
        Ok(Self {
            status: StatusCode::from_u16(config.status).map_err(|error| error.to_string())?,
            scheme: config.scheme.map(weir_config::Scheme::as_str),
            host: config.host.clone(),
            port: config.port,
            path: config.path.as_ref().map(Rewriter::build).transpose()?,
            strip_query: config.strip_query,
        })
    }

    /// What a request is answered with.
    pub fn answer(&self, request: &Request, client: &Client) -> (StatusCode, HeaderMap) {
        let location = HeaderValue::try_from(self.location(request, client.scheme()));
        (self.status, location.into_iter().map(|location| (LOCATION, location)).collect())
    }

    fn location(&self, request: &Request, came_by: &str) -> String {
        let scheme = self.scheme.unwrap_or(came_by);
        let (asked_host, asked_port) = parted(request.authority());
        let host = self.host.as_deref().unwrap_or(asked_host);
        // Another scheme or host has ports of its own.
        let elsewhere = self.scheme.is_some() || self.host.is_some();
        let port = self.port.or(asked_port.filter(|_| !elsewhere)).filter(|port| *port != usual_port(scheme));
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let path = request.uri.path();
        let path = if path.starts_with('/') { path } else { "/" };
        let rewritten = self.path.as_ref().and_then(|rewriter| rewriter.rewrite(path));
        let path = escaped(rewritten.as_deref().unwrap_or(path));
        match request.uri.query().filter(|_| !self.strip_query) {
            Some(query) => format!("{scheme}://{host}{port}{path}?{}", escaped(query)),
            None => format!("{scheme}://{host}{port}{path}"),
        }
    }
}

/// A host and its port, where there is one.
fn parted(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

fn usual_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use http::{Method, Version, header::HOST};
    use weir_config::{PathRewrite, Scheme};
    use weir_http1::Length;

    use super::*;

    fn request(host: &str, target: &str) -> Request {
        Request {
            method: Method::GET,
            uri: target.parse().unwrap(),
            version: Version::HTTP_11,
            headers: HeaderMap::from_iter([(HOST, host.parse().unwrap())]),
            length: Length::Empty,
            upgrade: None,
            hash_key: None,
            labels: vec![],
            tenant: None,
            spelling: Default::default(),
        }
    }

    fn plain() -> weir_config::Redirect {
        weir_config::Redirect { status: 308, scheme: None, host: None, port: None, path: None, strip_query: false }
    }

    fn location(config: &weir_config::Redirect, host: &str, target: &str) -> String {
        Redirect::build(config).unwrap().location(&request(host, target), "http")
    }

    #[test]
    fn what_is_not_said_stays() {
        let https = weir_config::Redirect { scheme: Some(Scheme::Https), ..plain() };
        assert_eq!(location(&https, "a.example:8080", "/x?y=1"), "https://a.example/x?y=1");
        assert_eq!(location(&https, "[::1]:8080", "/"), "https://[::1]/");
        let port = weir_config::Redirect { port: Some(8443), ..https.clone() };
        assert_eq!(location(&port, "a.example", "/"), "https://a.example:8443/");
        let usual = weir_config::Redirect { port: Some(443), ..https };
        assert_eq!(location(&usual, "a.example:1", "/"), "https://a.example/");
        let host = weir_config::Redirect { host: Some("b.example".into()), ..plain() };
        assert_eq!(location(&host, "a.example:8080", "/x"), "http://b.example/x");
        let path = weir_config::Redirect { path: Some(PathRewrite::Whole("/new".into())), ..plain() };
        assert_eq!(location(&path, "a.example:8080", "/x?q"), "http://a.example:8080/new?q");
        let bare = weir_config::Redirect { strip_query: true, ..path };
        assert_eq!(location(&bare, "a.example", "/x?q"), "http://a.example/new");
    }

    #[test]
    fn a_path_never_becomes_a_host() {
        let prefix = PathRewrite::Prefix { matched: "/old".into(), with: "/".into() };
        let config = weir_config::Redirect { path: Some(prefix), ..plain() };
        assert_eq!(location(&config, "a.example", "/old//evil.example"), "http://a.example/evil.example");
        let https = weir_config::Redirect { scheme: Some(Scheme::Https), ..plain() };
        assert_eq!(location(&https, "a.example", "//evil.example/%2f.."), "https://a.example//evil.example/%2f..");
        assert_eq!(location(&https, "a.example", "/a\"b"), "https://a.example/a%22b");
    }
}
