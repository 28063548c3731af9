//! Which route takes a request: the first in file order that matches.
//!
//! Routes are filed under the hosts they can match, so that a thousand hosts cost one look-up and
//! the search goes only through routes of the right host.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use http::{HeaderName, Method};
use weir_config::{HostMatch, Match, Network, PathMatch};

use crate::{
    request::{Client, Request, decoded},
    snapshot::Route,
};

/// All routes, filed.
#[derive(Debug, Default)]
pub struct Router {
    routes: Vec<Arc<Route>>,
    rules: Vec<Rule>,
    /// Routes of one host, in file order.
    by_host: HashMap<String, Vec<usize>>,
    /// Routes of every host or of those below a name, in file order.
    elsewhere: Vec<usize>,
    connections: Vec<usize>,
}

/// What is known of a connection before any request.
pub trait Arrival {
    /// Name of the listener it came in by.
    fn listener(&self) -> &str;
    /// `http` or `https`.
    fn scheme(&self) -> &str;
    /// Address of the client.
    fn ip(&self) -> IpAddr;
    /// Server it asks for.
    fn sni(&self) -> Option<&str>;
    /// Whether it speaks this protocol of ALPN.
    fn speaks(&self, protocol: &str) -> bool;
}

impl Arrival for Client {
    fn listener(&self) -> &str {
        self.listener.name()
    }

    fn scheme(&self) -> &str {
        Self::scheme(self)
    }

    fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    fn sni(&self) -> Option<&str> {
        Self::sni(self)
    }

    fn speaks(&self, protocol: &str) -> bool {
        Self::speaks(self, protocol)
    }
}

/// What of a match is about the connection.
#[derive(Debug)]
struct Place {
    sni: Option<HostMatch>,
    alpn: Vec<String>,
    client: Vec<Network>,
    listener: Option<Arc<str>>,
}

impl Place {
    /// None where every connection fits.
    fn of(matcher: &Match) -> Option<Self> {
        let Match { sni, alpn, client, listener, .. } = matcher.clone();
        let any = sni.is_none() && alpn.is_empty() && client.is_empty() && listener.is_none();
        (!any).then_some(Self { sni, alpn, client, listener })
    }

    fn fits(&self, arrival: &impl Arrival) -> bool {
        let named = |wanted| arrival.sni().is_some_and(|name| may_match(Some(wanted), name));
        self.listener.as_ref().is_none_or(|name| &**name == arrival.listener())
            && (self.client.is_empty() || self.client.iter().any(|network| network.contains(arrival.ip())))
            && (self.alpn.is_empty() || self.alpn.iter().any(|protocol| arrival.speaks(protocol)))
            && self.sni.as_ref().is_none_or(named)
    }
}

/// What rules look at of a request.
#[derive(Clone, Copy)]
struct Asked<'a> {
    request: &'a Request,
    host: &'a str,
    path: &'a str,
}

/// What is left to compare once the host fits.
#[derive(Debug)]
struct Rule {
    tenant: Option<Arc<str>>,
    suffix: Option<String>,
    scheme: Option<&'static str>,
    path: Option<PathMatch>,
    headers: Vec<(HeaderName, String)>,
    query: Vec<(String, String)>,
    cookies: Vec<(String, String)>,
    methods: Vec<String>,
    place: Option<Place>,
    connect: bool,
}

impl Router {
    /// For routes in file order.
    pub fn new(routes: Vec<Arc<Route>>) -> Self {
        let (mut by_host, mut elsewhere) = (HashMap::<String, Vec<usize>>::new(), Vec::new());
        for (index, route) in routes.iter().enumerate() {
            match &route.config.matcher.host {
                Some(HostMatch::Exact(name)) => by_host.entry(name.clone()).or_default().push(index),
                _ => elsewhere.push(index),
            }
        }
        let rules = routes.iter().map(|route| Rule::of(&route.config.matcher, route.config.connect)).collect();
        let takes = |(index, route): (usize, &Arc<Route>)| route.config.takes_connections().then_some(index);
        let connections = routes.iter().enumerate().filter_map(takes).collect();
        Self { by_host, elsewhere, connections, rules, routes }
    }

    /// The route of a connection of this tenant that is passed on as it is.
    pub fn find_connection(&self, tenant: Option<&Arc<str>>, arrival: &impl Arrival) -> Option<&Arc<Route>> {
        let fits = |rule: &Rule| rule.is_of(tenant) && rule.is_for(arrival);
        let index = self.connections.iter().find(|index| self.rules.get(**index).is_some_and(fits));
        self.routes.get(*index?)
    }

    /// The route of a request.
    pub fn find(&self, request: &Request, arrival: &impl Arrival) -> Option<&Arc<Route>> {
        self.find_by(request.uri.path(), request, arrival)
    }

