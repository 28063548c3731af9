//! Affinity by a table from session key to endpoint: bounded, and every entry ends by itself.
//!
//! Reading takes only the shard of its key; who adds a session also takes the ledger, which knows
//! the order of use and of ending, both lazily: a session that was used since it was written down is
//! written down again when its turn comes.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use dashmap::DashMap;

/// Longest time a session is given, so that no moment overflows: a hundred years.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// Sessions looked at to find one that was not used lately.
const LOOKS: usize = 32;

/// Sessions by key.
#[derive(Debug)]
pub struct AffinityTable {
    sessions: DashMap<Arc<str>, Session>,
    ledger: Mutex<Ledger>,
    capacity: usize,
}

#[derive(Debug)]
struct Session {
    endpoint: u64,
    /// Tells it from an earlier session of the same key.
    number: u64,
    first: Instant,
    /// Milliseconds after `first`.
    used: AtomicU64,
    idle: Duration,
    max: Duration,
}

impl Session {
    fn used(&self) -> Instant {
        self.first + Duration::from_millis(self.used.load(Relaxed))
    }

    fn end(&self) -> Instant {
        (self.used() + self.idle).min(self.first + self.max)
    }

    fn touch(&self, now: Instant) {
        let after = now.saturating_duration_since(self.first).as_millis();
        self.used.fetch_max(u64::try_from(after).unwrap_or(u64::MAX), Relaxed);
    }
}

/// Orders of the sessions. An entry whose number is not the session's any more is void.
#[derive(Debug, Default)]
struct Ledger {
    numbers: u64,
    by_use: VecDeque<Entry>,
    by_end: BinaryHeap<Reverse<Entry>>,
}

/// A session as it was written down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// Last use, or end.
    at: Instant,
    number: u64,
    key: Arc<str>,
}

impl AffinityTable {
    /// For at most this many sessions, and at least one.
    pub fn new(capacity: usize) -> Self {
        Self { sessions: DashMap::new(), ledger: Mutex::default(), capacity: capacity.max(1) }
    }

    /// Endpoint id of a session, whose idle time begins again; none when there is none or it ended.
    pub fn get(&self, key: &str, now: Instant) -> Option<u64> {
        let session = self.sessions.get(key)?;
        if session.end() <= now {
            return None;
        }
        session.touch(now);
        Some(session.endpoint)
    }

    /// Bind a session to an endpoint, in place of what the key was bound to. It ends after `idle`
    /// without a `get` and `max` after now. A full table gives up a session that has ended, or else
    /// one of the least recently used.
    pub fn put(&self, key: &str, endpoint: u64, idle: Duration, max: Duration, now: Instant) {
        let mut ledger = self.ledger();
        self.sessions.remove(key);
        while self.sessions.len() >= self.capacity {
            if !self.drop_ended(&mut ledger, now) && !self.drop_unused(&mut ledger) {
                break;
            }
        }
        let session = Session {
            endpoint,
            number: ledger.next_number(),
            first: now,
            used: AtomicU64::new(0),
            idle: idle.min(FOREVER),
            max: max.min(FOREVER),
        };
        let key: Arc<str> = key.into();
        ledger.write(&key, &session);
        self.sessions.insert(key, session);
        self.tidy(&mut ledger);
    }

    /// Forget a session.
    pub fn remove(&self, key: &str) {
        let _ledger = self.ledger();
        self.sessions.remove(key);
    }

    /// Forget every session that has ended.
    pub fn sweep(&self, now: Instant) {
        let mut ledger = self.ledger();
        while self.drop_ended(&mut ledger, now) {}
        self.tidy(&mut ledger);
    }

    /// How many sessions are held; some may have ended since the last sweep.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether no session is held.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `read` says of an entry's session; none when the entry is void.
    fn with<T>(&self, entry: &Entry, read: impl FnOnce(&Session) -> T) -> Option<T> {
        let session = self.sessions.get(&entry.key)?;
        (session.number == entry.number).then(|| read(&session))
    }

    /// Drop one session that has ended; false when there is none.
    fn drop_ended(&self, ledger: &mut Ledger, now: Instant) -> bool {
        while let Some(entry) = ledger.pop_ended(now) {
            match self.with(&entry, Session::end) {
                Some(end) if end <= now => {
                    self.sessions.remove(&entry.key);
                    return true;
                }
                Some(at) => ledger.by_end.push(Reverse(Entry { at, ..entry })),
                None => {}
            }
        }
        false
    }

    /// Drop the first session in order of use that was not used since it was written down; after
    /// some looks, any. False when there is none.
    fn drop_unused(&self, ledger: &mut Ledger) -> bool {
        let mut looks = 0;
        while let Some(entry) = ledger.by_use.pop_front() {
            let Some(used) = self.with(&entry, Session::used) else {
                continue;
            };
            if used <= entry.at || looks >= LOOKS {
                self.sessions.remove(&entry.key);
                return true;
            }
            looks += 1;
            ledger.by_use.push_back(Entry { at: used, ..entry });
        }
        false
    }

    /// Drop void entries once they are the most.
    fn tidy(&self, ledger: &mut Ledger) {
        let most = 2 * self.sessions.len() + 64;
        if ledger.by_use.len() > most {
            ledger.by_use.retain(|entry| self.with(entry, |_| ()).is_some());
        }
        if ledger.by_end.len() > most {
            ledger.by_end.retain(|Reverse(entry)| self.with(entry, |_| ()).is_some());
        }
    }
}

impl Ledger {
    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The entry that ends first, if it has.
    fn pop_ended(&mut self, now: Instant) -> Option<Entry> {
        self.by_end.peek().filter(|first| first.0.at <= now)?;
        self.by_end.pop().map(|Reverse(entry)| entry)
    }

    fn write(&mut self, key: &Arc<str>, session: &Session) {
        let entry = |at| Entry { at, number: session.number, key: Arc::clone(key) };
        self.by_use.push_back(entry(session.first));
        self.by_end.push(Reverse(entry(session.end())));
    }
}

#[cfg(test)]
mod tests;
