//! What runs: routes, clusters and plugin versions of one configuration, immutable.
//!
//! A reload, a push and a rollback all build the next snapshot whole and put it in place of the
//! present one, or fail and leave it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use weir_config::{Action, AffinityKind, Balance, Binding, Config, HealthKind, Places, RequestKey, Unusable};
use weir_plugin::{Bound, Program, Role};
use weir_upstream::{
    Affinity, Cluster,
    connection::Connector,
    split::{Arm, hash},
};

use crate::{
    edits::Edits,
    gate::{Entrance, Gate, Limits, limits},
    identity::Reserved,
    metrics::MirrorMetrics,
    redirect::Redirect,
    request::Client,
    rollout::Rollout,
    router::Router,
    tenant::Tenants,
};

/// A route ready to run.
#[derive(Debug)]
pub struct Route {
    /// As configured.
    pub config: weir_config::Route,
    /// Router plugins, in order.
    pub plugins: Vec<Bound>,
    /// Where it ends.
    pub target: Target,
    /// What it changes on messages.
    pub edits: Option<Box<Edits>>,
    /// Where copies of its requests go.
    pub mirror: Option<Mirror>,
    /// What its requests have to pass.
    pub gate: Option<Box<Gate>>,
}

/// Where a route ends.
#[derive(Debug)]
pub enum Target {
    /// At a cluster; none only where tests need no cluster.
    Cluster(Option<Arc<Upstream>>),
    /// At one of several clusters.
    Split(Split),
    /// At one of two clusters, whose shares change.
    Rollout(Rolling),
    /// At an answer of ours.
    Respond(Prepared),
    /// At an answer that sends the client elsewhere.
    Redirect(Redirect),
}

/// Clusters that share a route's requests.
#[derive(Debug)]
pub struct Split {
    /// Each with its share.
    pub arms: Vec<(Arm, Arc<Upstream>)>,
    /// What keeps a client on one.
    pub key: Option<RequestKey>,
}

/// Clusters between which a route's requests move.
#[derive(Debug)]
pub struct Rolling {
    /// Where it is.
    pub rollout: Arc<Rollout>,
    /// The old one and the new one.
    pub upstreams: [Arc<Upstream>; 2],
}

/// Where copies of a route's requests go.
#[derive(Debug)]
pub struct Mirror {
    /// As configured.
    pub config: weir_config::Mirror,
    /// The cluster.
    pub upstream: Arc<Upstream>,
    /// What became of copies.
    pub figures: Arc<MirrorMetrics>,
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
    /// Tenants in file order.
    pub tenants: Tenants,
    /// Clusters by name.
    pub clusters: HashMap<Arc<str>, Arc<Upstream>>,
    /// Limits by name, in file order.
    pub limits: Limits,
    entrances: HashMap<Arc<str>, Entrance>,
    direct: HashMap<Arc<str>, Arc<Route>>,
    /// Some cluster is told where clients connected to.
    pub introduces: bool,
    /// Header fields that no client may write.
    pub reserved: Option<Arc<Reserved>>,
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
            match upstream(cluster, &config.places, programs, before.map(AsRef::as_ref)) {
                Ok(upstream) => drop(clusters.insert(Arc::clone(&cluster.name), Arc::new(upstream))),
                Err(fault) => faults.push(format!("cluster {}: {fault}", cluster.name)),
            }
        }
        let limits = limits(config, previous.map(|previous| &previous.limits), Instant::now());
        let mut routes = Vec::new();
        for route in &config.routes {
            match build_route(route, programs, &clusters, &limits, previous) {
                Ok(route) => routes.push(Arc::new(route)),
                Err(fault) => faults.push(format!("route {}: {fault}", route.name)),
            }
        }
        let mut direct = HashMap::new();
        for listener in &config.listeners {
            if let Some(cluster) = &listener.cluster {
                let target = Target::Cluster(clusters.get(cluster).cloned());
                let config = weir_config::Route::to(Arc::clone(cluster));
                let route = Route { config, plugins: Vec::new(), target, edits: None, mirror: None, gate: None };
                direct.insert(Arc::clone(&listener.name), Arc::new(route));
            }
        }
        let entrances = config.listeners.iter();
        let entrances =
            entrances.filter_map(|listener| Some((Arc::clone(&listener.name), Entrance::new(listener, &limits)?)));
        let entrances = entrances.collect();
        let before = previous.map(|previous| &previous.tenants);
        let tenants = Tenants::build(config, programs, &clusters, &limits, before);
        let tenants = tenants.unwrap_or_else(|more| {
            faults.extend(more);
            Tenants::default()
        });
        if !faults.is_empty() {
            return Err(faults);
        }
        let number = previous.map_or(1, |previous| previous.number + 1);
        let introduces = config.clusters.iter().any(|cluster| cluster.send_proxy_protocol.is_some());
        Ok(Self {
            number,
            built: SystemTime::now(),
            router: Router::new(routes),
            tenants,
            clusters,
            limits,
            entrances,
            direct,
            introduces,
            reserved: Reserved::of(config).map(Arc::new),
        })
    }

    /// Whether anything stands before any listener.
    pub fn has_entrances(&self) -> bool {
        !self.entrances.is_empty()
    }

    /// What stands before a listener.
    pub fn entrance(&self, listener: &str) -> Option<&Entrance> {
        if self.has_entrances() { self.entrances.get(listener) } else { None }
    }

    /// Where the connection of a client goes that is passed on as it is; `tenant` is whose it is.
    pub fn route_of(&self, tenant: Option<&Arc<str>>, client: &Client) -> Option<&Arc<Route>> {
        self.direct.get(client.listener.name()).or_else(|| self.router.find_connection(tenant, client))
    }
}

