//! What requests met on one endpoint, counted by all workers.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use weir_config::OutlierDetection;

use super::{
    Met, Reason,
    asked::Asked,
    evidence,
    peers::{Peers, Tally},
};

/// Counters of one endpoint, alone on their cache lines. Where all goes well the rows are only read.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Record {
    connect: AtomicU32,
    gateway: Row,
    server: Row,
    cut: Row,
    requests: AtomicU32,
    failures: AtomicU32,
    answers: AtomicU32,
    micros: AtomicU64,
}

/// Failures in a row. All but the length is written by the failures themselves, and void where that is 0.
#[derive(Debug, Default)]
struct Row {
    length: AtomicU32,
    answers: AtomicU32,
    own: AtomicU32,
    page: AtomicU32,
    clients: AtomicU64,
    paths: AtomicU64,
    /// What all endpoints had counted before.
    well: AtomicU32,
    failed: AtomicU32,
    /// The length from which on it is judged again.
    due: AtomicU32,
}

/// What was counted until some moment; numbers wrap around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    /// Requests.
    pub(crate) requests: u32,
    /// Those of them that failed.
    pub(crate) failures: u32,
    /// Responses whose time is known.
    pub(crate) answers: u32,
    /// Their times together.
    pub(crate) micros: u64,
}

impl Totals {
    /// What was counted after `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests.wrapping_sub(before.requests),
            failures: self.failures.wrapping_sub(before.failures),
            answers: self.answers.wrapping_sub(before.answers),
            micros: self.micros.wrapping_sub(before.micros),
        }
    }
}

/// A row that is long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) reason: Reason,
    pub(super) row: u32,
    /// The endpoint has answered, though not well.
    pub(super) reached: bool,
}

/// A request that failed, beside what the other endpoints do.
#[derive(Clone, Copy)]
pub(super) struct Failure<'a> {
    pub(super) endpoint: u64,
    pub(super) asked: Asked,
    pub(super) peers: &'a Peers,
}

impl Record {
    /// Count one request that went well, as far as the endpoint is concerned.
    #[inline]
    pub(super) fn well(&self, met: Met) {
        match met {
            Met::Connection => put_out(&self.connect),
            _ => self.clear_answered(),
        }
    }

    /// Count a connection that could not be opened.
    pub(super) fn unconnected(&self, config: &OutlierDetection) -> Option<Told> {
        let row = grow(&self.connect, config.connect_failures)?;
        Some(Told { reason: Reason::ConnectFailures, row, reached: false })
    }

    /// Count one request that failed; what it comes to when that is once too often. A row that goes on is told again
    /// each time it has grown by its limit.
    pub(super) fn failed(&self, met: Met, failure: &Failure<'_>, config: &OutlierDetection) -> Option<Told> {
        let (gateway, server) = (config.gateway_errors, config.server_errors);
        match met {
            Met::Cut => self.cut.grow(false, failure, gateway, Reason::GatewayErrors),
            Met::Status(502..=504) | Met::NoResponse | Met::Reset => {
                let reached = matches!(met, Met::Status(_));
                let told = self.gateway.grow(reached, failure, gateway, Reason::GatewayErrors);
                let other = self.server.grow(reached, failure, server, Reason::ServerErrors);
                told.or(other)
            }
            _ => {
                put_out(&self.gateway.length);
                put_out(&self.connect);
                self.server.grow(true, failure, server, Reason::ServerErrors)
            }
        }
    }

    /// A response was complete.
    #[inline]
    pub(super) fn completed(&self) {
        put_out(&self.cut.length);
    }

    /// No row goes on.
    pub(crate) fn clear(&self) {
        self.clear_answered();
        self.completed();
    }

    #[inline]
    fn clear_answered(&self) {
        for row in [&self.connect, &self.gateway.length, &self.server.length] {
            put_out(row);
        }
    }

    /// Count a request for the comparison with others.
    pub(crate) fn compare(&self, met: Met, latency: Option<Duration>) {
        match met {
            Met::FirstBytes => return,
            // As a request they were counted before.
            Met::Cut | Met::Reset => {}
            _ => drop(self.requests.fetch_add(1, Relaxed)),
        }
        if met.is_failure() {
            self.failures.fetch_add(1, Relaxed);
        }
        if let Some(latency) = latency {
            self.answers.fetch_add(1, Relaxed);
            self.micros.fetch_add(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX), Relaxed);
        }
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            requests: self.requests.load(Relaxed),
            failures: self.failures.load(Relaxed),
            answers: self.answers.load(Relaxed),
            micros: self.micros.load(Relaxed),
        }
    }
}

impl Row {
    /// One more, which was an answer or not.
    fn grow(&self, answer: bool, failure: &Failure<'_>, limit: u32, reason: Reason) -> Option<Told> {
        if limit == 0 {
            return None;
        }
        let row = self.take(answer, failure);
        if row.length < self.due.load(Relaxed) || !row.convicts(limit) {
            return None;
        }
        self.due.store(row.length.saturating_add(limit), Relaxed);
        Some(Told { reason, row: row.length, reached: row.answers > 0 })
    }

    fn take(&self, answer: bool, failure: &Failure<'_>) -> evidence::Row {
        let Failure { endpoint, asked, peers } = failure;
        let length = self.length.fetch_add(1, Relaxed).wrapping_add(1);
        let (now, base) = peers.tally();
        if length == 1 {
            self.begin(now);
        }
        let began = Tally { well: self.well.load(Relaxed), failed: self.failed.load(Relaxed) };
        let add = |count: &AtomicU32, more: bool| count.fetch_add(more.into(), Relaxed).wrapping_add(more.into());
        let mark = |marks: &AtomicU64, bit: u64| (marks.fetch_or(bit, Relaxed) | bit).count_ones();
        evidence::Row {
            length,
            answers: add(&self.answers, answer),
            own: add(&self.own, peers.answered(asked.own, *endpoint, began)),
            page: add(&self.page, peers.answered(asked.page, *endpoint, began)),
            clients: mark(&self.clients, asked.client),
            paths: mark(&self.paths, asked.path),
            began,
            now,
            base,
        }
    }

