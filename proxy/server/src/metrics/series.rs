//! What handles that record are made of. Each holds one padded block a worker, and only that worker writes it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Adds to a figure that only this thread writes: a plain load and store, which costs a fifth of an
/// atomic addition.
pub(super) fn bump(figure: &AtomicU64, by: u64) {
    figure.store(figure.load(Relaxed).wrapping_add(by), Relaxed);
}

pub(super) fn blocks<B: Default>(workers: usize) -> Box<[B]> {
    (0..workers).map(|_| B::default()).collect()
}

pub(super) fn sum<B>(blocks: &[B], figure: impl Fn(&B) -> &AtomicU64) -> u64 {
    blocks.iter().map(|block| figure(block).load(Relaxed)).fold(0, u64::wrapping_add)
}

/// Exchanges by the class of their status.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    informational: AtomicU64,
    success: AtomicU64,
    redirection: AtomicU64,
    client_error: AtomicU64,
    server_error: AtomicU64,
    client_left: AtomicU64,
}

impl Statuses {
    pub(super) fn of(&self, status: u16) -> &AtomicU64 {
        match status {
            0..200 => &self.informational,
            200..300 => &self.success,
            300..400 => &self.redirection,
            499 => &self.client_left,
            400..500 => &self.client_error,
            _ => &self.server_error,
        }
    }

    /// Sums over blocks by class.
    pub(super) fn totals<B>(blocks: &[B], statuses: fn(&B) -> &Statuses) -> [(&'static str, u64); 6] {
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
