//! What is legal but surely not meant, seen over the whole file.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    model::{HostMatch, Listener, Match, Network, PathMatch, Protocol, Route, Tenant, TenantMatch},
    node::{Node, Table},
};

/// Routes that no request reaches, because an earlier one takes every request of theirs.
pub(crate) fn routes(routes: &[(Route, Node<'_>)], listeners: &[(Listener, Node<'_>)]) {
    let connections = listeners.iter().any(|(listener, _)| is_routed(listener));
    for (index, (route, node)) in routes.iter().enumerate() {
        let earlier = routes.iter().take(index);
        // What a narrower one takes beside requests is its own.
        let takes_all = |first: &Route| {
            let more = connections && route.takes_connections() && !first.takes_connections();
            covers(&first.matcher, &route.matcher) && first.connect == route.connect && !more
        };
        let covering = earlier.map(|(first, at)| (first, at.line())).find(|(first, _)| takes_all(first));
        if let Some((first, line)) = covering {
            node.warn(
                format!(
                    "the route `{}` never matches: `{}` on line {line} takes all its requests",
                    route.name, first.name
                ),
                format!("move it above `{}`, or narrow that one", first.name),
            );
        }
    }
}

/// Tenants that no request is found to be of.
pub(crate) fn tenants(tenants: &[(Tenant, Node<'_>)], tls: bool) {
    for (index, (tenant, node)) in tenants.iter().enumerate() {
        let name = &tenant.name;
        if !tls && !tenant.matcher.sni.is_empty() {
            let problem = format!("the tenant `{name}` never matches: no listener has TLS, and `sni` needs it");
            node.key_warn(problem, "add `tls` to a listener, or match by `hosts`");
        }
        let earlier = tenants.iter().take(index).find(|(first, _)| covers_tenant(&first.matcher, &tenant.matcher));
        if let Some((first, at)) = earlier {
            let line = at.line();
            node.key_warn(
                format!("the tenant `{name}` never matches: `{}` on line {line} takes all its requests", first.name),
                format!("move it above `{}`, or narrow that one", first.name),
            );
        }
    }
}

/// Plugins or clusters that nothing names.
pub(crate) fn unused(what: &str, declared: &[Node<'_>], used: &BTreeSet<&str>) {
    for node in declared.iter().filter(|node| !used.contains(node.name())) {
        let problem = format!("the {what} `{}` is not used", node.name());
        node.key_warn(problem, format!("name it where it decides, or remove the {what}"));
    }
}

/// A process that does nothing.
pub(crate) fn empty(root: &Table<'_>, listeners: &[(Listener, Node<'_>)], routes: &[(Route, Node<'_>)]) {
    if listeners.is_empty() {
        root.warn("there is no listener: nothing is accepted", "add `[listeners.NAME]`");
    }
    if routes.is_empty() && listeners.iter().any(|(listener, _)| listener.protocol == Protocol::Http) {
        root.warn("there is no route: every request gets 404", "add `[[routes]]`");
    }
    for (listener, node) in listeners.iter().filter(|(listener, _)| is_routed(listener)) {
        let takes = |route: &Route| route.takes_connections() && listens(route.matcher.listener.as_ref(), listener);
        if !routes.iter().any(|(route, _)| takes(route)) {
            let problem = format!("nothing takes the connections of `{}`: each is closed", listener.name);
            node.warn(problem, "add `cluster`, or a route to one that matches no more than connections show");
        }
    }
}

/// Whether routes take connections of it.
fn is_routed(listener: &Listener) -> bool {
    listener.protocol != Protocol::Http && listener.cluster.is_none()
}

fn listens(wanted: Option<&Arc<str>>, listener: &Listener) -> bool {
    wanted.is_none_or(|name| *name == listener.name)
}

/// Whether every request that fits `narrow` fits `wide`. May miss some, never claims too much.
fn covers(wide: &Match, narrow: &Match) -> bool {
    let subset = |wide: &[(String, String)], narrow: &[(String, String)]| wide.iter().all(|pair| narrow.contains(pair));
    wide.tenant.as_ref().is_none_or(|tenant| narrow.tenant.as_ref() == Some(tenant))
        && covers_host(wide.host.as_ref(), narrow.host.as_ref())
        && (wide.scheme.is_none() || wide.scheme == narrow.scheme)
        && covers_path(wide.path.as_ref(), narrow.path.as_ref())
        && subset(&wide.headers, &narrow.headers)
        && subset(&wide.query, &narrow.query)
        && subset(&wide.cookies, &narrow.cookies)
        && covers_list(&wide.methods, &narrow.methods)
        && covers_host(wide.sni.as_ref(), narrow.sni.as_ref())
        && covers_list(&wide.alpn, &narrow.alpn)
        && covers_networks(&wide.client, &narrow.client)
        && (wide.listener.is_none() || wide.listener == narrow.listener)
}

fn covers_host(wide: Option<&HostMatch>, narrow: Option<&HostMatch>) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(HostMatch::Suffix(wide)), Some(HostMatch::Exact(narrow) | HostMatch::Suffix(narrow))) => {
            narrow.ends_with(wide)
        }
        (Some(wide), Some(narrow)) => wide == narrow,
    }
}

/// Whether every request of `narrow` is one of `wide`.
fn covers_tenant(wide: &TenantMatch, narrow: &TenantMatch) -> bool {
    covers_all(&wide.hosts, &narrow.hosts, |wide, narrow| covers_host(Some(wide), Some(narrow)))
        && covers_all(&wide.sni, &narrow.sni, |wide, narrow| covers_host(Some(wide), Some(narrow)))
        && covers_all(&wide.networks, &narrow.networks, Network::covers)
        && wide.headers.iter().all(|pair| narrow.headers.contains(pair))
}

/// An empty list takes everything; what is in another must be covered by something in it.
fn covers_all<T>(wide: &[T], narrow: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    let covered = |narrow: &T| wide.iter().any(|wide| covers(wide, narrow));
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(covered))
}

fn covers_path(wide: Option<&PathMatch>, narrow: Option<&PathMatch>) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(PathMatch::Prefix(wide)), Some(PathMatch::Exact(narrow) | PathMatch::Prefix(narrow))) => {
            let below = narrow.strip_prefix(wide.trim_end_matches('/'));
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        (Some(wide), Some(narrow)) => wide == narrow,
    }
}

/// An empty list is everything.
fn covers_list(wide: &[String], narrow: &[String]) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|one| wide.contains(one)))
}

fn covers_networks(wide: &[Network], narrow: &[Network]) -> bool {
    let covered = |one: &Network| wide.iter().any(|network| network.covers(one));
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(covered))
}
