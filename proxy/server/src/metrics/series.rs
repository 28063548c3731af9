//! Handles that record. Each holds one padded block a worker, and only that worker writes it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    RouteKey,
    histogram::{Histogram, Sum},
    text::Text,
};
use crate::access_log::{Affinity, Retried};

/// Adds to a figure that only this thread writes: a plain load and store, which costs a fifth of an
/// atomic addition.
pub(super) fn bump(figure: &AtomicU64, by: u64) {
    figure.store(figure.load(Relaxed).wrapping_add(by), Relaxed);
}

fn blocks<B: Default>(workers: usize) -> Box<[B]> {
    (0..workers).map(|_| B::default()).collect()
}

fn sum<B>(blocks: &[B], figure: impl Fn(&B) -> &AtomicU64) -> u64 {
    blocks.iter().map(|block| figure(block).load(Relaxed)).fold(0, u64::wrapping_add)
}

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

#[derive(Debug, Default)]
struct Statuses {
    informational: AtomicU64,
    success: AtomicU64,
    redirection: AtomicU64,
    client_error: AtomicU64,
    server_error: AtomicU64,
    client_left: AtomicU64,
}

impl Statuses {
    fn of(&self, status: u16) -> &AtomicU64 {
        match status {
            0..200 => &self.informational,
            200..300 => &self.success,
            300..400 => &self.redirection,
            499 => &self.client_left,
            400..500 => &self.client_error,
            _ => &self.server_error,
        }
    }
}

