//! The access log: one line an exchange.
//!
//! A worker formats a line straight into its own buffer and hands full buffers to one writer thread.
//! A slow disk never holds a worker up: when too many buffers wait, lines are dropped and counted.
//! Lines of one worker keep their order; lines of different workers are merged by the buffer.

mod clock;
mod escape;
mod json;
mod logfmt;
mod redact;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    io, mem,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use weir_config::LogFormat;
use weir_plugin::ClientCertificate;

pub(crate) use self::writer::write_lines;
use self::{
    clock::Clock,
    redact::Redaction,
    writer::{Message, Sink},
};
pub use self::{clock::rfc3339, writer::Writer};

/// A buffer is handed over when it holds this many bytes.
const BATCH: usize = 128 * 1024;
/// A buffer that one long line made larger than this is not kept.
const LARGEST_KEPT: usize = 2 * BATCH;
/// Buffers that may wait for the disk, over all workers.
const WAITING: usize = 256;
/// Buffers a worker gets back and keeps.
const SPARE: usize = 2;
/// Age at which lines are handed over although the buffer is not full: a little below the worker's
/// tick, so that no tick is missed by a hair.
const FLUSH_AFTER: Duration = Duration::from_millis(90);

/// All that is known of one finished exchange.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// When its first byte came.
    pub time: SystemTime,
    /// The client's address.
    pub client: SocketAddr,
    /// Name of the listener.
    pub listener: &'a str,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: &'a str,
    /// Host the client asked for.
    pub host: &'a str,
    /// Method as sent.
    pub method: &'a str,
    /// Path with query, as sent. Values of parameters that hold secrets are not written.
    pub path: &'a str,
    /// Status the client got; 499 for a client that left before.
    pub status: u16,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
    /// Name of the route; empty when none matched.
    pub route: &'a str,
    /// Customer of the operator.
    pub tenant: Option<&'a str>,
    /// By what the client proved who it is.
    pub certificate: Option<&'a ClientCertificate>,
    /// Name of the cluster.
    pub cluster: Option<&'a str>,
    /// Address of the last endpoint that was tried.
    pub endpoint: Option<&'a str>,
    /// How often an endpoint was tried.
    pub attempts: u32,
    /// Why each further attempt was made, in order.
    pub retries: &'a [Retried],
    /// `won` when an attempt beside another answered first, `lost` when it did not.
    pub hedge: Option<&'a str>,
    /// The last attempt went over a connection that was open already.
    pub reused: bool,
    /// From the first byte of the request to the last of the response.
    pub total: Duration,
    /// Where that time went.
    pub split: Split,
    /// Plugins that decided, in order.
    pub plugins: &'a [PluginUse<'a>],
    /// What affinity found; none when the cluster has none.
    pub affinity: Option<Affinity>,
    /// How the response was compressed here.
    pub encoding: Option<&'a str>,
    /// Why the exchange failed.
    pub error: Option<&'a str>,
}

/// Parts of an exchange's time; what did not happen is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Split {
    /// Reading the request's head.
    pub read: Duration,
    /// Decisions of plugins.
    pub plugin: Duration,
    /// Waiting for an endpoint with room.
    pub queue: Duration,
    /// TCP connect to the endpoint.
    pub connect: Duration,
    /// TLS handshake with the endpoint.
    pub tls: Duration,
    /// From the request sent to the response's first byte.
    pub first_byte: Duration,
    /// From there to the end.
    pub rest: Duration,
}

/// One decision of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginUse<'a> {
    /// Name of the plugin.
    pub name: &'a str,
    /// First twelve hex digits of the component's sha256.
    pub version: &'a str,
    /// `router`, `balancer` or `affinity`.
    pub role: &'a str,
    /// Kind of failure when it did not decide.
    pub failed: Option<&'a str>,
}

/// What made a further attempt necessary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// No connection, or the endpoint refused the request unseen.
    Connect,
    /// A kept connection had been closed.
    Stale,
    /// The connection ended before the response.
    Reset,
    /// It took too long.
    Timeout,
    /// A response of this status.
    Status(u16),
    /// A call of gRPC that failed with this status.
    Grpc(u8),
}

impl Retried {
    /// Every reason, in the order of the metrics page; the status does not matter.
    pub const ALL: [Retried; 6] =
        [Retried::Connect, Retried::Stale, Retried::Reset, Retried::Timeout, Retried::Status(0), Retried::Grpc(0)];

    /// As in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Retried::Connect => "connect",
            Retried::Stale => "stale",
            Retried::Reset => "reset",
            Retried::Timeout => "timeout",
            Retried::Status(_) => "status",
            Retried::Grpc(_) => "grpc-status",
        }
    }
}

/// What affinity found for an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    /// The session's endpoint took the request.
    Hit,
    /// The request belonged to no known session.
    Miss,
    /// The session's endpoint could not be used: another one took over.
    Moved,
    /// The session's endpoint could not be used, and no other may take over.
    Lost,
}

impl Affinity {
    /// Every result, in the order of the metrics page.
    pub const ALL: [Affinity; 4] = [Affinity::Hit, Affinity::Miss, Affinity::Moved, Affinity::Lost];

    /// What it comes to where the request goes to another endpoint after all.
    pub fn moved(self) -> Affinity {
        if self == Affinity::Hit { Affinity::Moved } else { self }
    }

