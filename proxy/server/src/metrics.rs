//! Figures for Prometheus.
//!
//! What happens on a worker is counted in that worker's own cache lines, without locks, and summed
//! up when somebody asks. The handles ([`RouteMetrics`], [`ClusterMetrics`], [`ListenerMetrics`]) are
//! made when a snapshot is built; the same names give the same handle, so counts survive reloads.

mod acme;
mod histogram;
mod judged;
mod limits;
mod process;
mod series;
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
    time::Duration,
};

pub use self::{
    acme::AcmeSample,
    judged::ClusterSample,
    limits::LimitSample,
    process::resident,
    series::{
        ClusterMetrics, ConnectionGuard, Handshake, HandshakeFailure, ListenerMetrics, Refused, RouteMetrics,
        TenantMetrics, TunnelEnd,
    },
    traffic::{MirrorMetrics, Mirrored, RolloutSample},
    worker::{WorkerGuard, WorkerMetrics},
};
use self::{series::Count, text::Text, worker::WorkerBlock};
use weir_upstream::State;

use crate::{
    access_log::{Affinity, Retried},
    pressure::Scarce,
};

/// One endpoint at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct EndpointSample<'a> {
    /// Name of its cluster.
    pub cluster: &'a str,
    /// Its address.
    pub endpoint: &'a str,
    /// Requests in flight over all workers.
    pub in_flight: u32,
    /// Connections open to it over all workers.
    pub connections: u32,
    /// What it is good for.
    pub state: State,
    /// Its effective weight in hundredths.
    pub weight: u32,
}

/// A certificate at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct CertificateSample<'a> {
    /// Name of its listener.
    pub listener: &'a str,
    /// Its own.
    pub certificate: &'a str,
    /// Seconds until it expires, below zero once it has.
    pub left: i64,
    /// The same of an OCSP response that is given with it.
    pub staple_left: Option<i64>,
}

/// A table of sessions at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct SessionsSample<'a> {
    /// Name of its cluster; empty where it is a tenant's.
    pub cluster: &'a str,
    /// Name of its tenant; empty where it is a cluster's.
    pub tenant: &'a str,
    /// How many it holds.
    pub sessions: usize,
    /// How many it has given up alive because it was full.
    pub evicted: u64,
}

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
        render_routes(&mut text, &handles.routes);
        render_compression(&mut text, &handles.routes);
        render_clusters(&mut text, &handles.clusters);
        render_listeners(&mut text, &handles.listeners);
        render_tenants(&mut text, &handles.tenants, source);
        self.render_workers(&mut text);
        text.family("weir_queue_waiting", "gauge", "Requests that wait for an endpoint with room.");
        source.queues(&mut |cluster, waiting| {
            text.sample("weir_queue_waiting", &[("cluster", cluster)], waiting);
        });
        render_handshakes(&mut text, &handles.listeners);
        render_certificates(&mut text, source);
        acme::render(&mut text, source);
        render_endpoints(&mut text, source);
        render_sessions(&mut text, source);
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
        text.family("weir_short_of", "gauge", "1 while the process runs short of this.");
        for of in Scarce::ALL {
            text.sample("weir_short_of", &[("resource", of.as_str())], u8::from(source.is_short(of)));
        }
        text.family("weir_build_info", "gauge", "Always 1; the version is in the label.");
        text.sample("weir_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        process::render(text);
    }
}

fn render_routes(text: &mut Text<'_>, routes: &[Arc<RouteMetrics>]) {
    text.family(
        "weir_requests_total",
        "counter",
        "Exchanges by the class of the status the client got; 499 is a client that left.",
    );
    for route in routes {
        let [listener, name, cluster] = route.labels();
        for (class, count) in route.statuses() {
            text.sample("weir_requests_total", &[listener, name, cluster, ("status_class", class)], count);
        }
    }
    text.family("weir_bytes_total", "counter", "Body bytes: in from clients, out to clients.");
    for route in routes {
        let [listener, name, cluster] = route.labels();
        for (direction, count) in route.bytes() {
            text.sample("weir_bytes_total", &[listener, name, cluster, ("direction", direction)], count);
        }
    }
}