impl Statuses {
    /// Sums over blocks by class.
    fn totals<B>(blocks: &[B], statuses: fn(&B) -> &Statuses) -> [(&'static str, u64); 6] {
        let total = |figure: fn(&Statuses) -> &AtomicU64| sum(blocks, |block| figure(statuses(block)));
        [
            ("1xx", total(|statuses| &statuses.informational)),
            ("2xx", total(|statuses| &statuses.success)),
            ("3xx", total(|statuses| &statuses.redirection)),
            ("4xx", total(|statuses| &statuses.client_error)),
            ("499", total(|statuses| &statuses.client_left)),
            ("5xx", total(|statuses| &statuses.server_error)),
        ]
    }
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

    pub(super) fn statuses(&self) -> [(&'static str, u64); 6] {
        Statuses::totals(&self.blocks, |block| &block.statuses)
    }

    pub(super) fn compression(&self) -> [(&'static str, u64); 2] {
        let [plain, sent] =
            [sum(&self.blocks, |block| &block.uncompressed), sum(&self.blocks, |block| &block.compressed)];
        [("before", plain), ("after", sent)]
    }

    pub(super) fn bytes(&self) -> [(&'static str, u64); 2] {
        [("in", sum(&self.blocks, |block| &block.bytes_in)), ("out", sum(&self.blocks, |block| &block.bytes_out))]
    }
}

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
pub(super) enum Count {
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

    fn tunnel(&self, worker: usize, end: TunnelEnd, lasted: Duration) {
        if let Some(block) = self.blocks.get(worker) {
            bump(block.of(Count::Tunnel(end)), 1);
            bump(&block.tunnel_micros, u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX));
        }
    }

    fn observe(&self, worker: usize, total: Duration) {
        if let Some(block) = self.blocks.get(worker) {
            block.times.observe(total);
        }
    }

    fn count(&self, worker: usize, count: Count) {
        if let Some(block) = self.blocks.get(worker) {
            bump(block.of(count), 1);
        }
    }

    pub(super) fn total(&self, count: Count) -> u64 {
        sum(&self.blocks, |block| block.of(count))
    }

    pub(super) fn has_affinity(&self) -> bool {
        Affinity::ALL.iter().any(|result| self.total(Count::from(*result)) > 0)
    }

    pub(super) fn has_tunnels(&self) -> bool {
        TunnelEnd::ALL.iter().any(|end| self.total(Count::Tunnel(*end)) > 0)
    }

    pub(super) fn has_handshakes(&self) -> bool {
        [Count::FullHandshake, Count::ResumedHandshake].iter().any(|count| self.total(*count) > 0)
    }

    pub(super) fn has_load_reports(&self) -> bool {
        [Count::Report, Count::UnusableReport].iter().any(|count| self.total(*count) > 0)
    }

    pub(super) fn render_times(&self, text: &mut Text<'_>, name: &str) {
        let mut sum = Sum::default();
        self.blocks.iter().for_each(|block| sum.add(&block.times));
        sum.render(text, name, ("cluster", &self.name));
    }
}

/// Exchanges of one tenant. To be recorded by the worker of the number that is given only.
#[derive(Debug)]
pub struct TenantMetrics {
    name: Arc<str>,
    blocks: Box<[TenantBlock]>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct TenantBlock {
    statuses: Statuses,
    refused: AtomicU64,
}

impl TenantMetrics {
    pub(super) fn new(name: &str, workers: usize) -> TenantMetrics {
        TenantMetrics { name: name.into(), blocks: blocks(workers) }
    }

    /// Records one finished exchange by the status the client got, 499 when it left before.
    pub fn record(&self, worker: usize, status: u16) {
        if let Some(block) = self.blocks.get(worker) {
            bump(block.statuses.of(status), 1);
        }
    }

    /// The tenant was at a limit.
    pub fn refuse(&self, worker: usize) {
        if let Some(block) = self.blocks.get(worker) {
            bump(&block.refused, 1);
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn statuses(&self) -> [(&'static str, u64); 6] {
        Statuses::totals(&self.blocks, |block| &block.statuses)
    }

    pub(super) fn refused(&self) -> u64 {
        sum(&self.blocks, |block| &block.refused)
    }
}

/// How a TLS handshake with a client went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// A session began.
    Full,
    /// An earlier session goes on.
    Resumed,
    /// There is none.
    Failed(HandshakeFailure),
}

/// Why a TLS handshake with a client failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// It took too long, or the process ended.
    Timeout,
    /// The client left.
    Closed,
    /// What the client said is not TLS.
    Malformed,
    /// No version, suite or signature that both know.
    Incompatible,
    /// The client showed no certificate, and has to.
    NoCertificate,
    /// The client's certificate cannot be verified.
    BadCertificate,
    /// The client refuses us, such as for our certificate.
    Refused,
    /// Anything else.
    Other,
}

impl HandshakeFailure {
    /// Every reason, in the order of the metrics page.
    pub const ALL: [Self; 8] = [
        Self::Timeout,
        Self::Closed,
        Self::Malformed,
        Self::Incompatible,
        Self::NoCertificate,
        Self::BadCertificate,
        Self::Refused,
        Self::Other,
    ];

    /// Of a handshake that ended with this error.
    pub fn of(error: &std::io::Error) -> Self {
        use rustls::Error::{
            AlertReceived, InappropriateHandshakeMessage, InappropriateMessage, InvalidCertRevocationList,
            InvalidCertificate, InvalidMessage, NoCertificatesPresented, PeerIncompatible, PeerMisbehaved,
        };
        let Some(error) = error.get_ref() else { return Self::Closed };
        match error.downcast_ref::<rustls::Error>() {
            Some(NoCertificatesPresented) => Self::NoCertificate,
            Some(InvalidCertificate(_) | InvalidCertRevocationList(_)) => Self::BadCertificate,
            Some(AlertReceived(_)) => Self::Refused,
            Some(PeerIncompatible(_)) => Self::Incompatible,
            Some(
                InvalidMessage(_)
                | InappropriateMessage { .. }
                | InappropriateHandshakeMessage { .. }
                | PeerMisbehaved(_),
            ) => Self::Malformed,
            Some(_) => Self::Other,
            None => Self::Closed,
        }
    }

    /// As in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Malformed => "malformed",
            Self::Incompatible => "incompatible",
            Self::NoCertificate => "no-certificate",
            Self::BadCertificate => "bad-certificate",
            Self::Refused => "refused",
            Self::Other => "other",
        }
    }
}

/// Connections of one listener.
#[derive(Debug)]
pub struct ListenerMetrics {
    name: Arc<str>,
    blocks: Box<[ListenerBlock]>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct ListenerBlock {
    accepted: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
    denied: AtomicU64,
    dropped: AtomicU64,
    full_handshakes: AtomicU64,
    resumed_handshakes: AtomicU64,
    failed_handshakes: [AtomicU64; HandshakeFailure::ALL.len()],
    open: AtomicI64,
}

/// Why a connection was closed before it was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It did not begin with a PROXY header that is believed.
    ProxyHeader,
    /// Its network may not come in.
    Denied,
    /// It was one too many for a limit of connections.
    Limited,
    /// Memory was short.
    Memory,
    /// There was no file descriptor to spare.
    Descriptors,
}

impl Refused {
    /// All of them, in the order of their figures.
    pub const ALL: [Self; 5] = [Self::ProxyHeader, Self::Denied, Self::Limited, Self::Memory, Self::Descriptors];

    /// In metrics and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProxyHeader => "proxy-header",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
        }
    }
}

impl ListenerBlock {
    fn of(&self, handshake: Handshake) -> Option<&AtomicU64> {
        match handshake {
            Handshake::Full => Some(&self.full_handshakes),
            Handshake::Resumed => Some(&self.resumed_handshakes),
            Handshake::Failed(why) => self.failed_handshakes.get(why as usize),
        }
    }
}

impl ListenerMetrics {
    pub(super) fn new(name: &str, workers: usize) -> ListenerMetrics {
        ListenerMetrics { name: name.into(), blocks: blocks(workers) }
    }

