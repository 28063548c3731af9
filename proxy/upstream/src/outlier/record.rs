//! What requests met on one endpoint, counted by all workers.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use weir_config::OutlierDetection;

use super::{Met, Reason};

/// Counters of one endpoint, alone on their cache lines. Where all goes well the rows are only read.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Record {
    connect: AtomicU32,
    gateway: AtomicU32,
    server: AtomicU32,
    requests: AtomicU32,
    failures: AtomicU32,
    answers: AtomicU32,
    micros: AtomicU64,
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

impl Record {
    /// Count one request; the reason and the length of the row when that is once too often. A row that
    /// goes on counts again each time it has grown by its limit.
    #[inline]
    pub(super) fn count(&self, met: Met, config: &OutlierDetection) -> Option<(Reason, u32)> {
        match met {
            Met::Status(..500) | Met::Connection => {
                self.clear();
                None
            }
            Met::Status(502..=504) | Met::NoResponse => {
                let gateway = grow(&self.gateway, config.gateway_errors).map(|row| (Reason::GatewayErrors, row));
                let server = grow(&self.server, config.server_errors).map(|row| (Reason::ServerErrors, row));
                gateway.or(server)
            }
            Met::Status(_) => {
                self.gateway.store(0, Relaxed);
                self.connect.store(0, Relaxed);
                grow(&self.server, config.server_errors).map(|row| (Reason::ServerErrors, row))
            }
            Met::NoConnection => grow(&self.connect, config.connect_failures).map(|row| (Reason::ConnectFailures, row)),
        }
    }

    /// No row goes on.
    #[inline]
    pub(crate) fn clear(&self) {
        for row in [&self.connect, &self.gateway, &self.server] {
            if row.load(Relaxed) != 0 {
                row.store(0, Relaxed);
            }
        }
    }

    /// Count a request for the comparison with others.
    pub(crate) fn compare(&self, met: Met, latency: Option<Duration>) {
        self.requests.fetch_add(1, Relaxed);
        if !matches!(met, Met::Status(..500) | Met::Connection) {
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

/// One more; the length of the row where it is a multiple of the limit.
fn grow(row: &AtomicU32, limit: u32) -> Option<u32> {
    let length = row.fetch_add(1, Relaxed).wrapping_add(1);
    (limit > 0 && length.is_multiple_of(limit)).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(mets: &[Met], config: &OutlierDetection) -> Option<(usize, Reason)> {
        let record = Record::default();
        let mut found = mets.iter().enumerate().filter_map(|(at, met)| Some((at, record.count(*met, config)?.0)));
        found.next()
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
    }

    #[test]
    fn a_response_that_is_well_ends_every_row() {
        let config = OutlierDetection { server_errors: 2, ..OutlierDetection::default() };
        let (no, bad) = (Met::NoConnection, Met::Status(500));
        assert_eq!(first(&[no, no, OK, no, no, OK, bad, OK, bad], &config), None);
        assert_eq!(first(&[no, no, bad, no, no], &config), None, "a response of any kind had a connection");
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
        let record = Record::default();
        let config = OutlierDetection::default();
        let told = (0..9).filter(|_| record.count(Met::NoConnection, &config).is_some()).count();
        assert_eq!(told, 3);
    }
}
