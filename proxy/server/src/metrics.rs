//! Figures for Prometheus.
//!
//! What happens on a worker is counted in that worker's own cache lines, without locks, and summed
//! up when somebody asks. The handles ([`RouteMetrics`], [`ClusterMetrics`], [`ListenerMetrics`]) are
//! made when a snapshot is built; the same names give the same handle, so counts survive reloads.

mod acme;
mod certificates;
mod clusters;
mod endpoints;
mod histogram;
mod judged;
mod limits;
mod listeners;
mod process;
mod routes;
mod series;
mod sessions;
mod tenants;
mod text;
mod traffic;
mod worker;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

pub use self::{
    acme::AcmeSample,
    certificates::CertificateSample,
    clusters::{ClusterMetrics, TunnelEnd},
    endpoints::EndpointSample,
    judged::ClusterSample,
    limits::LimitSample,
    listeners::{ConnectionGuard, Handshake, HandshakeFailure, ListenerMetrics, Refused},
    process::{open_files, resident},
    routes::RouteMetrics,
    sessions::SessionsSample,
    tenants::TenantMetrics,
    traffic::{MirrorMetrics, Mirrored, RolloutSample},
    worker::{WorkerGuard, WorkerMetrics},
};
use self::{text::Text, worker::WorkerBlock};
use crate::pressure::Scarce;

/// Which names are configured.
pub struct Present<'a> {
    /// Of listeners.
    pub listener: &'a dyn Fn(&str) -> bool,
    /// Of routes; the empty name stands for none.
    pub route: &'a dyn Fn(&str) -> bool,
    /// Of clusters; the empty name stands for none.
    pub cluster: &'a dyn Fn(&str) -> bool,
    /// Of tenants.
    pub tenant: &'a dyn Fn(&str) -> bool,
}

