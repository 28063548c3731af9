//! What clusters are asked, and what becomes of it.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use super::{
    histogram::{Histogram, Sum},
    series::{blocks, bump, sum},
    text::Text,
};
use crate::access_log::{Affinity, Retried};

/// Figures of one cluster. Every recording function is to be called by the worker of the number it
/// is given only.
#[derive(Debug)]
pub struct ClusterMetrics {
    name: Arc<str>,
    blocks: Box<[ClusterBlock]>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct ClusterBlock {
    times: Histogram,
    connects: AtomicU64,
    connect_failures: AtomicU64,
    full_handshakes: AtomicU64,
    resumed_handshakes: AtomicU64,
    retries: [AtomicU64; Retried::ALL.len()],
    denied: AtomicU64,
    hedges_won: AtomicU64,
    hedges_lost: AtomicU64,
    endpoint_full: AtomicU64,
    queued: AtomicU64,
    queue_full: AtomicU64,
    queue_timeouts: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    moves: AtomicU64,
    losses: AtomicU64,
    reports: AtomicU64,
    unusable_reports: AtomicU64,
    tunnels: [AtomicU64; TunnelEnd::ALL.len()],
    tunnel_micros: AtomicU64,
}

/// What is counted for a cluster.
#[derive(Debug, Clone, Copy)]
enum Count {
    Connect,
    ConnectFailure,
    FullHandshake,
    ResumedHandshake,
    Retry(Retried),
    Denied,
    HedgeWon,
    HedgeLost,
    EndpointFull,
    Queued,
    QueueFull,
    QueueTimeout,
    Hit,
    Miss,
    Moved,
    Lost,
    Report,
    UnusableReport,
    Tunnel(TunnelEnd),
    TunnelMicros,
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelEnd {
    /// Both sides closed it.
    Closed,
    /// Nothing passed for too long.
    Idle,
    /// The client's connection failed.
    Client,
    /// The endpoint's did.
    Endpoint,
    /// The process ended before.
    Cut,
}

impl TunnelEnd {
    /// Every one, in the order of the metrics page.
    pub const ALL: [TunnelEnd; 5] =
        [TunnelEnd::Closed, TunnelEnd::Idle, TunnelEnd::Client, TunnelEnd::Endpoint, TunnelEnd::Cut];

    /// As in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            TunnelEnd::Closed => "closed",
            TunnelEnd::Idle => "idle",
            TunnelEnd::Client => "client",
            TunnelEnd::Endpoint => "endpoint",
            TunnelEnd::Cut => "cut",
        }
    }
}

impl From<Affinity> for Count {
    fn from(result: Affinity) -> Count {
        match result {
            Affinity::Hit => Count::Hit,
            Affinity::Miss => Count::Miss,
            Affinity::Moved => Count::Moved,
            Affinity::Lost => Count::Lost,
        }
    }
}

impl ClusterBlock {
    fn of(&self, count: Count) -> &AtomicU64 {
        let [connect, stale, reset, timeout, status, grpc] = &self.retries;
        let [closed, idle, client, endpoint, cut] = &self.tunnels;
        match count {
            Count::Connect => &self.connects,
            Count::ConnectFailure => &self.connect_failures,
            Count::FullHandshake => &self.full_handshakes,
            Count::ResumedHandshake => &self.resumed_handshakes,
            Count::Retry(Retried::Connect) => connect,
            Count::Retry(Retried::Stale) => stale,
            Count::Retry(Retried::Reset) => reset,
            Count::Retry(Retried::Timeout) => timeout,
            Count::Retry(Retried::Status(_)) => status,
            Count::Retry(Retried::Grpc(_)) => grpc,
            Count::Denied => &self.denied,
            Count::HedgeWon => &self.hedges_won,
            Count::HedgeLost => &self.hedges_lost,
            Count::EndpointFull => &self.endpoint_full,
            Count::Queued => &self.queued,
            Count::QueueFull => &self.queue_full,
            Count::QueueTimeout => &self.queue_timeouts,
            Count::Hit => &self.hits,
            Count::Miss => &self.misses,
            Count::Moved => &self.moves,
            Count::Lost => &self.losses,
            Count::Report => &self.reports,
            Count::UnusableReport => &self.unusable_reports,
            Count::Tunnel(TunnelEnd::Closed) => closed,
            Count::Tunnel(TunnelEnd::Idle) => idle,
            Count::Tunnel(TunnelEnd::Client) => client,
            Count::Tunnel(TunnelEnd::Endpoint) => endpoint,
            Count::Tunnel(TunnelEnd::Cut) => cut,
            Count::TunnelMicros => &self.tunnel_micros,
        }
    }
}

