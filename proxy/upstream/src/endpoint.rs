//! One address in a cluster, with its load and its health.
//!
//! The load and the id outlive reloads: another configuration makes another `Endpoint` for the same
//! address that counts on in the same place. Health is copied, so the checks of the former
//! configuration cannot change the state that the present one works with.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;

/// What an endpoint is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Picked as usual.
    Healthy,
    /// Picked only when no healthy endpoint is left.
    Degraded,
    /// Not picked.
    Unhealthy,
    /// Keeps its sessions and gets no new ones.
    Draining,
}

impl State {
    fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Healthy,
            1 => Self::Degraded,
            2 => Self::Unhealthy,
            _ => Self::Draining,
        }
    }

    /// Whether a session that is already here may stay: everything but unhealthy.
    pub fn keeps_sessions(self) -> bool {
        self != Self::Unhealthy
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
        })
    }
}

/// Health of an endpoint with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it is good for.
    pub state: State,
    /// When it came into this state.
    pub since: SystemTime,
    /// The reason, for people.
    pub why: String,
    /// Percent of the configured weight that counts.
    pub weight_percent: u32,
}

impl Status {
    fn initial() -> Self {
        Self {
            state: State::Healthy,
            since: SystemTime::now(),
            why: "taken for healthy until a check says otherwise".to_owned(),
            weight_percent: 100,
        }
    }
}

/// What all workers write on every exchange: alone on its cache lines (two, since processors fetch
/// them in pairs), so that busy endpoints do not slow the reading of their neighbours.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Load {
    in_flight: AtomicU32,
    latency: AtomicU32,
}

/// One address in a cluster.
#[derive(Debug)]
pub struct Endpoint {
    id: u64,
    name: Box<str>,
    address: SocketAddr,
    labels: BTreeMap<String, String>,
    weight: u32,
    load: Arc<Load>,
    state: AtomicU8,
    status: ArcSwap<Status>,
}

impl Endpoint {
    /// An endpoint seen for the first time: idle and healthy.
    pub(crate) fn new(config: &weir_config::Endpoint) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(1);
        Self::with(config, IDS.fetch_add(1, Relaxed), Arc::default(), Arc::new(Status::initial()))
    }

    /// The same endpoint under another configuration: id and load go on; so does health, where it
    /// is checked at all.
    pub(crate) fn succeed(&self, config: &weir_config::Endpoint, checked: bool) -> Self {
        let status = if checked { self.status() } else { Arc::new(Status::initial()) };
        Self::with(config, self.id, Arc::clone(&self.load), status)
    }

    fn with(config: &weir_config::Endpoint, id: u64, load: Arc<Load>, status: Arc<Status>) -> Self {
        Self {
            id,
            name: config.address.to_string().into(),
            address: config.address,
            labels: config.labels.clone(),
            weight: config.weight,
            load,
            state: AtomicU8::new(status.state as u8),
            status: ArcSwap::new(status),
        }
    }

    /// Unique in the process; the same across reloads.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The address as text.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the operator wrote about it.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// Weight as configured.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Exchanges under way, over all workers.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.load.in_flight.load(Relaxed)
    }

    /// Smoothed time to the response's head in microseconds; 0 before the first response.
    #[inline]
    pub fn latency(&self) -> u32 {
        self.load.latency.load(Relaxed)
    }

    /// Count an exchange until the guard is dropped.
    pub fn begin(&self) -> InFlight<'_> {
        self.load.in_flight.fetch_add(1, Relaxed);
        InFlight(&self.load)
    }

    /// Like [`Endpoint::begin`], with a guard that can be kept anywhere.
    pub fn begin_owned(self: &Arc<Self>) -> OwnedInFlight {
        self.load.in_flight.fetch_add(1, Relaxed);
        OwnedInFlight(Arc::clone(&self.load))
    }

    /// Take a response's time into the smoothed latency, with a weight of one eighth.
    ///
    /// Two workers at the same moment may lose one of two samples, which a smoothed figure bears.
    pub fn observe(&self, latency: Duration) {
        let sample = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX).max(1);
        let smoothed = match self.latency() {
            0 => sample,
            before => smooth(before, sample),
        };
        self.load.latency.store(smoothed, Relaxed);
    }

    /// What it is good for now.
    #[inline]
    pub fn state(&self) -> State {
        State::from_code(self.state.load(Relaxed))
    }

    /// Its health with the reason.
    pub fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    /// Take another status; says what it was before.
    pub(crate) fn set_status(&self, status: Status) -> Arc<Status> {
        self.state.store(status.state as u8, Relaxed);
        self.status.swap(Arc::new(status))
    }
}

fn smooth(before: u32, sample: u32) -> u32 {
    let mixed = (u64::from(before) * 7 + u64::from(sample)) / 8;
    u32::try_from(mixed).unwrap_or(u32::MAX).max(1)
}

/// An exchange under way at a borrowed endpoint.
#[derive(Debug)]
#[must_use = "the exchange counts only while this lives"]
pub struct InFlight<'a>(&'a Load);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// An exchange under way at an endpoint.
#[derive(Debug)]
#[must_use = "the exchange counts only while this lives"]
pub struct OwnedInFlight(Arc<Load>);

impl Drop for OwnedInFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
