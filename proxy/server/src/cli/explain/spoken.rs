//! What the endpoints of a cluster are spoken to in: HTTP, or whatever clients speak where connections pass as they are.

use std::sync::Arc;

use weir_config::{Action, Cluster, Config, Listener, Protocol, Route};

/// As in `h2 over TLS`.
pub fn of_cluster(config: &Config, cluster: &Cluster) -> String {
    let uses = Uses::of(config, cluster);
    let carrier = if cluster.tls.is_some() { "TLS" } else { "TCP" };
    let version = if cluster.http2 { "h2" } else { "http/1.1" };
    let spoken = match (uses.by_requests, uses.by_connections, uses.by_datagrams) {
        (false, false, true) => return "anything over UDP".to_owned(),
        (false, true, false) => format!("anything over {carrier}"),
        (false, true, true) => format!("anything over {carrier} and UDP"),
        _ if cluster.tls.is_some() => format!("{version} over TLS"),
        _ => version.to_owned(),
    };
    match &cluster.tls {
        Some(tls) if !tls.verify => format!("{spoken}, certificates not verified"),
        _ => spoken,
    }
}

/// By what a cluster is used.
struct Uses {
    by_requests: bool,
    by_connections: bool,
    by_datagrams: bool,
}

impl Uses {
    fn of(config: &Config, cluster: &Cluster) -> Self {
        let names = Names::of(config, cluster);
        let uses = |listener: &&Listener| config.routes.iter().any(|route| names.are_used(route, listener));
        let uses =
            |listener: &&Listener| listener.cluster.as_ref().is_some_and(|name| names.has(name)) || uses(listener);
        let used: Vec<Protocol> = config.listeners.iter().filter(uses).map(|listener| listener.protocol).collect();
        let of = |kind: fn(&Protocol) -> bool| used.iter().any(kind);
        Self {
            by_requests: of(|protocol| *protocol == Protocol::Http),
            by_connections: of(|protocol| !matches!(protocol, Protocol::Http | Protocol::Udp)),
            by_datagrams: of(|protocol| *protocol == Protocol::Udp),
        }
    }
}

/// A cluster's own name, and those of clusters that it stands in for.
struct Names<'a>(Vec<&'a Arc<str>>);

impl<'a> Names<'a> {
    fn of(config: &'a Config, cluster: &'a Cluster) -> Self {
        let replaced = config.tenants.iter().flat_map(|tenant| &tenant.clusters);
        let stands_for = replaced.filter(|(_, own)| **own == cluster.name).map(|(of, _)| of);
        Self([&cluster.name].into_iter().chain(stands_for).collect())
    }

    fn has(&self, name: &Arc<str>) -> bool {
        self.0.contains(&name)
    }

    /// Whether a route leads here what comes in by a listener. Router plugins lead anywhere.
    fn are_used(&self, route: &Route, listener: &Listener) -> bool {
        let comes = route.matcher.listener.as_ref().is_none_or(|name| *name == listener.name);
        let takes = listener.protocol == Protocol::Http || (listener.cluster.is_none() && route.takes_connections());
        let copied = route.mirror.as_ref().is_some_and(|mirror| self.has(&mirror.cluster));
        comes && takes && (!route.plugins.is_empty() || copied || self.are_in(&route.action))
    }

    fn are_in(&self, action: &Action) -> bool {
        match action {
            Action::Cluster(name) => self.has(name),
            Action::Split(split) => split.shares.iter().any(|(name, _)| self.has(name)),
            Action::Rollout(rollout) => self.has(&rollout.from) || self.has(&rollout.to),
            Action::Respond(_) | Action::Redirect(_) => false,
        }
    }
}
