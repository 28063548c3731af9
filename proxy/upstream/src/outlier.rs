//! Outlier detection: endpoints are taken out for what requests meet on them.
//!
//! Failures in a row are counted where they happen, in atomics on the endpoint ([`Record`]), so that the
//! next pick already knows. How endpoints compare with each other is judged now and then by the control
//! side ([`comparison`]). Who may be ejected, and for how long, is one small state machine for both
//! ([`Ejections`]).

pub(crate) mod comparison;
pub(crate) mod ejections;
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

pub(crate) use self::record::Record;
use self::{ejections::Ejections, record::Totals};

/// What a request met on an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// A response with this status.
    Status(u16),
    /// A connection, of which nothing else is known.
    Connection,
    /// No connection.
    NoConnection,
    /// No response, or none in time.
    NoResponse,
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
}

#[derive(Debug, Default)]
struct State {
    ejections: Ejections,
    compared: Option<Instant>,
    before: HashMap<u64, Totals>,
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

    /// Count what a request met; a reason when that is once too often.
    #[inline]
    pub(crate) fn count(&self, record: &Record, met: Met) -> Option<(Reason, String)> {
        let config = self.config.as_ref()?;
        let (reason, row) = record.count(met, config)?;
        let what = match reason {
            Reason::ConnectFailures => "connections failed",
            Reason::GatewayErrors => "gateway errors",
            _ => "server errors",
        };
        Some((reason, format!("{row} {what} in a row")))
    }

    /// Until when an endpoint is out, if it is to be; `members` is how many there are.
    pub(crate) fn eject(&self, id: u64, reason: Reason, members: usize, now: Instant) -> Option<Instant> {
        let config = self.config.as_ref()?;
        let mut state = self.state();
        if state.ejections.is_out(id, now) {
            return None;
        }
        let until = state.ejections.eject(id, members, config, now);
        let count = match until {
            Some(_) => self.kept.figures.ejected.get(reason as usize),
            None => Some(&self.kept.figures.refused),
        };
        if let Some(count) = count {
            count.fetch_add(1, Relaxed);
        }
        until
    }

    /// Whether an endpoint is out, and may come back for a check that began then and succeeded.
    pub(crate) fn forgive(&self, id: u64, began: Instant, now: Instant) -> bool {
        self.state().ejections.forgive(id, began, now)
    }

    /// Compare endpoints when that is due: those that stand out, with the reason.
    pub(crate) fn compare(&self, records: &[(u64, &Record)], now: Instant) -> Vec<(u64, Reason, String)> {
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
        comparison::outliers(&state.before.iter().filter_map(since).collect::<Vec<_>>(), config)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.kept.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
