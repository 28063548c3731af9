//! The protocol that endpoints of a cluster are spoken to in: HTTP, or any where connections pass as they are.

use std::collections::HashMap;

use weir_config::{Action, Cluster, Config, Listener, Protocol, Route};

/// By which kinds of traffic a cluster is used.
#[derive(Debug, Clone, Copy, Default)]
struct Use {
    by_requests: bool,
    by_connections: bool,
    by_datagrams: bool,
}

impl Use {
    fn by(protocol: Protocol) -> Self {
        let (by_requests, by_datagrams) = (protocol == Protocol::Http, protocol == Protocol::Udp);
        Self { by_requests, by_datagrams, by_connections: !by_requests && !by_datagrams }
    }

    fn add(&mut self, other: Self) {
        self.by_requests |= other.by_requests;
        self.by_connections |= other.by_connections;
        self.by_datagrams |= other.by_datagrams;
    }
}

/// The uses of every cluster of a configuration.
pub struct Uses<'a> {
    by_name: HashMap<&'a str, Use>,
    /// Routes with plugins, which may lead to any cluster.
    of_any: Use,
}

impl<'a> Uses<'a> {
    /// Goes once over listeners, routes and tenants.
    pub fn of(config: &'a Config) -> Self {
        let mut uses = Self { by_name: HashMap::new(), of_any: Use::default() };
        for listener in &config.listeners {
            let by = Use::by(listener.protocol);
            if let Some(cluster) = &listener.cluster {
                uses.add(cluster, by);
            }
            for route in config.routes.iter().filter(|route| is_used(route, listener)) {
                uses.add_route(route, by);
            }
        }
        uses.add_tenants(config);
        uses
    }

    fn add(&mut self, cluster: &'a str, by: Use) {
        self.by_name.entry(cluster).or_default().add(by);
    }

    fn add_route(&mut self, route: &'a Route, by: Use) {
        if !route.plugins.is_empty() {
            self.of_any.add(by);
        }
        if let Some(mirror) = &route.mirror {
            self.add(&mirror.cluster, by);
        }
        match &route.action {
            Action::Cluster(name) => self.add(name, by),
            Action::Split(split) => split.shares.iter().for_each(|(name, _)| self.add(name, by)),
            Action::Rollout(rollout) => [&rollout.from, &rollout.to].into_iter().for_each(|name| self.add(name, by)),
            Action::Respond(_) | Action::Redirect(_) => {}
        }
    }

    /// A cluster that stands in for another one for a tenant is used as that one is.
    fn add_tenants(&mut self, config: &'a Config) {
        let replaced = config.tenants.iter().flat_map(|tenant| &tenant.clusters);
        let more: Vec<_> = replaced.filter_map(|(of, own)| Some((&**own, *self.by_name.get(&**of)?))).collect();
        more.into_iter().for_each(|(own, by)| self.add(own, by));
    }

    /// As in `h2 over TLS`.
    pub fn spoken(&self, cluster: &Cluster) -> String {
        let mut used = self.by_name.get(&*cluster.name).copied().unwrap_or_default();
        used.add(self.of_any);
        let carrier = if cluster.tls.is_some() { "TLS" } else { "TCP" };
        let version = if cluster.http2 { "h2" } else { "http/1.1" };
        let spoken = match (used.by_requests, used.by_connections, used.by_datagrams) {
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
}

/// Whether traffic of a listener can match the route.
fn is_used(route: &Route, listener: &Listener) -> bool {
    let comes = route.matcher.listener.as_ref().is_none_or(|name| *name == listener.name);
    comes && (listener.protocol == Protocol::Http || (listener.cluster.is_none() && route.takes_connections()))
}