fn render_compression(text: &mut Text<'_>, routes: &[Arc<RouteMetrics>]) {
    let help = "Body bytes of responses that were compressed, before and after.";
    text.family("weir_compression_bytes_total", "counter", help);
    for route in routes {
        let [listener, name, cluster] = route.labels();
        for (stage, count) in route.compression().into_iter().filter(|(_, count)| *count > 0) {
            text.sample("weir_compression_bytes_total", &[listener, name, cluster, ("stage", stage)], count);
        }
    }
}

fn render_clusters(text: &mut Text<'_>, clusters: &[Arc<ClusterMetrics>]) {
    text.family(
        "weir_request_seconds",
        "histogram",
        "Time of exchanges that reached a cluster, from the request's first byte to the response's last.",
    );
    for cluster in clusters {
        cluster.render_times(text, "weir_request_seconds");
    }
    let counters = [
        ("weir_upstream_connect_total", "Connections opened to endpoints, or tried.", Count::Connect),
        (
            "weir_upstream_connect_failures_total",
            "Connections to endpoints that could not be opened.",
            Count::ConnectFailure,
        ),
        ("weir_retries_denied_total", "Retries that the budget did not allow.", Count::Denied),
        (
            "weir_endpoint_full_total",
            "Picks that met an endpoint with as many requests as it takes.",
            Count::EndpointFull,
        ),
        ("weir_queued_total", "Requests that waited for an endpoint with room and found one.", Count::Queued),
    ];
    for (name, help, count) in counters {
        text.family(name, "counter", help);
        for cluster in clusters {
            text.sample(name, &[("cluster", cluster.name())], cluster.total(count));
        }
    }
    text.family(
        "weir_queue_refused_total",
        "counter",
        "Requests that found no room: the queue was full, or their time in it over.",
    );
    for cluster in clusters {
        for (reason, count) in [("full", Count::QueueFull), ("timeout", Count::QueueTimeout)] {
            let labels = [("cluster", cluster.name()), ("reason", reason)];
            text.sample("weir_queue_refused_total", &labels, cluster.total(count));
        }
    }
    text.family("weir_hedges_total", "counter", "Attempts beside another, by whether they answered first.");
    for cluster in clusters {
        for (result, count) in [("won", Count::HedgeWon), ("lost", Count::HedgeLost)] {
            text.sample("weir_hedges_total", &[("cluster", cluster.name()), ("result", result)], cluster.total(count));
        }
    }
    text.family("weir_retries_total", "counter", "Further attempts, by what became of the one before.");
    for cluster in clusters {
        for why in Retried::ALL {
            let labels = [("cluster", cluster.name()), ("reason", why.as_str())];
            text.sample("weir_retries_total", &labels, cluster.total(Count::Retry(why)));
        }
    }
    render_tunnels(text, clusters);
    text.family(
        "weir_upstream_tls_handshakes_total",
        "counter",
        "TLS handshakes with endpoints: full, or of a session that goes on.",
    );
    for cluster in clusters.iter().filter(|cluster| cluster.has_handshakes()) {
        for (kind, count) in [("full", Count::FullHandshake), ("resumed", Count::ResumedHandshake)] {
            let labels = [("cluster", cluster.name()), ("kind", kind)];
            text.sample("weir_upstream_tls_handshakes_total", &labels, cluster.total(count));
        }
    }
    text.family("weir_load_reports_total", "counter", "Load reports of endpoints: used, or passed over as unusable.");
    for cluster in clusters.iter().filter(|cluster| cluster.has_load_reports()) {
        for (result, count) in [("used", Count::Report), ("unusable", Count::UnusableReport)] {
            let labels = [("cluster", cluster.name()), ("result", result)];
            text.sample("weir_load_reports_total", &labels, cluster.total(count));
        }
    }
    text.family(
        "weir_affinity_total",
        "counter",
        "What affinity found: hit, miss, moved or lost when the session's endpoint could not be used.",
    );
    for cluster in clusters.iter().filter(|cluster| cluster.has_affinity()) {
        for result in Affinity::ALL {
            let labels = [("cluster", cluster.name()), ("result", result.as_str())];
            text.sample("weir_affinity_total", &labels, cluster.total(Count::from(result)));
        }
    }
}