/// What is not counted here but read from its owner at a scrape.
pub trait Source {
    /// Calls `each` for every endpoint of the snapshot.
    fn endpoints(&self, each: &mut dyn FnMut(EndpointSample<'_>));
    /// Calls `each` with every tenant's name and its requests in flight.
    fn tenants(&self, each: &mut dyn FnMut(&str, u32));
    /// Calls `each` for every table of sessions.
    fn sessions(&self, each: &mut dyn FnMut(SessionsSample<'_>));
    /// Calls `each` for every cluster of the snapshot.
    fn clusters(&self, each: &mut dyn FnMut(ClusterSample<'_>));
    /// Calls `each` for every cluster of the snapshot, with the requests that wait for room.
    fn queues(&self, each: &mut dyn FnMut(&str, usize));
    /// Calls `each` for every limit of the snapshot.
    fn limits(&self, _each: &mut dyn FnMut(LimitSample<'_>)) {}
    /// Access log lines lost.
    fn access_log_dropped(&self) -> u64;
    /// Process log lines lost.
    fn log_dropped(&self) -> u64;
    /// Calls `each` for every certificate of every listener.
    fn certificates(&self, _each: &mut dyn FnMut(CertificateSample<'_>)) {}
    /// Calls `each` for every listener with a list of revoked certificates, with the seconds until that wants to be
    /// replaced.
    fn revocations(&self, _each: &mut dyn FnMut(&str, i64)) {}
    /// Figures of every mirror of the snapshot.
    fn mirrors(&self) -> Vec<Arc<MirrorMetrics>> {
        Vec::new()
    }
    /// Calls `each` for every certificate that is ordered of an authority.
    fn acme(&self, _each: &mut dyn FnMut(AcmeSample<'_>)) {}
    /// Calls `each` for every rollout of the snapshot.
    fn rollouts(&self, _each: &mut dyn FnMut(RolloutSample<'_>)) {}
    /// Whether the process is short of this.
    fn is_short(&self, of: Scarce) -> bool;
}

/// All series of the process.
#[derive(Debug)]
pub struct Metrics {
    workers: Box<[Arc<WorkerBlock>]>,
    registry: Mutex<Registry>,
    reloads: AtomicU64,
    refused_reloads: AtomicU64,
    failed_upgrades: AtomicU64,
}

type RouteKey = (Arc<str>, Arc<str>, Arc<str>);

#[derive(Debug, Default)]
struct Registry {
    routes: BTreeMap<RouteKey, Arc<RouteMetrics>>,
    clusters: BTreeMap<Arc<str>, Arc<ClusterMetrics>>,
    listeners: BTreeMap<Arc<str>, Arc<ListenerMetrics>>,
    tenants: BTreeMap<Arc<str>, Arc<TenantMetrics>>,
}

/// What a page is written from.
struct Handles {
    routes: Vec<Arc<RouteMetrics>>,
    clusters: Vec<Arc<ClusterMetrics>>,
    listeners: Vec<Arc<ListenerMetrics>>,
    tenants: Vec<Arc<TenantMetrics>>,
}

impl Registry {
    fn cluster(&mut self, name: &str, workers: usize) -> Arc<ClusterMetrics> {
        if let Some(known) = self.clusters.get(name) {
            return Arc::clone(known);
        }
        let made = Arc::new(ClusterMetrics::new(name, workers));
        self.clusters.insert(name.into(), Arc::clone(&made));
        made
    }

    fn route(&mut self, key: RouteKey, workers: usize) -> Arc<RouteMetrics> {
        if let Some(known) = self.routes.get(&key) {
            return Arc::clone(known);
        }
        let cluster = (!key.2.is_empty()).then(|| self.cluster(&key.2, workers));
        let made = Arc::new(RouteMetrics::new(&key, cluster, workers));
        self.routes.insert(key, Arc::clone(&made));
        made
    }
}

impl Metrics {
    /// Series for this many workers, numbered from 0.
    pub fn new(workers: usize) -> Arc<Metrics> {
        Arc::new(Metrics {
            workers: (0..workers).map(|_| Arc::default()).collect(),
            registry: Mutex::default(),
            reloads: AtomicU64::new(0),
            refused_reloads: AtomicU64::new(0),
            failed_upgrades: AtomicU64::new(0),
        })
    }

    /// For how many workers.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The figures of one worker that belong to no route. Made on the worker's own thread.
    pub fn worker(self: &Arc<Self>, index: usize) -> WorkerMetrics {
        let block = self.workers.get(index).map(Arc::clone).unwrap_or_default();
        WorkerMetrics::new(Arc::clone(self), index, block)
    }

    /// The handle for exchanges of a listener and route that end at a cluster; `None` for those that
    /// reach none. `route` is empty where none matched.
    ///
    /// Takes a lock: call it when a snapshot is built; a worker that needs one for a cluster only a
    /// plugin knew asks [`WorkerMetrics::route`].
    pub fn route(&self, listener: &str, route: &str, cluster: Option<&str>) -> Arc<RouteMetrics> {
        let key = (listener.into(), route.into(), cluster.unwrap_or_default().into());
        self.registry().route(key, self.workers.len())
    }

    /// The handle of a cluster. Takes a lock, like [`Metrics::route`].
    pub fn cluster(&self, name: &str) -> Arc<ClusterMetrics> {
        self.registry().cluster(name, self.workers.len())
    }

    /// The handle of a listener. Takes a lock, like [`Metrics::route`].
    pub fn listener(&self, name: &str) -> Arc<ListenerMetrics> {
        let mut registry = self.registry();
        if let Some(known) = registry.listeners.get(name) {
            return Arc::clone(known);
        }
        let made = Arc::new(ListenerMetrics::new(name, self.workers.len()));
        registry.listeners.insert(name.into(), Arc::clone(&made));
        made
    }

    /// The handle of a tenant. Takes a lock: a worker asks [`WorkerMetrics::tenant`].
    pub fn tenant(&self, name: &str) -> Arc<TenantMetrics> {
        let mut registry = self.registry();
        if let Some(known) = registry.tenants.get(name) {
            return Arc::clone(known);
        }
        let made = Arc::new(TenantMetrics::new(name, self.workers.len()));
        registry.tenants.insert(name.into(), Arc::clone(&made));
        made
    }

    /// Counts a reload.
    pub fn reloaded(&self, taken_up: bool) {
        let counter = if taken_up { &self.reloads } else { &self.refused_reloads };
        counter.fetch_add(1, Relaxed);
    }

    /// Counts an upgrade that failed. One that succeeds ends this process.
    pub fn failed_upgrade(&self) {
        self.failed_upgrades.fetch_add(1, Relaxed);
    }

    /// Forgets the series of names that are configured no more. A handle that is still held counts on
    /// unseen.
    pub fn prune(&self, present: &Present<'_>) {
        let mut registry = self.registry();
        registry.routes.retain(|(listener, route, cluster), _| {
            (present.listener)(listener) && (present.route)(route) && (present.cluster)(cluster)
        });
        registry.clusters.retain(|name, _| (present.cluster)(name));
        registry.listeners.retain(|name, _| (present.listener)(name));
        registry.tenants.retain(|name, _| (present.tenant)(name));
    }

    /// Appends the whole page in Prometheus' text format.
    pub fn render(&self, source: &dyn Source, out: &mut String) {
        let handles = self.handles();
        let mut text = Text::new(out);
        routes::render(&mut text, &handles.routes);
        routes::render_compression(&mut text, &handles.routes);
        clusters::render(&mut text, &handles.clusters);
        listeners::render(&mut text, &handles.listeners);
        tenants::render(&mut text, &handles.tenants, source);
        self.render_workers(&mut text);
        text.family("weir_queue_waiting", "gauge", "Requests that wait for an endpoint with room.");
        source.queues(&mut |cluster, waiting| {
            text.sample("weir_queue_waiting", &[("cluster", cluster)], waiting);
        });
        listeners::render_handshakes(&mut text, &handles.listeners);
        certificates::render(&mut text, source);
        acme::render(&mut text, source);
        endpoints::render(&mut text, source);
        sessions::render(&mut text, source);
        judged::render(&mut text, source);
        limits::render(&mut text, source);
        traffic::render_mirrors(&mut text, &source.mirrors());
        traffic::render_rollouts(&mut text, source);
        self.render_process(&mut text, source);
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies of the handles, so that nobody waits for a scrape.
    fn handles(&self) -> Handles {
        let registry = self.registry();
        Handles {
            routes: registry.routes.values().cloned().collect(),
            clusters: registry.clusters.values().cloned().collect(),
            listeners: registry.listeners.values().cloned().collect(),
            tenants: registry.tenants.values().cloned().collect(),
        }
    }

    fn render_workers(&self, text: &mut Text<'_>) {
        let sum = |figure: fn(&WorkerBlock) -> i64| self.workers.iter().map(|block| figure(block)).sum::<i64>();
        text.family(
            "weir_exchanges_in_flight",
            "gauge",
            "Exchanges between their request and the end of their response.",
        );
        text.sample("weir_exchanges_in_flight", &[], sum(WorkerBlock::exchanges));
        text.family("weir_tunnels", "gauge", "Tunnels that are open, such as WebSockets.");
        text.sample("weir_tunnels", &[], sum(WorkerBlock::tunnels));
        text.family("weir_workers", "gauge", "Worker threads.");
        text.sample("weir_workers", &[], self.workers.len());
    }

    fn render_process(&self, text: &mut Text<'_>, source: &dyn Source) {
        text.family("weir_reloads_total", "counter", "Configurations taken up or refused while running.");
        text.sample("weir_reloads_total", &[("result", "ok")], self.reloads.load(Relaxed));
        text.sample("weir_reloads_total", &[("result", "refused")], self.refused_reloads.load(Relaxed));
        text.family("weir_upgrades_failed_total", "counter", "Upgrades after which this process went on.");
        text.sample("weir_upgrades_failed_total", &[], self.failed_upgrades.load(Relaxed));
        text.family(
            "weir_access_log_dropped_total",
            "counter",
            "Access log lines lost because the disk was slow, full or gone.",
        );
        text.sample("weir_access_log_dropped_total", &[], source.access_log_dropped());
        text.family(
            "weir_log_dropped_total",
            "counter",
            "Process log lines lost because standard error did not take them.",
        );
        text.sample("weir_log_dropped_total", &[], source.log_dropped());
        text.family("weir_short_of", "gauge", "1 while the process runs short of this.");
        for of in Scarce::ALL {
            text.sample("weir_short_of", &[("resource", of.as_str())], u8::from(source.is_short(of)));
        }
        text.family("weir_build_info", "gauge", "Always 1; the version is in the label.");
        text.sample("weir_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        process::render(text);
    }
}
