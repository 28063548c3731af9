//! Routes and tenants that an earlier one covers, so that no request reaches them.
//!
//! A route is compared only with earlier ones whose host and path can cover its own; these are found by
//! [`Index`], so that a file of 10,000 routes costs little more than ten times one of 1,000.

use std::collections::HashMap;

use super::is_routed;
use crate::{
    model::{HostMatch, Listener, Match, Network, PathMatch, Route, Tenant, TenantMatch},
    node::Node,
};

/// Most earlier routes of one host and path that a route is compared with.
const COMPARED: usize = 64;

/// Warns of routes that no request reaches, because an earlier one takes every request of theirs.
pub(crate) fn routes(routes: &[(Route, Node<'_>)], listeners: &[(Listener, Node<'_>)]) {
    let connections = listeners.iter().any(|(listener, _)| is_routed(listener));
    let mut index = Index::default();
    for (at, (route, node)) in routes.iter().enumerate() {
        // A route that takes connections beside requests keeps those, whatever covers its requests.
        let takes_all = |first: &Route| {
            let more = connections && route.takes_connections() && !first.takes_connections();
            covers(&first.matcher, &route.matcher) && first.connect == route.connect && !more
        };
        let earlier =
            index.candidates(&route.matcher).filter_map(|earlier| routes.get(earlier).map(|one| (earlier, one)));
        let covering = earlier.filter(|(_, (first, _))| takes_all(first)).min_by_key(|(earlier, _)| *earlier);
        if let Some((_, (first, first_node))) = covering {
            let (name, first, line) = (&route.name, &first.name, first_node.line());
            node.warn(
                format!("the route `{name}` never matches: `{first}` on line {line} takes all its requests"),
                format!("move it above `{first}`, or narrow that one"),
            );
        }
        index.add(&route.matcher, at);
    }
}

/// Warns of tenants that no request is found to be of.
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

/// Earlier routes by their host and path.
#[derive(Default)]
struct Index(HashMap<(Option<HostMatch>, Option<PathMatch>), Vec<usize>>);

impl Index {
    fn add(&mut self, matcher: &Match, at: usize) {
        let same = self.0.entry((matcher.host.clone(), matcher.path.clone())).or_default();
        if same.len() < COMPARED {
            same.push(at);
        }
    }

    /// Routes whose host and path cover those of `narrow`.
    fn candidates(&self, narrow: &Match) -> impl Iterator<Item = usize> {
        let paths = wider_paths(narrow.path.as_ref());
        let keys = wider_hosts(narrow.host.as_ref())
            .into_iter()
            .flat_map(move |host| paths.clone().into_iter().map(move |path| (host.clone(), path)));
        keys.filter_map(|key| self.0.get(&key)).flatten().copied()
    }
}

/// Every host that covers `narrow`: any, itself, and `*.` of what it lies below.
fn wider_hosts(narrow: Option<&HostMatch>) -> Vec<Option<HostMatch>> {
    let mut wider = vec![None];
    if let Some(narrow) = narrow {
        let (HostMatch::Exact(name) | HostMatch::Suffix(name)) = narrow;
        let below = name.match_indices('.').filter_map(|(at, _)| name.get(at..));
        wider.extend(below.map(|below| Some(HostMatch::Suffix(below.to_owned()))));
        if matches!(narrow, HostMatch::Exact(_)) {
            wider.push(Some(narrow.clone()));
        }
    }
    wider
}

/// Every path that covers `narrow`: any, itself, and the prefixes of its segments.
fn wider_paths(narrow: Option<&PathMatch>) -> Vec<Option<PathMatch>> {
    let mut wider = vec![None];
    if let Some(narrow) = narrow {
        let (PathMatch::Exact(path) | PathMatch::Prefix(path)) = narrow;
        let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        let above = ends.filter_map(|end| path.get(..end)).chain(["/"]).filter(|above| above != path);
        wider.extend(above.map(|above| Some(PathMatch::Prefix(above.to_owned()))));
        wider.push(Some(PathMatch::Prefix(path.clone())));
        if matches!(narrow, PathMatch::Exact(_)) {
            wider.push(Some(narrow.clone()));
        }
    }
    wider
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host() -> impl Strategy<Value = Option<HostMatch>> {
        let name = prop::sample::select(vec!["com", "a.com", "b.a.com", "c.b.a.com"]);
        prop_oneof![
            Just(None),
            name.clone().prop_map(|name| Some(HostMatch::Exact(name.to_owned()))),
            name.prop_map(|name| Some(HostMatch::Suffix(format!(".{name}")))),
        ]
    }

    fn path() -> impl Strategy<Value = Option<PathMatch>> {
        let path = prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/ab", "/a//b", "/a/b/c"]);
        prop_oneof![
            Just(None),
            path.clone().prop_map(|path| Some(PathMatch::Exact(path.to_owned()))),
            path.prop_filter("a prefix does not end with a slash", |path| *path == "/" || !path.ends_with('/'))
                .prop_map(|path| Some(PathMatch::Prefix(path.to_owned()))),
        ]
    }

    proptest! {
        #[test]
        fn the_index_finds_every_route_that_covers(
            wide_host in host(), wide_path in path(), host in host(), path in path(),
        ) {
            let wide = Match { host: wide_host, path: wide_path, ..Match::default() };
            let narrow = Match { host, path, ..Match::default() };
            let mut index = Index::default();
            index.add(&wide, 7);
            let found = index.candidates(&narrow).any(|at| at == 7);
            prop_assert!(found || !covers(&wide, &narrow), "{wide:?} covers {narrow:?} and is not found");
        }
    }
}
