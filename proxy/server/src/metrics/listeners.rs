//! Connections of listeners, and their TLS handshakes.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

use super::{
    series::{blocks, bump, sum},
    text::Text,
};

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
    /// No version, suite, signature or application protocol that both know.
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
            InvalidCertificate, InvalidMessage, NoApplicationProtocol, NoCertificatesPresented, PeerIncompatible,
            PeerMisbehaved,
        };
        let Some(error) = error.get_ref() else { return Self::Closed };
        match error.downcast_ref::<rustls::Error>() {
            Some(NoCertificatesPresented) => Self::NoCertificate,
            Some(InvalidCertificate(_) | InvalidCertRevocationList(_)) => Self::BadCertificate,
            Some(AlertReceived(_)) => Self::Refused,
            Some(PeerIncompatible(_) | NoApplicationProtocol) => Self::Incompatible,
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
    limit: AtomicU64,
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
        ListenerMetrics { name: name.into(), blocks: blocks(workers), limit: AtomicU64::default() }
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

    /// So many connections may be open.
    pub fn bound(&self, most: usize) {
        self.limit.store(most as u64, Relaxed);
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

    fn handshakes(&self, handshake: Handshake) -> u64 {
        self.blocks.iter().filter_map(|block| block.of(handshake)).map(|figure| figure.load(Relaxed)).sum()
    }

    fn has_handshakes(&self) -> bool {
        let failed = HandshakeFailure::ALL.map(Handshake::Failed);
        failed.into_iter().chain([Handshake::Full, Handshake::Resumed]).any(|handshake| self.handshakes(handshake) > 0)
    }

    /// Counts datagrams that are lost here. To be called by the worker of this number only.
    pub fn drop_datagrams(&self, worker: usize, number: u64) {
        if let Some(block) = self.blocks.get(worker) {
            bump(&block.dropped, number);
        }
    }

    fn dropped(&self) -> u64 {
        sum(&self.blocks, |block| &block.dropped)
    }

    fn denied(&self) -> u64 {
        sum(&self.blocks, |block| &block.denied)
    }

    fn accepted(&self) -> u64 {
        sum(&self.blocks, |block| &block.accepted)
    }

    fn refused(&self, why: Refused) -> u64 {
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

pub(super) fn render(text: &mut Text<'_>, listeners: &[Arc<ListenerMetrics>]) {
    text.family("weir_connections", "gauge", "Open connections of clients.");
    for listener in listeners {
        text.sample("weir_connections", &[("listener", listener.name())], listener.open());
    }
    text.family("weir_connections_limit", "gauge", "Most open connections of clients that a listener may have.");
    for listener in listeners {
        text.sample("weir_connections_limit", &[("listener", listener.name())], listener.limit.load(Relaxed));
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

pub(super) fn render_handshakes(text: &mut Text<'_>, listeners: &[Arc<ListenerMetrics>]) {
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
