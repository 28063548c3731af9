//! Bodies of plugins' own answers, counted until clients have taken them.
//!
//! A client that reads slowly keeps the whole body of its answer in memory. So there is room for so many
//! bytes of them, and one plugin gets half of it at most.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::{Program, engine::Machine, ledger::Ledger};

/// Bytes of bodies over all plugins.
pub(crate) const ROOM: usize = 64 << 20;
/// Bytes of bodies of one plugin.
pub(crate) const ROOM_OF_ONE: usize = ROOM / 2;

/// So many bytes may be taken.
pub(crate) struct Room {
    taken: AtomicUsize,
    most: usize,
}

impl Room {
    pub(crate) fn new(most: usize) -> Self {
        Self { taken: AtomicUsize::new(0), most }
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let sum = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.most);
        self.taken.fetch_update(Relaxed, Relaxed, sum).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Relaxed);
    }
}

/// The body of a plugin's own answer. Its bytes are counted until it is dropped.
pub struct Body {
    bytes: Vec<u8>,
    ledger: Arc<Ledger>,
    machine: Arc<Machine>,
}

impl Program {
    /// Count the body of an answer of this plugin; none where the plugin, or all plugins together, have as
    /// many bytes with clients as they may.
    pub fn hold(&self, bytes: Vec<u8>) -> Option<Body> {
        if !self.ledger.bodies.take(bytes.len()) {
            self.ledger.answers_refused.fetch_add(1, Relaxed);
            return None;
        }
        if !self.machine.bodies.take(bytes.len()) {
            self.ledger.bodies.give_back(bytes.len());
            self.ledger.answers_refused.fetch_add(1, Relaxed);
            return None;
        }
        Some(Body { bytes, ledger: Arc::clone(&self.ledger), machine: Arc::clone(&self.machine) })
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.ledger.bodies.give_back(self.bytes.len());
        self.machine.bodies.give_back(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let room = Room::new(10);
        assert!(room.take(6));
        assert!(!room.take(5));
        assert!(room.take(4));
        assert!(!room.take(usize::MAX));
        room.give_back(6);
        assert_eq!(room.taken(), 4);
        assert!(room.take(6));
    }
}