impl Snapshot {
    /// Everything that keeps sessions.
    pub fn affinities(&self) -> impl Iterator<Item = &Affinity> {
        let clusters = self.clusters.values().filter_map(|upstream| upstream.cluster.affinity());
        let tenants = self.tenants.all().iter().filter_map(|tenant| tenant.affinity.as_ref());
        clusters.chain(tenants.map(|own| &*own.affinity))
    }

    /// Every rollout, in file order of its route.
    pub fn rollouts(&self) -> impl Iterator<Item = &Arc<Rollout>> {
        self.router.routes().iter().filter_map(|route| route.rollout())
    }
}

fn upstream(
    config: &weir_config::Cluster,
    places: &Places,
    programs: &Programs,
    before: Option<&Upstream>,
) -> Result<Upstream, String> {
    let placed = |Unusable { key, why }: Unusable| places.fault("clusters", &config.name, &key, why).unlabelled();
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
    let kept = before.and_then(|before| before.connector.succeeded_by(config));
    let (cluster, connector) = match (before, kept) {
        (Some(before), Some(_)) if before.cluster.config() == config => {
            (Arc::clone(&before.cluster), Arc::clone(&before.connector))
        }
        (_, kept) => {
            let connector = kept.map_or_else(|| Connector::build(config), Ok).map_err(placed)?;
            weir_upstream::health::probe(config).map_err(placed)?;
            let cluster = Cluster::build(config, before.map(|before| &*before.cluster));
            let connector = Arc::new(connector.counted_by(&cluster));
            (cluster, connector)
        }
    };
    Ok(Upstream { cluster, connector, balancer, affinity, health })
}

/// A plugin bound where it decides.
///
/// # Errors
/// It is not there, lacks the role, or refuses the settings.
pub fn bind(binding: &Binding, role: Role, programs: &Programs) -> Result<Bound, String> {
    let program = programs.get(&binding.plugin).ok_or_else(|| format!("plugin {} is not loaded", binding.plugin))?;
    program.bind(role, &binding.settings).map_err(|refused| format!("plugin {}: {refused}", binding.plugin))
}

