//! What runs: routes, clusters and plugin versions of one configuration, immutable.
//!
//! A reload, a push and a rollback all build the next snapshot whole and put it in place of the
//! present one, or fail and leave it.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use weir_config::{Action, AffinityKind, Balance, Binding, Config, HealthKind};
use weir_plugin::{Bound, Program, Role};
use weir_upstream::{Cluster, connection::Connector};

use crate::{request::Client, router::Router};

/// A route ready to run.
#[derive(Debug)]
pub struct Route {
    /// As configured.
    pub config: weir_config::Route,
    /// Router plugins, in order.
    pub plugins: Vec<Bound>,
    /// Where it ends.
    pub target: Target,
}

/// Where a route ends.
#[derive(Debug)]
pub enum Target {
    /// At a cluster; none only where tests need no cluster.
    Cluster(Option<Arc<Upstream>>),
    /// At an answer of ours.
    Respond(Prepared),
}

/// An answer of ours, ready to send.
#[derive(Debug)]
pub struct Prepared {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
}

/// A cluster ready to run.
pub struct Upstream {
    /// Endpoints, health, affinity.
    pub cluster: Arc<Cluster>,
    /// How its endpoints are dialled.
    pub connector: Arc<Connector>,
    /// Its balancer, where that is a plugin.
    pub balancer: Option<Bound>,
    /// Its affinity, where that is a plugin.
    pub affinity: Option<Bound>,
    /// Its health check, where that is a plugin.
    pub health: Option<Bound>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Upstream").field(self.cluster.name()).finish()
    }
}

/// The plugins in force, by name.
pub type Programs = HashMap<Arc<str>, Arc<Program>>;

/// What runs.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up with every one.
    pub number: u64,
    /// When it was built.
    pub built: SystemTime,
    /// Routes in file order.
    pub router: Router,
    /// Clusters by name.
    pub clusters: HashMap<Arc<str>, Arc<Upstream>>,
    direct: HashMap<Arc<str>, Arc<Route>>,
    /// Some cluster is told where clients connected to.
    pub introduces: bool,
}

impl Snapshot {
    /// The next snapshot. Blocking: plugins check their settings, files are read.
    ///
    /// # Errors
    /// Every reason why the configuration cannot run, for people.
    pub fn build(config: &Config, programs: &Programs, previous: Option<&Self>) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let mut clusters = HashMap::new();
        for cluster in &config.clusters {
            let before = previous.and_then(|previous| previous.clusters.get(&cluster.name));
            match upstream(cluster, programs, before.map(AsRef::as_ref)) {
                Ok(upstream) => drop(clusters.insert(Arc::clone(&cluster.name), Arc::new(upstream))),
                Err(fault) => faults.push(format!("cluster {}: {fault}", cluster.name)),
            }
        }
        let mut routes = Vec::new();
        for route in &config.routes {
            match build_route(route, programs, &clusters) {
                Ok(route) => routes.push(Arc::new(route)),
                Err(fault) => faults.push(format!("route {}: {fault}", route.name)),
            }
        }
        let mut direct = HashMap::new();
        for listener in &config.listeners {
            if let Some(cluster) = &listener.cluster {
                let target = Target::Cluster(clusters.get(cluster).cloned());
                let route = Route { config: weir_config::Route::to(Arc::clone(cluster)), plugins: Vec::new(), target };
                direct.insert(Arc::clone(&listener.name), Arc::new(route));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let number = previous.map_or(1, |previous| previous.number + 1);
        let introduces = config.clusters.iter().any(|cluster| cluster.send_proxy_protocol.is_some());
        Ok(Self { number, built: SystemTime::now(), router: Router::new(routes), clusters, direct, introduces })
    }

    /// Where the connection of a client goes that is passed on as it is.
    pub fn route_of(&self, client: &Client) -> Option<&Arc<Route>> {
        self.direct.get(client.listener.name()).or_else(|| self.router.find_connection(client))
    }
}

fn upstream(config: &weir_config::Cluster, programs: &Programs, before: Option<&Upstream>) -> Result<Upstream, String> {
    Cluster::check(config)?;
    let balancer = match &config.balance {
        Balance::Plugin(binding) => Some(bind(binding, Role::Balancer, programs)?),
        _ => None,
    };
    let affinity = match config.affinity.as_ref().map(|affinity| &affinity.kind) {
        Some(AffinityKind::Plugin(binding)) => Some(bind(binding, Role::Affinity, programs)?),
        _ => None,
    };
    let health = match config.health.as_ref().map(|health| &health.kind) {
        Some(HealthKind::Plugin(binding)) => Some(bind(binding, Role::Health, programs)?),
        _ => None,
    };
    let (cluster, connector) = match before {
        Some(before) if before.cluster.config() == config => {
            (Arc::clone(&before.cluster), Arc::clone(&before.connector))
        }
        _ => {
            let connector = Connector::build(config)?;
            weir_upstream::health::probe(config).map_err(|fault| format!("health: {fault}"))?;
            (Cluster::build(config, before.map(|before| &*before.cluster)), Arc::new(connector))
        }
    };
    Ok(Upstream { cluster, connector, balancer, affinity, health })
}

fn bind(binding: &Binding, role: Role, programs: &Programs) -> Result<Bound, String> {
    let program = programs.get(&binding.plugin).ok_or_else(|| format!("plugin {} is not loaded", binding.plugin))?;
    program.bind(role, &binding.settings).map_err(|refused| format!("plugin {}: {refused}", binding.plugin))
}

fn build_route(
    config: &weir_config::Route,
    programs: &Programs,
    clusters: &HashMap<Arc<str>, Arc<Upstream>>,
) -> Result<Route, String> {
    let plugins: Result<_, _> = config.plugins.iter().map(|binding| bind(binding, Role::Router, programs)).collect();
    let target = match &config.action {
        Action::Cluster(name) => Target::Cluster(clusters.get(name).cloned()),
        Action::Respond(respond) => Target::Respond(prepare(respond)?),
    };
    Ok(Route { config: config.clone(), plugins: plugins?, target })
}

fn prepare(respond: &weir_config::Respond) -> Result<Prepared, String> {
    let status = StatusCode::from_u16(respond.status).map_err(|error| error.to_string())?;
    let body = Bytes::copy_from_slice(respond.body.as_bytes());
    Ok(Prepared { status, headers: header_map(&respond.headers)?, body })
}

/// Fields from text.
///
/// # Errors
/// The first name or value that is none.
pub fn header_map(fields: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        let (key, value) = parsed.ok_or_else(|| format!("malformed header {name}"))?;
        headers.append(key, value);
    }
    Ok(headers)
}
