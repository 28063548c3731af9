//! Outlier detection: endpoints are taken out for what requests meet on them.
//!
//! Failures in a row are counted where they happen, in atomics on the endpoint ([`Record`]), so that the
//! next pick already knows; whether they tell of the endpoint follows from what the others did meanwhile ([`Peers`],
//! [`evidence`]). How endpoints compare with each other is judged now and then by the control
//! side ([`comparison`]). Who may be ejected, and for how long, is one small state machine for both
//! ([`Ejections`]).

mod asked;
pub(crate) mod comparison;
pub(crate) mod ejections;
mod evidence;
mod peers;
mod record;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use weir_config::OutlierDetection;

pub use self::asked::Asked;
pub(crate) use self::record::Record;
use self::{
    ejections::Ejections,
    peers::{Peers, Windows},
    record::{Failure, Told, Totals},
};

/// What a request met on an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// A response with this status.
    Status(u16),
    /// A connection, of which nothing else is known.
    Connection,
    /// The first bytes over a connection that passes as it is.
    FirstBytes,
    /// No connection.
    NoConnection,
    /// No response, or none in time.
    NoResponse,
    /// A connection that passes as it is was reset before any byte came over it.
    Reset,
    /// A response that was broken off after its head.
    Cut,
}

impl Met {
    fn is_failure(self) -> bool {
        !matches!(self, Self::Status(..500) | Self::Connection | Self::FirstBytes)
    }
}

/// Why an endpoint is to be ejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) reason: Reason,
    /// The same in words.
    pub(crate) why: String,
    /// The endpoint was reached, and has answered badly or late.
    pub(crate) reached: bool,
    /// Requests in a row that failed, as far as they are counted among those of all endpoints.
    failures: u32,
}

/// Why an endpoint was ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Connections that could not be opened, in a row.
    ConnectFailures,
    /// Gateway errors in a row.
    GatewayErrors,
    /// Statuses from 500 in a row.
    ServerErrors,
    /// A share of successful requests far below that of others.
    SuccessRate,
    /// Far slower than others.
    Latency,
}

impl Reason {
    /// All of them, in the order of their figures.
    pub const ALL: [Self; 5] =
        [Self::ConnectFailures, Self::GatewayErrors, Self::ServerErrors, Self::SuccessRate, Self::Latency];

    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectFailures => "connect-failures",
            Self::GatewayErrors => "gateway-errors",
            Self::ServerErrors => "5xx",
            Self::SuccessRate => "success-rate",
            Self::Latency => "latency",
        }
    }
}

/// How often endpoints of a cluster were ejected. Lives over reloads.
#[derive(Debug, Default)]
pub struct EjectionFigures {
    ejected: [AtomicU64; 5],
    refused: AtomicU64,
}

impl EjectionFigures {
    /// Ejections for this reason.
    pub fn ejected(&self, reason: Reason) -> u64 {
        self.ejected.get(reason as usize).map_or(0, |count| count.load(Relaxed))
    }

    /// Ejections that did not happen because too many were out already.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

/// What goes on over reloads.
#[derive(Debug, Default)]
struct Kept {
    state: Mutex<State>,
    figures: EjectionFigures,
    peers: Peers,
}

#[derive(Debug, Default)]
struct State {
    ejections: Ejections,
    compared: Option<Instant>,
    before: HashMap<u64, Totals>,
    windows: Windows,
}

/// The detection of one cluster.
#[derive(Debug)]
pub(crate) struct Outliers {
    config: Option<OutlierDetection>,
    kept: Arc<Kept>,
}

impl Outliers {
    pub(crate) fn new(config: Option<OutlierDetection>, previous: Option<&Self>) -> Self {
        Self { config, kept: previous.map(|previous| Arc::clone(&previous.kept)).unwrap_or_default() }
    }

    pub(crate) fn figures(&self) -> &EjectionFigures {
        &self.kept.figures
    }

    /// Whether requests have to be counted for a comparison.
    pub(crate) fn compares(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.success_rate.is_some() || config.latency.is_some())
    }