fn render_tunnels(text: &mut Text<'_>, clusters: &[Arc<ClusterMetrics>]) {
    let used = || clusters.iter().filter(|cluster| cluster.has_tunnels());
    text.family("weir_tunnels_total", "counter", "Tunnels that ended, by how they did.");
    for cluster in used() {
        for end in TunnelEnd::ALL {
            let labels = [("cluster", cluster.name()), ("end", end.as_str())];
            text.sample("weir_tunnels_total", &labels, cluster.total(Count::Tunnel(end)));
        }
    }
    text.family("weir_tunnel_seconds_total", "counter", "Time for which they were open.");
    for cluster in used() {
        let seconds = Duration::from_micros(cluster.total(Count::TunnelMicros)).as_secs_f64();
        text.sample("weir_tunnel_seconds_total", &[("cluster", cluster.name())], seconds);
    }
}

fn render_listeners(text: &mut Text<'_>, listeners: &[Arc<ListenerMetrics>]) {
    text.family("weir_connections", "gauge", "Open connections of clients.");
    for listener in listeners {
        text.sample("weir_connections", &[("listener", listener.name())], listener.open());
    }
    text.family("weir_connections_total", "counter", "Connections accepted.");
    for listener in listeners {
        text.sample("weir_connections_total", &[("listener", listener.name())], listener.accepted());
    }
    text.family(
        "weir_datagrams_dropped_total",
        "counter",
        "Datagrams that could not be passed on: no room for a session, no endpoint, or nobody takes them.",
    );
    for listener in listeners {
        text.sample("weir_datagrams_dropped_total", &[("listener", listener.name())], listener.dropped());
    }
    text.family(
        "weir_connections_refused_total",
        "counter",
        "Connections closed before they were served, by the reason.",
    );
    for listener in listeners {
        for why in Refused::ALL {
            let labels = [("listener", listener.name()), ("reason", why.as_str())];
            text.sample("weir_connections_refused_total", &labels, listener.refused(why));
        }
    }
    text.family("weir_denied_total", "counter", "Connections and requests of clients whose network is denied.");
    for listener in listeners {
        text.sample("weir_denied_total", &[("listener", listener.name())], listener.denied());
    }
}

fn render_handshakes(text: &mut Text<'_>, listeners: &[Arc<ListenerMetrics>]) {
    let listeners = || listeners.iter().filter(|listener| listener.has_handshakes());
    text.family(
        "weir_tls_handshakes_total",
        "counter",
        "TLS handshakes with clients: full, or of a session that goes on.",
    );
    for listener in listeners() {
        for (kind, handshake) in [("full", Handshake::Full), ("resumed", Handshake::Resumed)] {
            let labels = [("listener", listener.name()), ("kind", kind)];
            text.sample("weir_tls_handshakes_total", &labels, listener.handshakes(handshake));
        }
    }
    text.family("weir_tls_handshake_failures_total", "counter", "TLS handshakes with clients that failed, by reason.");
    for listener in listeners() {
        for why in HandshakeFailure::ALL {
            let labels = [("listener", listener.name()), ("reason", why.as_str())];
            text.sample("weir_tls_handshake_failures_total", &labels, listener.handshakes(Handshake::Failed(why)));
        }
    }
}