    /// Counts a connection in; it is open until the guard goes. To be called by the worker of this
    /// number only.
    pub fn accept(self: &Arc<Self>, worker: usize) -> ConnectionGuard {
        if let Some(block) = self.blocks.get(worker) {
            bump(&block.accepted, 1);
            block.open.fetch_add(1, Relaxed);
        }
        ConnectionGuard { listener: Arc::clone(self), worker }
    }

    /// Connections open over all workers.
    pub fn open(&self) -> i64 {
        self.blocks.iter().map(|block| block.open.load(Relaxed)).sum()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts a connection that was closed before it was served. To be called by the worker of this
    /// number only.
    pub fn refuse(&self, worker: usize, why: Refused) {
        if let Some(figure) = self.blocks.get(worker).and_then(|block| block.refused.get(why as usize)) {
            bump(figure, 1);
        }
    }

    /// Counts a connection or a request from where nobody may come. To be called by the worker of this number
    /// only.
    pub fn deny(&self, worker: usize) {
        if let Some(block) = self.blocks.get(worker) {
            bump(&block.denied, 1);
        }
    }

    /// Counts a TLS handshake. To be called by the worker of this number only.
    pub fn handshake(&self, worker: usize, handshake: Handshake) {
        if let Some(figure) = self.blocks.get(worker).and_then(|block| block.of(handshake)) {
            bump(figure, 1);
        }
    }

    pub(super) fn handshakes(&self, handshake: Handshake) -> u64 {
        self.blocks.iter().filter_map(|block| block.of(handshake)).map(|figure| figure.load(Relaxed)).sum()
    }

    pub(super) fn has_handshakes(&self) -> bool {
        let failed = HandshakeFailure::ALL.map(Handshake::Failed);
        failed.into_iter().chain([Handshake::Full, Handshake::Resumed]).any(|handshake| self.handshakes(handshake) > 0)
    }

    /// Counts datagrams that are lost here. To be called by the worker of this number only.
    pub fn drop_datagrams(&self, worker: usize, number: u64) {
        if let Some(block) = self.blocks.get(worker) {
            bump(&block.dropped, number);
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        sum(&self.blocks, |block| &block.dropped)
    }

    pub(super) fn denied(&self) -> u64 {
        sum(&self.blocks, |block| &block.denied)
    }

    pub(super) fn accepted(&self) -> u64 {
        sum(&self.blocks, |block| &block.accepted)
    }

    pub(super) fn refused(&self, why: Refused) -> u64 {
        let figures = self.blocks.iter().filter_map(|block| block.refused.get(why as usize));
        figures.map(|figure| figure.load(Relaxed)).fold(0, u64::wrapping_add)
    }
}

/// A connection counted as open.
#[derive(Debug)]
pub struct ConnectionGuard {
    listener: Arc<ListenerMetrics>,
    worker: usize,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        if let Some(block) = self.listener.blocks.get(self.worker) {
            block.open.fetch_sub(1, Relaxed);
        }
    }
}