    /// Count what a request met on the endpoint of this id; a finding when that is once too often. What was asked is
    /// only looked at where it failed.
    #[inline]
    pub(crate) fn count(&self, id: u64, record: &Record, met: Met, asked: impl FnOnce() -> Asked) -> Option<Finding> {
        let config = self.config.as_ref()?;
        if !met.is_failure() {
            record.well(met);
            return None;
        }
        self.fail(id, record, met, asked, config)
    }

    #[cold]
    fn fail(
        &self,
        endpoint: u64,
        record: &Record,
        met: Met,
        asked: impl FnOnce() -> Asked,
        config: &OutlierDetection,
    ) -> Option<Finding> {
        let told = match met {
            Met::NoConnection => record.unconnected(config),
            _ => {
                let peers = &self.kept.peers;
                peers.failed();
                record.failed(met, &Failure { endpoint, asked: asked(), peers }, config)
            }
        };
        let Told { reason, row, reached } = told?;
        let what = match (reason, met) {
            (Reason::ConnectFailures, _) => "connections failed",
            (_, Met::Cut) => "responses broken off",
            (Reason::GatewayErrors, _) => "gateway errors",
            _ => "server errors",
        };
        let failures = if reason == Reason::ConnectFailures { 0 } else { row };
        Some(Finding { reason, why: format!("{row} {what} in a row"), reached, failures })
    }

    /// Take note that an answer was complete, and well.
    #[inline]
    pub(crate) fn completed(&self, id: u64, record: &Record, asked: impl FnOnce() -> Asked) {
        if self.config.is_some() {
            record.completed();
            if self.kept.peers.is_looking() {
                self.kept.peers.well(id, &asked());
            }
        }
    }

    /// Until when an endpoint is out, if it is to be. Which could serve, if it may go beside those that are out, is
    /// asked while nothing else is ejected.
    pub(crate) fn eject(
        &self,
        id: u64,
        finding: &Finding,
        able: impl FnOnce(&dyn Fn(u64) -> bool) -> Option<Vec<u64>>,
        now: Instant,
    ) -> Option<Instant> {
        let config = self.config.as_ref()?;
        let mut state = self.state();
        if state.ejections.is_out(id, now) {
            return None;
        }
        let able = able(&|other| state.ejections.is_out(other, now));
        let until = able.and_then(|able| state.ejections.eject(id, &able, config, now));
        let count = match until {
            Some(_) => self.kept.figures.ejected.get(finding.reason as usize),
            None => Some(&self.kept.figures.refused),
        };
        if until.is_some() {
            self.kept.peers.set_apart(finding.failures);
        }
        if let Some(count) = count {
            count.fetch_add(1, Relaxed);
        }
        until
    }

    /// Let time pass for what is known of all endpoints. To be called a few times a second.
    pub(crate) fn tick(&self, now: Instant) {
        if self.kept.peers.is_looking() {
            self.kept.peers.tick(&mut self.state().windows, now);
        }
    }

    /// Whether a check that succeeds ends an ejection.
    fn forgives(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.check_ends_ejection)
    }

    /// Whether an endpoint is out, and may come back for a check that began then and succeeded.
    pub(crate) fn forgive(&self, id: u64, began: Instant, now: Instant) -> bool {
        self.forgives() && self.state().ejections.forgive(id, began, now)
    }

    /// Compare endpoints when that is due: those that stand out, with the reason.
    pub(crate) fn compare(&self, records: &[(u64, &Record)], now: Instant) -> Vec<(u64, Finding)> {
        let Some(config) = self.config.as_ref().filter(|_| self.compares()) else { return Vec::new() };
        let mut state = self.state();
        if state.compared.is_some_and(|compared| now.saturating_duration_since(compared) < config.interval) {
            return Vec::new();
        }
        let first = state.compared.replace(now).is_none();
        let totals: HashMap<u64, Totals> = records.iter().map(|(id, record)| (*id, record.totals())).collect();
        let before = std::mem::replace(&mut state.before, totals);
        if first {
            return Vec::new();
        }
        let since = |(id, totals): (&u64, &Totals)| before.get(id).map(|before| (*id, totals.since(*before)));
        let found = comparison::outliers(&state.before.iter().filter_map(since).collect::<Vec<_>>(), config);
        let told = |(id, reason, why)| (id, Finding { reason, why, reached: true, failures: 0 });
        found.into_iter().map(told).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.kept.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