fn render_certificates(text: &mut Text<'_>, source: &dyn Source) {
    text.family(
        "weir_certificate_expiry_seconds",
        "gauge",
        "Time until a certificate expires, below zero once it has.",
    );
    source.certificates(&mut |sample| {
        let labels = [("listener", sample.listener), ("certificate", sample.certificate)];
        text.sample("weir_certificate_expiry_seconds", &labels, sample.left);
    });
    text.family(
        "weir_ocsp_expiry_seconds",
        "gauge",
        "Time until the OCSP response given with a certificate is of no use.",
    );
    source.certificates(&mut |sample| {
        let labels = [("listener", sample.listener), ("certificate", sample.certificate)];
        sample.staple_left.into_iter().for_each(|left| text.sample("weir_ocsp_expiry_seconds", &labels, left));
    });
    text.family("weir_crl_expiry_seconds", "gauge", "Time until a list of revoked certificates wants to be replaced.");
    source.revocations(&mut |listener, left| text.sample("weir_crl_expiry_seconds", &[("listener", listener)], left));
}

fn render_tenants(text: &mut Text<'_>, tenants: &[Arc<TenantMetrics>], source: &dyn Source) {
    text.family("weir_tenant_requests_total", "counter", "Exchanges of a tenant by the class of the status it got.");
    for tenant in tenants {
        for (class, count) in tenant.statuses() {
            let labels = [("tenant", tenant.name()), ("status_class", class)];
            text.sample("weir_tenant_requests_total", &labels, count);
        }
    }
    text.family("weir_tenant_refused_total", "counter", "Requests refused because their tenant was at a limit.");
    for tenant in tenants {
        text.sample("weir_tenant_refused_total", &[("tenant", tenant.name())], tenant.refused());
    }
    text.family("weir_tenant_in_flight", "gauge", "Requests of a tenant in flight.");
    source.tenants(&mut |tenant, in_flight| text.sample("weir_tenant_in_flight", &[("tenant", tenant)], in_flight));
}

fn render_endpoints(text: &mut Text<'_>, source: &dyn Source) {
    let [mut open, mut ups, mut states, mut weights] = [const { String::new() }; 4];
    let (mut connections, mut up) = (Text::new(&mut open), Text::new(&mut ups));
    let (mut state, mut weight) = (Text::new(&mut states), Text::new(&mut weights));
    up.family("weir_endpoint_up", "gauge", "1 when the endpoint may be picked.");
    state.family("weir_endpoint_state", "gauge", "1 for the state the endpoint is in.");
    weight.family(
        "weir_endpoint_weight",
        "gauge",
        "The weight that counts: with the percents of health and slow start.",
    );
    connections.family("weir_endpoint_connections", "gauge", "Open connections to the endpoint, idle ones among them.");
    text.family("weir_endpoint_in_flight", "gauge", "Requests in flight to the endpoint.");
    source.endpoints(&mut |sample| {
        let labels = [("cluster", sample.cluster), ("endpoint", sample.endpoint)];
        text.sample("weir_endpoint_in_flight", &labels, sample.in_flight);
        connections.sample("weir_endpoint_connections", &labels, sample.connections);
        up.sample("weir_endpoint_up", &labels, u8::from(sample.state.is_able()));
        let [cluster, endpoint] = labels;
        state.sample("weir_endpoint_state", &[cluster, endpoint, ("state", sample.state.as_str())], 1);
        weight.sample("weir_endpoint_weight", &labels, f64::from(sample.weight) / 100.0);
    });
    [open, ups, states, weights].iter().for_each(|page| text.append(page));
}

fn render_sessions(text: &mut Text<'_>, source: &dyn Source) {
    let mut gone = String::new();
    let mut evicted = Text::new(&mut gone);
    let help = "Sessions given up before their end because their table was full.";
    evicted.family("weir_affinity_evicted_total", "counter", help);
    text.family("weir_affinity_sessions", "gauge", "Sessions remembered.");
    source.sessions(&mut |sample| {
        let labels = [("cluster", sample.cluster), ("tenant", sample.tenant)];
        text.sample("weir_affinity_sessions", &labels, sample.sessions);
        evicted.sample("weir_affinity_evicted_total", &labels, sample.evicted);
    });
    text.append(&gone);
}