impl ClusterMetrics {
    pub(super) fn new(name: &str, workers: usize) -> ClusterMetrics {
        ClusterMetrics { name: name.into(), blocks: blocks(workers) }
    }

    /// A connection to an endpoint was tried, and opened or not.
    pub fn dialled(&self, worker: usize, opened: bool) {
        self.count(worker, if opened { Count::Connect } else { Count::ConnectFailure });
    }

    /// It began with a TLS handshake, which may have gone on with an earlier session.
    pub fn handshake(&self, worker: usize, resumed: bool) {
        self.count(worker, if resumed { Count::ResumedHandshake } else { Count::FullHandshake });
    }

    /// A further attempt was made.
    pub fn retry(&self, worker: usize, why: Retried) {
        self.count(worker, Count::Retry(why));
    }

    /// The retry budget did not allow one.
    pub fn retry_denied(&self, worker: usize) {
        self.count(worker, Count::Denied);
    }

    /// An attempt was made beside another, and answered first or not.
    pub fn hedge(&self, worker: usize, won: bool) {
        self.count(worker, if won { Count::HedgeWon } else { Count::HedgeLost });
    }

    /// An endpoint was picked that turned out to be full.
    pub fn endpoint_full(&self, worker: usize) {
        self.count(worker, Count::EndpointFull);
    }

    /// A request had waited for room, and found it.
    pub fn queued(&self, worker: usize) {
        self.count(worker, Count::Queued);
    }

    /// A request could not wait: too many did.
    pub fn queue_full(&self, worker: usize) {
        self.count(worker, Count::QueueFull);
    }

    /// A request had waited for as long as it may.
    pub fn queue_timeout(&self, worker: usize) {
        self.count(worker, Count::QueueTimeout);
    }

    /// An endpoint reported its load.
    pub fn load_report(&self, worker: usize, usable: bool) {
        self.count(worker, if usable { Count::Report } else { Count::UnusableReport });
    }

    /// Affinity was asked.
    pub fn affinity(&self, worker: usize, result: Affinity) {
        self.count(worker, Count::from(result));
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn tunnel(&self, worker: usize, end: TunnelEnd, lasted: Duration) {
        if let Some(block) = self.blocks.get(worker) {
            bump(block.of(Count::Tunnel(end)), 1);
            bump(&block.tunnel_micros, u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn observe(&self, worker: usize, total: Duration) {
        if let Some(block) = self.blocks.get(worker) {
            block.times.observe(total);
        }
    }

    fn count(&self, worker: usize, count: Count) {
        if let Some(block) = self.blocks.get(worker) {
            bump(block.of(count), 1);
        }
    }

    fn total(&self, count: Count) -> u64 {
        sum(&self.blocks, |block| block.of(count))
    }

    fn has_affinity(&self) -> bool {
        Affinity::ALL.iter().any(|result| self.total(Count::from(*result)) > 0)
    }

    fn has_tunnels(&self) -> bool {
        TunnelEnd::ALL.iter().any(|end| self.total(Count::Tunnel(*end)) > 0)
    }

    fn has_handshakes(&self) -> bool {
        [Count::FullHandshake, Count::ResumedHandshake].iter().any(|count| self.total(*count) > 0)
    }

    fn has_load_reports(&self) -> bool {
        [Count::Report, Count::UnusableReport].iter().any(|count| self.total(*count) > 0)
    }

    fn render_times(&self, text: &mut Text<'_>, name: &str) {
        let mut sum = Sum::default();
        self.blocks.iter().for_each(|block| sum.add(&block.times));
        sum.render(text, name, ("cluster", &self.name));
    }
}

pub(super) fn render(text: &mut Text<'_>, clusters: &[Arc<ClusterMetrics>]) {
    text.family(
        "weir_request_seconds",
        "histogram",
        "Time of exchanges that reached a cluster, from the request's first byte to the response's last.",
    );
    for cluster in clusters {
        cluster.render_times(text, "weir_request_seconds");
    }
    let counters = [
        ("weir_upstream_connect_total", "Connections opened to endpoints.", Count::Connect),
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
