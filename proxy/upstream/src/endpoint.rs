//! One address in a cluster, with its load and its standing.
//!
//! The load and the id outlive reloads: another configuration makes another `Endpoint` for the same
//! address that counts on in the same place. The standing is copied then, so the checks of the former
//! configuration cannot change the state that the present one works with.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use crate::{
    load_report::{LastReport, LoadReport},
    outlier::Record,
    peak::Peak,
    room::count_below,
    slots::Slots,
    standing::{Moment, Standing, State, Status},
};

/// No limit.
const UNLIMITED: u32 = u32::MAX;

/// What all workers write on every exchange: alone on its cache lines (two, since processors fetch
/// them in pairs), so that busy endpoints do not slow the reading of their neighbours.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Load {
    in_flight: AtomicU32,
    latency: AtomicU32,
    /// Answers that the latency is made of, counted as far as it matters.
    samples: AtomicU32,
    peak: Peak,
    report: LastReport,
}

/// What it may take, under one configuration.
#[derive(Debug)]
struct Limits {
    requests: AtomicU32,
    connections: AtomicU32,
    /// Percent of what it may take once it is warm.
    warmth: AtomicU32,
}

impl Default for Limits {
    fn default() -> Self {
        let (requests, connections) = (AtomicU32::new(UNLIMITED), AtomicU32::new(UNLIMITED));
        Self { requests, connections, warmth: AtomicU32::new(100) }
    }
}

/// The last active check of an endpoint, or question to its agent, whether or not it settled anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastCheck {
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// It did not speak against the endpoint; the agent answered.
    pub well: bool,
    /// Its reason or its words, for people.
    pub why: String,
}

/// One address in a cluster.
#[derive(Debug)]
pub struct Endpoint {
    id: u64,
    name: Box<str>,
    config: weir_config::Endpoint,
    load: Arc<Load>,
    standing: Arc<ArcSwap<Standing>>,
    last_check: Arc<ArcSwapOption<LastCheck>>,
    slots: Arc<Slots>,
    limits: Limits,
    last_answer: Arc<ArcSwapOption<LastCheck>>,
    record: Arc<Record>,
}