fn build_route(
    config: &weir_config::Route,
    programs: &Programs,
    clusters: &HashMap<Arc<str>, Arc<Upstream>>,
    limits: &Limits,
    previous: Option<&Snapshot>,
) -> Result<Route, String> {
    let plugins: Result<_, _> = config.plugins.iter().map(|binding| bind(binding, Role::Router, programs)).collect();
    let mirror = config.mirror.as_ref().map(|mirror| build_mirror(&config.name, mirror, clusters, previous));
    Ok(Route {
        config: config.clone(),
        plugins: plugins?,
        target: target(config, clusters, previous)?,
        edits: Edits::build(&config.edits)?,
        mirror: mirror.transpose()?,
        gate: Gate::new(&config.access, &config.rate_limits, limits),
    })
}

fn target(
    config: &weir_config::Route,
    clusters: &HashMap<Arc<str>, Arc<Upstream>>,
    previous: Option<&Snapshot>,
) -> Result<Target, String> {
    Ok(match &config.action {
        Action::Cluster(name) => Target::Cluster(clusters.get(name).cloned()),
        Action::Split(split) => {
            let arm = |(name, share): &(Arc<str>, u32)| {
                Ok((Arm { seed: hash(name.as_bytes()), share: *share }, named(clusters, name)?))
            };
            let arms: Result<_, String> = split.shares.iter().map(arm).collect();
            Target::Split(Split { arms: arms?, key: split.key.clone() })
        }
        Action::Rollout(rollout) => {
            let same = |kept: &&Arc<Rollout>| *kept.route() == config.name && kept.config() == rollout;
            let kept = previous.and_then(|previous| previous.rollouts().find(same));
            let running = kept.cloned().unwrap_or_else(|| Arc::new(Rollout::new(&config.name, rollout)));
            let upstreams = [named(clusters, &rollout.from)?, named(clusters, &rollout.to)?];
            Target::Rollout(Rolling { rollout: running, upstreams })
        }
        Action::Respond(respond) => Target::Respond(prepare(respond)?),
        Action::Redirect(redirect) => Target::Redirect(Redirect::build(redirect)?),
    })
}

fn named(clusters: &HashMap<Arc<str>, Arc<Upstream>>, name: &Arc<str>) -> Result<Arc<Upstream>, String> {
    clusters.get(name).cloned().ok_or_else(|| format!("cluster {name} cannot run"))
}

fn build_mirror(
    route: &Arc<str>,
    config: &weir_config::Mirror,
    clusters: &HashMap<Arc<str>, Arc<Upstream>>,
    previous: Option<&Snapshot>,
) -> Result<Mirror, String> {
    let before = previous.into_iter().flat_map(|previous| previous.router.routes());
    let mut kept = before.filter_map(|route| route.mirror.as_ref()).map(|mirror| &mirror.figures);
    let kept = kept.find(|figures| figures.is(route, &config.cluster)).cloned();
    let figures = kept.unwrap_or_else(|| Arc::new(MirrorMetrics::new(route, &config.cluster)));
    Ok(Mirror { config: config.clone(), upstream: named(clusters, &config.cluster)?, figures })
}

impl Route {
    /// The clusters it can end at.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        let (one, arms, two) = match &self.target {
            Target::Cluster(upstream) => (upstream.as_ref(), &[][..], &[][..]),
            Target::Split(split) => (None, &*split.arms, &[][..]),
            Target::Rollout(rolling) => (None, &[][..], &rolling.upstreams[..]),
            Target::Respond(_) | Target::Redirect(_) => (None, &[][..], &[][..]),
        };
        one.into_iter().chain(arms.iter().map(|(_, upstream)| upstream)).chain(two)
    }

    /// The rollout that it is on.
    pub fn rollout(&self) -> Option<&Arc<Rollout>> {
        match &self.target {
            Target::Rollout(rolling) => Some(&rolling.rollout),
            _ => None,
        }
    }
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
    let too_many = || format!("{} header fields are too many", fields.len());
    let mut headers = HeaderMap::try_with_capacity(fields.len()).map_err(|_| too_many())?;
    for (name, value) in fields {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        let (key, value) = parsed.ok_or_else(|| format!("malformed header {name}"))?;
        headers.try_append(key, value).map_err(|_| too_many())?;
    }
    Ok(headers)
}