    /// The first of a row has just been counted by all.
    fn begin(&self, now: Tally) {
        self.well.store(now.well, Relaxed);
        self.failed.store(now.failed.wrapping_sub(1), Relaxed);
        for count in [&self.answers, &self.own, &self.page, &self.due] {
            count.store(0, Relaxed);
        }
        for marks in [&self.clients, &self.paths] {
            marks.store(0, Relaxed);
        }
    }
}

/// End a row, which is written only where there is one.
#[inline]
fn put_out(row: &AtomicU32) {
    if row.load(Relaxed) != 0 {
        row.store(0, Relaxed);
    }
}

/// One more; the length of the row where it is a multiple of the limit.
fn grow(row: &AtomicU32, limit: u32) -> Option<u32> {
    let length = row.fetch_add(1, Relaxed).wrapping_add(1);
    (limit > 0 && length.is_multiple_of(limit)).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests on the endpoint 1, while the endpoint 2 answers everything well.
    fn told(mets: &[Met], config: &OutlierDetection) -> Vec<(usize, Reason)> {
        let (record, peers) = (Record::default(), Peers::default());
        let asked = Asked::new([10, 0, 0, 1].into(), "GET", "/");
        let failure = Failure { endpoint: 1, asked, peers: &peers };
        let mut all = Vec::new();
        for (at, met) in mets.iter().enumerate() {
            let told = match met {
                Met::NoConnection => record.unconnected(config),
                met if met.is_failure() => {
                    peers.failed();
                    record.failed(*met, &failure, config)
                }
                met => {
                    record.well(*met);
                    None
                }
            };
            all.extend(told.map(|told| (at, told.reason)));
            peers.well(2, &asked);
        }
        all
    }

    fn first(mets: &[Met], config: &OutlierDetection) -> Option<(usize, Reason)> {
        told(mets, config).first().copied()
    }

    const OK: Met = Met::Status(404);

    #[test]
    fn rows_that_are_long_enough_are_told() {
        let config = OutlierDetection { server_errors: 4, gateway_errors: 3, ..OutlierDetection::default() };
        assert_eq!(first(&[Met::NoConnection; 3], &config), Some((2, Reason::ConnectFailures)));
        let mixed = [Met::Status(503), Met::NoResponse, Met::Status(504)];
        assert_eq!(first(&mixed, &config), Some((2, Reason::GatewayErrors)));
        let server = [Met::Status(500), Met::NoResponse, Met::Status(501), Met::Status(500)];
        assert_eq!(first(&server, &config), Some((3, Reason::ServerErrors)));
        assert_eq!(first(&[Met::Cut; 3], &config), Some((2, Reason::GatewayErrors)));
        assert_eq!(first(&[Met::Connection, Met::Reset].repeat(3), &config), Some((5, Reason::GatewayErrors)));
    }

    #[test]
    fn a_response_that_is_well_ends_every_row() {
        let config = OutlierDetection { server_errors: 2, ..OutlierDetection::default() };
        let (no, bad) = (Met::NoConnection, Met::Status(500));
        assert_eq!(first(&[no, no, OK, no, no, OK, bad, OK, bad], &config), None);
        assert_eq!(first(&[no, no, bad, no, no], &config), None, "a response of any kind had a connection");
        assert_eq!(first(&[Met::Connection, no, no].repeat(4), &config), None);
        assert_eq!(first(&[Met::Reset, Met::FirstBytes].repeat(9), &OutlierDetection::default()), None);
    }

    #[test]
    fn a_head_does_not_end_a_row_of_responses_that_were_cut() {
        let config = OutlierDetection::default();
        assert_eq!(first(&[OK, Met::Cut].repeat(5), &config), Some((9, Reason::GatewayErrors)));
    }

    #[test]
    fn failures_of_another_kind_do_not_end_a_row() {
        let config = OutlierDetection::default();
        let mets = [Met::NoConnection, Met::NoResponse, Met::NoConnection, Met::NoResponse, Met::NoConnection];
        assert_eq!(first(&mets, &config), Some((4, Reason::ConnectFailures)));
    }

    #[test]
    fn nothing_in_a_row_is_too_much_where_that_is_off() {
        let config = OutlierDetection { connect_failures: 0, ..OutlierDetection::default() };
        assert_eq!(first(&[Met::NoConnection; 1_000], &config), None);
        assert_eq!(first(&[Met::Status(500); 1_000], &config), None, "off unless asked for");
    }

    #[test]
    fn a_row_that_goes_on_is_told_again() {
        let config = OutlierDetection::default();
        assert_eq!(told(&[Met::NoConnection; 9], &config).len(), 3);
        let at: Vec<usize> = told(&[Met::Status(503); 15], &config).into_iter().map(|(at, _)| at).collect();
        assert_eq!(at, [4, 9, 14]);
    }

    #[test]
    fn a_row_begins_anew_after_it_has_ended() {
        let config = OutlierDetection::default();
        let mets = [&[Met::Status(503); 4][..], &[OK], &[Met::Status(503); 5]].concat();
        assert_eq!(told(&mets, &config), [(9, Reason::GatewayErrors)]);
    }
}
