//! How the endpoints of a cluster fare together: what they answered well of late, and how many of their answers failed.
//!
//! It is only noted while some endpoint fails, and for some seconds after that: until then a request costs one look
//! at a flag.

use std::{
    sync::{
        OnceLock,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use super::asked::Asked;

/// Answers that are remembered, about half as many requests.
const SLOTS: usize = 1024;
/// How long counts are taken to tell of the present; after as long without a failure nothing is noted any more.
const WINDOW: Duration = Duration::from_secs(10);

/// Answers that were well, and those that failed; numbers wrap around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(super) well: u32,
    pub(super) failed: u32,
}

impl Tally {
    fn unpack(packed: u64) -> Self {
        Self { well: packed as u32, failed: (packed >> 32) as u32 }
    }

    /// What was counted after `before`. Failures may have been set apart meanwhile.
    pub(super) fn since(self, before: Self) -> Self {
        let failed = self.failed.wrapping_sub(before.failed).cast_signed().max(0);
        Self { well: self.well.wrapping_sub(before.well), failed: failed.cast_unsigned() }
    }

    /// How many there are.
    pub(super) fn all(self) -> u64 {
        u64::from(self.well) + u64::from(self.failed)
    }

    /// Share of those that failed.
    pub(super) fn share(self) -> f64 {
        f64::from(self.failed) / (self.all().max(1) as f64)
    }
}

/// What is noted of one cluster.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    looking: AtomicBool,
    /// A packed [`Tally`].
    tally: AtomicU64,
    /// What it was one to two windows ago.
    base: AtomicU64,
    /// Of each answer that was well: hash of the request, endpoint, and how many had been well with it.
    table: OnceLock<Box<[AtomicU64]>>,
}

/// When the windows of [`Peers`] ended; of the one that looks after them.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    ended: Option<Instant>,
    tally: u64,
}

impl Peers {
    /// Whether answers that are well have to be noted.
    #[inline]
    pub(super) fn is_looking(&self) -> bool {
        self.looking.load(Relaxed)
    }

    /// Note that an endpoint has answered well.
    #[cold]
    pub(super) fn well(&self, endpoint: u64, asked: &Asked) {
        let now = Tally::unpack(self.tally.fetch_add(1, Relaxed)).well.wrapping_add(1);
        for key in [asked.own, asked.page] {
            if let Some(slot) = self.slot(key) {
                slot.store(tag(key, endpoint) | u64::from(now), Relaxed);
            }
        }
    }

    /// Note that an endpoint has failed; what was counted before.
    pub(super) fn failed(&self) -> Tally {
        if !self.is_looking() {
            self.base.store(self.tally.load(Relaxed), Relaxed);
            self.looking.store(true, Release);
        }
        Tally::unpack(self.tally.fetch_add(1 << 32, Relaxed))
    }

    /// So many failures are one endpoint's own, and tell nothing of the others.
    pub(super) fn set_apart(&self, failures: u32) {
        self.tally.fetch_sub(u64::from(failures) << 32, Relaxed);
    }

    /// Whether another endpoint has answered this well since then.
    pub(super) fn answered(&self, key: u64, endpoint: u64, since: Tally) -> bool {
        let Some(slot) = self.slot(key) else { return false };
        let noted = slot.load(Relaxed);
        let (tagged, own) = (noted >> 32, tag(key, endpoint) >> 32);
        let is_later = (noted as u32).wrapping_sub(since.well).cast_signed() > 0;
        tagged >> 16 == own >> 16 && tagged != own && is_later
    }

    /// What is counted now, and what was when the present window began.
    pub(super) fn tally(&self) -> (Tally, Tally) {
        (Tally::unpack(self.tally.load(Relaxed)), Tally::unpack(self.base.load(Relaxed)))
    }

    /// Let windows end. To be called a few times a second.
    pub(super) fn tick(&self, windows: &mut Windows, now: Instant) {
        if !self.looking.load(Acquire) {
            return;
        }
        let ended = *windows.ended.get_or_insert(now);
        if now.saturating_duration_since(ended) < WINDOW {
            return;
        }
        let tally = self.tally.load(Relaxed);
        let before = std::mem::replace(windows, Windows { ended: Some(now), tally });
        self.base.store(before.tally, Relaxed);
        if Tally::unpack(before.tally).failed == Tally::unpack(tally).failed {
            self.looking.store(false, Relaxed);
            windows.ended = None;
        }
    }

    fn slot(&self, key: u64) -> Option<&AtomicU64> {
        let table = self.table.get_or_init(|| (0..SLOTS).map(|_| AtomicU64::new(0)).collect());
        table.get(key as usize % SLOTS)
    }
}

/// Sixteen bits of the key, sixteen of the endpoint, and room for a count.
fn tag(key: u64, endpoint: u64) -> u64 {
    (key >> 48 << 48) | ((endpoint & 0xffff) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(page: &str) -> Asked {
        Asked::new([10, 0, 0, 1].into(), "GET", page)
    }

    #[test]
    fn only_what_others_answered_since_then_counts() {
        let (peers, page) = (Peers::default(), asked("/"));
        peers.well(2, &page);
        let before = peers.failed();
        assert!(!peers.answered(page.own, 1, before), "that was before");
        peers.well(2, &page);
        assert!(peers.answered(page.own, 1, before) && peers.answered(page.page, 1, before));
        assert!(!peers.answered(page.own, 2, before), "its own answer");
        assert!(!peers.answered(asked("/other").own, 1, before));
    }

    #[test]
    fn nothing_is_noted_once_nothing_fails_for_a_window() {
        let (peers, mut windows, now) = (Peers::default(), Windows::default(), Instant::now());
        assert!(!peers.is_looking());
        peers.failed();
        for at in 0..=2 {
            assert!(peers.is_looking(), "{at}");
            peers.tick(&mut windows, now + WINDOW * at);
        }
        assert!(!peers.is_looking());
        peers.failed();
        let (tally, base) = peers.tally();
        assert_eq!(tally.since(base), Tally { well: 0, failed: 1 }, "what was before is forgotten");
    }

    #[test]
    fn counts_go_on_over_their_end() {
        let peers = Peers { tally: AtomicU64::new(u64::from(u32::MAX) << 32 | 7), ..Peers::default() };
        let before = peers.failed();
        let (after, _) = peers.tally();
        assert_eq!(after.since(before), Tally { well: 0, failed: 1 });
        peers.set_apart(1);
        assert_eq!(peers.tally().0, before);
    }
}