    /// As in log and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Affinity::Hit => "hit",
            Affinity::Miss => "miss",
            Affinity::Moved => "moved",
            Affinity::Lost => "lost",
        }
    }
}

/// The access log of the process; cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    format: AtomicU8,
    redaction: ArcSwap<Redaction>,
    waiting: AtomicUsize,
    dropped: AtomicU64,
    to_writer: Sender<Message>,
}

impl AccessLog {
    /// Opens where lines go and starts the writer's thread.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or no thread can be started.
    pub fn open(config: &weir_config::AccessLog) -> io::Result<(AccessLog, Writer)> {
        let sink = Sink::open(config)?;
        let (log, messages) = AccessLog::detached(config.format);
        log.redact(config);
        let writer = Writer::start(&log, messages, sink)?;
        Ok((log, writer))
    }

    fn detached(format: LogFormat) -> (AccessLog, Receiver<Message>) {
        let (to_writer, messages) = channel();
        let shared = Shared {
            format: AtomicU8::new(format_number(format)),
            redaction: ArcSwap::default(),
            waiting: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            to_writer,
        };
        let shared = Arc::new(shared);
        (AccessLog { shared }, messages)
    }

    /// Takes up another format and place. Lines already buffered go to the place current when they
    /// are handed over.
    ///
    /// # Errors
    /// The file cannot be opened: everything stays as it was.
    pub fn change(&self, config: &weir_config::AccessLog) -> io::Result<()> {
        let sink = Sink::open(config)?;
        self.redact(config);
        self.shared.format.store(format_number(config.format), Relaxed);
        self.shared.to_writer.send(Message::Replace(sink)).map_err(io::Error::other)
    }

    fn redact(&self, config: &weir_config::AccessLog) {
        self.shared.redaction.store(Arc::new(Redaction::of(config.redact.as_deref())));
    }

    /// The buffer of one worker.
    pub fn worker(&self) -> WorkerLog {
        let (home, returned) = sync_channel(SPARE);
        WorkerLog { shared: Arc::clone(&self.shared), home, returned, pending: RefCell::default() }
    }

    /// Lines lost because the disk was slow, full or gone.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }
}

/// The access log of one worker. Dropping it hands over what is left.
#[derive(Debug)]
pub struct WorkerLog {
    shared: Arc<Shared>,
    home: SyncSender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
    pending: RefCell<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    lines: u64,
    clock: Clock,
    flushed: Option<Instant>,
}

impl WorkerLog {
    /// False when lines are not wanted, so that nobody need gather a [`Record`].
    pub fn enabled(&self) -> bool {
        self.shared.format.load(Relaxed) != format_number(LogFormat::Off)
    }

    /// Adds one line. Never waits.
    pub fn write(&self, record: &Record<'_>) {
        match record.path.contains('?') {
            true => self.add(&Record { path: &self.shared.redaction.load().target(record.path), ..*record }),
            false => self.add(record),
        }
    }

    fn add(&self, record: &Record<'_>) {
        let pending = &mut *self.pending.borrow_mut();
        match self.shared.format.load(Relaxed) {
            JSON => json::write(&mut pending.bytes, &mut pending.clock, record),
            LOGFMT => logfmt::write(&mut pending.bytes, &mut pending.clock, record),
            _ => return,
        }
        pending.lines += 1;
        if pending.bytes.len() >= BATCH {
            self.hand_over(pending, WAITING);
        }
    }

    /// Hands over lines that waited long enough. Call it from a tick of 100 ms.
    pub fn flush_if_due(&self, now: Instant) {
        let pending = &mut *self.pending.borrow_mut();
        let due = pending.flushed.is_none_or(|flushed| now.saturating_duration_since(flushed) >= FLUSH_AFTER);
        if due {
            pending.flushed = Some(now);
            self.hand_over(pending, WAITING);
        }
    }

    /// Hands over every line now.
    pub fn flush(&self) {
        self.hand_over(&mut self.pending.borrow_mut(), WAITING);
    }

    fn hand_over(&self, pending: &mut Pending, most_waiting: usize) {
        if pending.bytes.is_empty() {
            return;
        }
        let lines = mem::take(&mut pending.lines);
        if self.shared.waiting.load(Relaxed) >= most_waiting {
            pending.bytes.clear();
            pending.bytes.shrink_to(LARGEST_KEPT);
            self.shared.dropped.fetch_add(lines, Relaxed);
            return;
        }
        let spare = self.returned.try_recv().unwrap_or_else(|_| Vec::with_capacity(BATCH + BATCH / 8));
        let bytes = mem::replace(&mut pending.bytes, spare);
        self.shared.waiting.fetch_add(1, Relaxed);
        let message = Message::Lines { bytes, lines, home: self.home.clone() };
        if self.shared.to_writer.send(message).is_err() {
            self.shared.dropped.fetch_add(lines, Relaxed);
        }
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.hand_over(&mut self.pending.borrow_mut(), usize::MAX);
    }
}

const OFF: u8 = 0;
const JSON: u8 = 1;
const LOGFMT: u8 = 2;

fn format_number(format: LogFormat) -> u8 {
    match format {
        LogFormat::Off => OFF,
        LogFormat::Json => JSON,
        LogFormat::Logfmt => LOGFMT,
    }
}