impl Endpoint {
    /// An endpoint seen for the first time: idle, and nobody has said anything about it.
    pub(crate) fn new(config: &weir_config::Endpoint, slow_start: Duration, newcomer: bool, now: Moment) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let standing = Standing::new(config.weight, slow_start, newcomer, now);
        Self {
            id: IDS.fetch_add(1, Relaxed),
            name: config.address.to_string().into(),
            config: config.clone(),
            load: Arc::default(),
            standing: Arc::new(ArcSwap::from_pointee(standing)),
            last_check: Arc::default(),
            slots: Arc::default(),
            limits: Limits::default(),
            last_answer: Arc::default(),
            record: Arc::default(),
        }
    }

    /// The same endpoint, described otherwise: everything goes on.
    pub(crate) fn described(&self, config: &weir_config::Endpoint) -> Self {
        Self {
            id: self.id,
            name: self.name.clone(),
            config: config.clone(),
            load: Arc::clone(&self.load),
            standing: Arc::clone(&self.standing),
            slots: Arc::clone(&self.slots),
            limits: Limits::default(),
            last_check: Arc::clone(&self.last_check),
            last_answer: Arc::clone(&self.last_answer),
            record: Arc::clone(&self.record),
        }
    }

    /// The same endpoint with a standing of its own: the id and the load go on together, what is said
    /// of the one from now on is not said of the other.
    pub(crate) fn parted(&self) -> Self {
        let standing = Arc::new(ArcSwap::new(self.standing.load_full()));
        Self { standing, ..self.described(&self.config) }
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
        self.config.address
    }

    /// What is written about it.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.config.labels
    }

    /// How it is listed.
    pub fn config(&self) -> &weir_config::Endpoint {
        &self.config
    }

    /// Its weight before percents.
    pub fn weight(&self) -> u32 {
        self.standing().weight()
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

    /// Most requests under way at once; none is unlimited.
    pub fn most_requests(&self) -> Option<u32> {
        Some(self.limits.requests.load(Relaxed)).filter(|most| *most != UNLIMITED)
    }

    /// Most connections open at once; none is unlimited.
    pub fn most_connections(&self) -> Option<u32> {
        Some(self.limits.connections.load(Relaxed)).filter(|most| *most != UNLIMITED)
    }

    /// Limit what is under way from now on to a share of what is given, by how warm it is; says whether there may be
    /// more or less requests than before.
    pub(crate) fn limit(&self, requests: Option<u32>, connections: Option<u32>, warmth: u32) -> bool {
        self.limits.warmth.store(warmth, Relaxed);
        let [requests, connections] =
            [requests, connections].map(|most| most.map_or(UNLIMITED, |most| self.warm(most)));
        self.limits.connections.store(connections, Relaxed);
        self.limits.requests.swap(requests, Relaxed) != requests
    }

    /// What it may take of this while it warms up; at least 1.
    pub(crate) fn warm(&self, most: u32) -> u32 {
        match self.limits.warmth.load(Relaxed) {
            100.. => most,
            percent => u32::try_from((u64::from(most) * u64::from(percent)).div_ceil(100)).unwrap_or(most),
        }
    }

    /// Whether another request may be begun.
    pub fn has_room(&self) -> bool {
        self.load.in_flight.load(SeqCst) < self.limits.requests.load(Relaxed)
    }

    /// Connections that are open, as far as they are for HTTP or pass as they are.
    pub fn connections(&self) -> u32 {
        self.slots.open()
    }

    pub(crate) fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    /// Count a request until [`Self::end`], unless there are as many as there may be.
    pub(crate) fn try_begin(&self) -> bool {
        match self.most_requests() {
            Some(most) => count_below(&self.load.in_flight, most),
            None => {
                self.load.in_flight.fetch_add(1, SeqCst);
                true
            }
        }
    }

    pub(crate) fn end(&self) {
        self.load.in_flight.fetch_sub(1, SeqCst);
    }

    /// Answers after which a latency says more than chance does.
    const SETTLED: u32 = 50;

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
        let samples = self.load.samples.load(Relaxed);
        if samples < Self::SETTLED {
            self.load.samples.store(samples + 1, Relaxed);
        }
    }

    /// Whether the smoothed latency is made of enough answers to be compared with others.
    pub fn latency_is_settled(&self) -> bool {
        self.load.samples.load(Relaxed) >= Self::SETTLED
    }

    /// What it says of its load; the last word counts.
    pub(crate) fn hear(&self, report: LoadReport) {
        self.load.report.put(report);
    }

    /// What it last said, and how often it has said something.
    pub(crate) fn report(&self) -> (LoadReport, u32) {
        self.load.report.look()
    }

    /// Take a response's time into the latency that balancing by time goes by.
    pub(crate) fn observe_peak(&self, latency: Duration, now: Instant, decay: Duration) {
        self.load.peak.observe(latency, now, decay);
    }

    /// The same for an attempt that ended without a response: it can only make the latency longer.
    pub(crate) fn raise_peak(&self, latency: Duration, now: Instant, decay: Duration) {
        self.load.peak.raise(latency, now, decay);
    }

    /// The latency that balancing by time goes by, in microseconds; none before the first sample.
    #[inline]
    pub(crate) fn peak(&self, now: Instant, decay: Duration) -> Option<f64> {
        self.load.peak.read(now, decay)
    }

    /// What it is good for now.
    #[inline]
    pub fn state(&self) -> State {
        self.standing().status().state
    }

    /// Whether a session that is here already may stay.
    #[inline]
    pub fn keeps_sessions(&self) -> bool {
        self.standing().status().keeps_sessions
    }

    /// Whether it is no longer listed.
    pub fn is_leaving(&self) -> bool {
        self.standing().leaving().is_some()
    }

    /// Whether it is no longer listed, and has had its drain: its cluster forgets it, and it keeps nothing.
    pub fn is_gone(&self, now: Instant) -> bool {
        self.standing().leaving().is_some_and(|until| until <= now)
    }

    /// What is said of it, and by whom.
    #[inline]
    pub fn standing(&self) -> Guard<Arc<Standing>> {
        self.standing.load()
    }

    /// What it all comes to, with the reason.
    pub fn status(&self) -> Status {
        self.standing().status().clone()
    }

    /// Its last active check.
    pub fn last_check(&self) -> Option<Arc<LastCheck>> {
        self.last_check.load_full()
    }

    /// The last question to its agent.
    pub fn last_answer(&self) -> Option<Arc<LastCheck>> {
        self.last_answer.load_full()
    }

    pub(crate) fn asked(&self, answer: LastCheck) {
        self.last_answer.store(Some(Arc::new(answer)));
    }

    /// What requests met on it.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    pub(crate) fn checked(&self, check: LastCheck) {
        self.last_check.store(Some(Arc::new(check)));
    }

    /// Have something said of it. Returns the status before and after.
    pub(crate) fn change(&self, now: Moment, change: impl Fn(&mut Standing)) -> (Status, Status) {
        let mut after = None;
        let before = self.standing.rcu(|standing| {
            let next = Arc::new(standing.after(now, &change));
            after = Some(next.status().clone());
            next
        });
        let before = before.status().clone();
        (before.clone(), after.unwrap_or(before))
    }

    /// Ends when nothing knows the endpoint any more.
    pub(crate) fn life(&self) -> Weak<Load> {
        Arc::downgrade(&self.load)
    }
}

fn smooth(before: u32, sample: u32) -> u32 {
    let mixed = (u64::from(before) * 7 + u64::from(sample)) / 8;
    u32::try_from(mixed).unwrap_or(u32::MAX).max(1)
}