    /// The route of a request if this were its path.
    pub fn find_by(&self, path: &str, request: &Request, arrival: &impl Arrival) -> Option<&Arc<Route>> {
        let host = host_of(request.authority());
        let own = match self.by_host.is_empty() {
            true => None,
            false => self.by_host.get(&*lower_case(host)),
        };
        let asked = Asked { request, host, path };
        let first = |filed: &[usize], before: usize| {
            let fits = |index: &usize| self.rules.get(*index).is_some_and(|rule| rule.fits(asked, arrival));
            filed.iter().copied().take_while(|index| *index < before).find(fits)
        };
        let own = own.and_then(|filed| first(filed, usize::MAX));
        let index = first(&self.elsewhere, own.unwrap_or(usize::MAX)).or(own)?;
        self.routes.get(index)
    }

    /// In file order.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }
}

fn may_match(host: Option<&HostMatch>, name: &str) -> bool {
    match host {
        None => true,
        Some(HostMatch::Exact(exact)) => exact == name,
        Some(HostMatch::Suffix(suffix)) => is_below(name, suffix),
    }
}

/// Whether a host lies below `.example.com`.
pub fn is_below(host: &str, suffix: &str) -> bool {
    let start = host.len().checked_sub(suffix.len());
    start.is_some_and(|at| at > 0 && host.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(suffix)))
}

/// Without the port and the dot that ends a fully qualified name.
pub fn host_of(authority: &str) -> &str {
    let host = match authority.rfind(':') {
        Some(at) if !authority.ends_with(']') => authority.get(..at).unwrap_or(authority),
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host)
}

/// The port, where there is one.
pub fn port_of(authority: &str) -> Option<u16> {
    authority.rsplit_once(':').filter(|_| !authority.ends_with(']')).and_then(|(_, port)| port.parse().ok())
}

/// A host as it is filed.
pub fn lower_case(host: &str) -> std::borrow::Cow<'_, str> {
    match host.bytes().any(|b| b.is_ascii_uppercase()) {
        true => host.to_ascii_lowercase().into(),
        false => host.into(),
    }
}

impl Rule {
    fn of(matcher: &Match, connect: bool) -> Self {
        let headers = matcher.headers.iter();
        Self {
            tenant: matcher.tenant.clone(),
            suffix: match &matcher.host {
                Some(HostMatch::Suffix(suffix)) => Some(suffix.clone()),
                _ => None,
            },
            scheme: matcher.scheme.map(weir_config::Scheme::as_str),
            path: matcher.path.clone(),
            headers: headers.filter_map(|(name, value)| Some((name.parse().ok()?, value.clone()))).collect(),
            query: matcher.query.clone(),
            cookies: matcher.cookies.clone(),
            methods: matcher.methods.clone(),
            place: Place::of(matcher),
            connect,
        }
    }

    fn is_of(&self, tenant: Option<&Arc<str>>) -> bool {
        self.tenant.as_ref().is_none_or(|wanted| tenant == Some(wanted))
    }

    fn is_for(&self, arrival: &impl Arrival) -> bool {
        self.place.as_ref().is_none_or(|place| place.fits(arrival))
    }

    fn fits(&self, Asked { request, host, path }: Asked<'_>, arrival: &impl Arrival) -> bool {
        self.connect == (request.method == Method::CONNECT)
            && self.is_of(request.tenant_name())
            && self.suffix.as_ref().is_none_or(|suffix| is_below(host, suffix))
            && self.scheme.is_none_or(|wanted| wanted == arrival.scheme())
            && self.path.as_ref().is_none_or(|wanted| path_fits(wanted, path))
            && (self.methods.is_empty() || self.methods.iter().any(|method| method == request.method.as_str()))
            && self.headers.iter().all(|(name, value)| has_header(request, name, value))
            && self.query.iter().all(|(name, value)| has_parameter(request.uri.query().unwrap_or(""), name, value))
            && self.cookies.iter().all(|(name, value)| request.cookies(name).any(|found| found == value))
            && self.is_for(arrival)
    }
}

fn path_fits(wanted: &PathMatch, path: &str) -> bool {
    match wanted {
        PathMatch::Exact(exact) => path == exact,
        PathMatch::Prefix(prefix) => {
            let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}

/// Whether one of the fields of a name has this value.
pub fn has_header(request: &Request, name: &HeaderName, value: &str) -> bool {
    request.headers.get_all(name).iter().any(|found| found.as_bytes() == value.as_bytes())
}

fn has_parameter(query: &str, name: &str, value: &str) -> bool {
    query.split('&').any(|pair| {
        let (key, found) = pair.split_once('=').unwrap_or((pair, ""));
        decoded(key).eq(name.bytes()) && decoded(found).eq(value.bytes())
    })
}

#[cfg(test)]
mod tests;
