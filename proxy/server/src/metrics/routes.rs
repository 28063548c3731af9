//! Exchanges by listener, route and cluster.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use super::{
    RouteKey,
    clusters::{ClusterMetrics, TunnelEnd},
    series::{Statuses, blocks, bump, sum},
    text::Text,
};

/// Exchanges of one listener and route that ended at one cluster, or at none.
#[derive(Debug)]
pub struct RouteMetrics {
    listener: Arc<str>,
    route: Arc<str>,
    cluster_name: Arc<str>,
    cluster: Option<Arc<ClusterMetrics>>,
    blocks: Box<[RouteBlock]>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct RouteBlock {
    statuses: Statuses,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    uncompressed: AtomicU64,
    compressed: AtomicU64,
}

impl RouteMetrics {
    pub(super) fn new(key: &RouteKey, cluster: Option<Arc<ClusterMetrics>>, workers: usize) -> RouteMetrics {
        let (listener, route, cluster_name) = key.clone();
        RouteMetrics { listener, route, cluster_name, cluster, blocks: blocks(workers) }
    }

    /// Records one finished exchange. To be called by the worker of this number only.
    ///
    /// `status` is what the client got, 499 when it left before.
    pub fn record(&self, worker: usize, status: u16, total: Duration, bytes_in: u64, bytes_out: u64) {
        self.count(worker, status, bytes_in, bytes_out);
        if let Some(cluster) = &self.cluster {
            cluster.observe(worker, total);
        }
    }

    /// Octets of a response, and what compression made of them.
    pub fn compressed(&self, worker: usize, plain: u64, sent: u64) {
        if let Some(block) = self.blocks.get(worker) {
            bump(&block.uncompressed, plain);
            bump(&block.compressed, sent);
        }
    }

    /// Records one exchange that became a tunnel, open for so long: no time of a response.
    pub fn record_tunnel(&self, worker: usize, status: u16, (end, lasted): (TunnelEnd, Duration), bytes: (u64, u64)) {
        self.count(worker, status, bytes.0, bytes.1);
        if let Some(cluster) = &self.cluster {
            cluster.tunnel(worker, end, lasted);
        }
    }

    fn count(&self, worker: usize, status: u16, bytes_in: u64, bytes_out: u64) {
        let Some(block) = self.blocks.get(worker) else { return };
        bump(block.statuses.of(status), 1);
        bump(&block.bytes_in, bytes_in);
        bump(&block.bytes_out, bytes_out);
    }

    /// Figures of the cluster, where there is one.
    pub fn cluster(&self) -> Option<&Arc<ClusterMetrics>> {
        self.cluster.as_ref()
    }

    pub(super) fn is(&self, listener: &str, route: &str, cluster: &str) -> bool {
        &*self.listener == listener && &*self.route == route && &*self.cluster_name == cluster
    }

    pub(super) fn labels(&self) -> [(&str, &str); 3] {
        [("listener", &self.listener), ("route", &self.route), ("cluster", &self.cluster_name)]
    }

    fn statuses(&self) -> [(&'static str, u64); 6] {
        Statuses::totals(&self.blocks, |block| &block.statuses)
    }

    fn compression(&self) -> [(&'static str, u64); 2] {
        let [plain, sent] =
            [sum(&self.blocks, |block| &block.uncompressed), sum(&self.blocks, |block| &block.compressed)];
        [("before", plain), ("after", sent)]
    }

    fn bytes(&self) -> [(&'static str, u64); 2] {
        [("in", sum(&self.blocks, |block| &block.bytes_in)), ("out", sum(&self.blocks, |block| &block.bytes_out))]
    }
}

pub(super) fn render(text: &mut Text<'_>, routes: &[Arc<RouteMetrics>]) {
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

pub(super) fn render_compression(text: &mut Text<'_>, routes: &[Arc<RouteMetrics>]) {
    let help = "Body bytes of responses that were compressed, before and after.";
    text.family("weir_compression_bytes_total", "counter", help);
    for route in routes {
        let [listener, name, cluster] = route.labels();
        for (stage, count) in route.compression().into_iter().filter(|(_, count)| *count > 0) {
            text.sample("weir_compression_bytes_total", &[listener, name, cluster, ("stage", stage)], count);
        }
    }
}
