//! Affinity by a table from session key to endpoint: bounded, and every entry ends by itself. A full table takes room from
//! the scope (tenant) with the most sessions, so that none of them can push out those of the others.
//!
//! Reading takes only the shard of its key; who adds a session also takes the ledger, which knows
//! the order of use and of ending, both lazily: a session that was used since it was written down is
//! written down again when its turn comes.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::{FOREVER, secret};

/// Sessions looked at to find the one that was used least recently.
const LOOKS: usize = 32;

/// What a session is known by: a digest of scope and value under the secret of the process, as long for a
/// value of a client's choice as for any other, and apart from every other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key([u64; 2]);

/// By half of it, which is a digest too.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// Sessions by key.
#[derive(Debug)]
pub struct AffinityTable {
    held: Arc<Held>,
    capacity: usize,
}

/// What tables of several capacities may share.
#[derive(Debug)]
struct Held {
    digest: SipHasher13,
    sessions: DashMap<Key, Session, RandomState>,
    ledger: Mutex<Ledger>,
    evicted: AtomicU64,
}

#[derive(Debug)]
struct Session {
    endpoint: u64,
    /// A digest of its scope.
    scope: u64,
    /// Tells it from an earlier session of the same key.
    number: u64,
    first: Instant,
    /// Microseconds after `first`.
    used: AtomicU64,
    idle: Duration,
    max: Duration,
}

impl Session {
    fn used(&self) -> Instant {
        self.first + Duration::from_micros(self.used.load(Relaxed))
    }

    fn end(&self) -> Instant {
        (self.used() + self.idle).min(self.first + self.max)
    }

    fn touch(&self, now: Instant) {
        let after = now.saturating_duration_since(self.first).as_micros();
        self.used.fetch_max(u64::try_from(after).unwrap_or(u64::MAX), Relaxed);
    }
}

/// Orders of the sessions. An entry whose number is not the session's any more is void.
#[derive(Debug, Default)]
struct Ledger {
    numbers: u64,
    scopes: HashMap<u64, Scope>,
    by_end: BinaryHeap<Reverse<Entry>>,
}

/// The sessions of one scope.
#[derive(Debug, Default)]
struct Scope {
    sessions: usize,
    by_use: BinaryHeap<Reverse<Entry>>,
}

/// A session as it was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// Last use, or end.
    at: Instant,
    number: u64,
    key: Key,
}

/// A session, as another process is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What it is known by, in processes of the same secret.
    pub key: Key,
    /// A digest of its scope; 0 where that is not known.
    pub scope: u64,
    /// The id of its endpoint.
    pub endpoint: u64,
    /// How long ago it began.
    pub began: Duration,
    /// How long ago it was used.
    pub used: Duration,
    /// It ends so long after it was used.
    pub idle: Duration,
    /// It ends so long after it began.
    pub max: Duration,
}

#[expect(clippy::expect_used, reason = "a secret gives any number of bytes this small")]
fn digest() -> SipHasher13 {
    let mut key = [0; 16];
    secret::expand(secret::process_secret(), &[b"weir affinity keys 1"], &mut key).expect("16 bytes");
    SipHasher13::new_with_key(&key)
}

impl AffinityTable {
    /// For at most this many sessions, and at least one.
    pub fn new(capacity: usize) -> Self {
        let held = Held {
            digest: digest(),
            sessions: DashMap::with_hasher(RandomState::default()),
            ledger: Mutex::default(),
            evicted: AtomicU64::new(0),
        };
        Self { held: Arc::new(held), capacity: capacity.max(1) }
    }

    /// The same sessions, of which there may be so many from the next one on.
    pub fn with_capacity(&self, capacity: usize) -> Self {
        Self { held: Arc::clone(&self.held), capacity: capacity.max(1) }
    }

    /// The key of a session that is known by a value within a scope.
    pub fn key(&self, scope: &str, value: &[u8]) -> Key {
        let mut digest = self.held.digest;
        (scope, value).hash(&mut digest);
        let digest = digest.finish128();
        Key([digest.h1, digest.h2])
    }

    /// Endpoint id of a session, whose idle time begins again; none when there is none or it ended.
    pub fn get(&self, key: Key, now: Instant) -> Option<u64> {
        let session = self.held.sessions.get(&key)?;
        if session.end() <= now {
            return None;
        }
        session.touch(now);
        Some(session.endpoint)
    }

    /// Bind a session of a scope to an endpoint, in place of what the key was bound to. It ends after `idle`
    /// without a `get` and `max` after now. A full table gives up a session that has ended, or else
    /// the least recently used one of the scope that has the most.
    ///
    /// That is exact among the sessions it looks at, which are those that were longest unused when
    /// they were last looked at.
    pub fn put(&self, scope: &str, key: Key, endpoint: u64, [idle, max]: [Duration; 2], now: Instant) {
        let (held, scope) = (&*self.held, self.held.scope(scope));
        let mut ledger = held.ledger();
        held.remove(&mut ledger, &key);
        while held.sessions.len() >= self.capacity {
            if held.drop_ended(&mut ledger, now) {
                continue;
            }
            let largest = ledger.largest(scope);
            if !held.drop_unused(&mut ledger, largest) {
                break;
            }
            held.evicted.fetch_add(1, Relaxed);
        }
        let session = Session {
            endpoint,
            scope,
            number: ledger.next_number(),
            first: now,
            used: AtomicU64::new(0),
            idle: idle.min(FOREVER),
            max: max.min(FOREVER),
        };
        held.insert(&mut ledger, key, session);
        held.tidy(&mut ledger);
    }

    /// All sessions that have not ended, for another process.
    pub fn kept(&self, now: Instant) -> Vec<Kept> {
        let alive = self.held.sessions.iter().filter(|session| session.end() > now);
        let kept = alive.map(|session| Kept {
            key: *session.key(),
            scope: session.scope,
            endpoint: session.endpoint,
            began: now.saturating_duration_since(session.first),
            used: now.saturating_duration_since(session.used()),
            idle: session.idle,
            max: session.max,
        });
        kept.collect()
    }

    /// Go on with a session of another process, as far as there is room and it is not known here.
    pub fn keep(&self, kept: &Kept, now: Instant) {
        let held = &*self.held;
        let mut ledger = held.ledger();
        let full = held.sessions.len() >= self.capacity;
        let Some(first) = now.checked_sub(kept.began).filter(|_| !full && !held.sessions.contains_key(&kept.key))
        else {
            return;
        };
        let used = u64::try_from(kept.began.saturating_sub(kept.used).as_micros()).unwrap_or(u64::MAX);
        let session = Session {
            endpoint: kept.endpoint,
            scope: kept.scope,
            number: ledger.next_number(),
            first,
            used: AtomicU64::new(used),
            idle: kept.idle.min(FOREVER),
            max: kept.max.min(FOREVER),
        };
        held.insert(&mut ledger, kept.key, session);
    }

    /// Forget every session that has ended.
    pub fn sweep(&self, now: Instant) {
        let mut ledger = self.held.ledger();
        while self.held.drop_ended(&mut ledger, now) {}
        self.held.tidy(&mut ledger);
    }

    /// How many sessions are held; some may have ended since the last sweep.
    pub fn len(&self) -> usize {
        self.held.sessions.len()
    }

    /// Whether no session is held.
    pub fn is_empty(&self) -> bool {
        self.held.sessions.is_empty()
    }

    /// How many it may hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many were given up alive because it was full.
    pub fn evicted(&self) -> u64 {
        self.held.evicted.load(Relaxed)
    }
}

impl Held {
    fn scope(&self, scope: &str) -> u64 {
        let mut digest = self.digest;
        scope.hash(&mut digest);
        digest.finish128().h1
    }

    fn insert(&self, ledger: &mut Ledger, key: Key, session: Session) {
        ledger.write(key, &session);
        self.sessions.insert(key, session);
    }

    fn remove(&self, ledger: &mut Ledger, key: &Key) {
        if let Some((_, session)) = self.sessions.remove(key) {
            ledger.forget(session.scope);
        }
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
                    self.remove(ledger, &entry.key);
                    return true;
                }
                Some(at) => ledger.by_end.push(Reverse(Entry { at, ..entry })),
                None => {}
            }
        }
        false
    }

    /// Drop the least recently used of the sessions that come first in a scope's order of use. False when
    /// there is none.
    fn drop_unused(&self, ledger: &mut Ledger, scope: u64) -> bool {
        let mut looks = 0;
        while let Some(by_use) = ledger.scopes.get_mut(&scope).map(|scope| &mut scope.by_use)
            && let Some(Reverse(entry)) = by_use.pop()
        {
            let Some(at) = self.with(&entry, Session::used) else { continue };
            // Nothing that is written down later was used earlier.
            if at <= entry.at || looks >= LOOKS {
                self.remove(ledger, &entry.key);
                return true;
            }
            looks += 1;
            by_use.push(Reverse(Entry { at, ..entry }));
        }
        false
    }

    /// Drop void entries once they are the most.
    fn tidy(&self, ledger: &mut Ledger) {
        let is_valid = |Reverse(entry): &Reverse<Entry>| self.with(entry, |_| ()).is_some();
        for scope in ledger.scopes.values_mut().filter(|scope| scope.by_use.len() > 2 * scope.sessions + 64) {
            scope.by_use.retain(is_valid);
        }
        if ledger.by_end.len() > 2 * self.sessions.len() + 64 {
            ledger.by_end.retain(is_valid);
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

    /// A session of this scope is gone.
    fn forget(&mut self, scope: u64) {
        let left = self.scopes.get_mut(&scope).map(|scope| {
            scope.sessions = scope.sessions.saturating_sub(1);
            scope.sessions
        });
        if left == Some(0) {
            self.scopes.remove(&scope);
        }
    }

    /// The scope with the most sessions: this one where no other has more.
    fn largest(&self, scope: u64) -> u64 {
        let sessions = |scope: &u64| self.scopes.get(scope).map_or(0, |scope| scope.sessions);
        let most = self.scopes.keys().copied().max_by_key(sessions).unwrap_or(scope);
        if sessions(&scope) >= sessions(&most) { scope } else { most }
    }

    fn write(&mut self, key: Key, session: &Session) {
        let entry = |at| Entry { at, number: session.number, key };
        let scope = self.scopes.entry(session.scope).or_default();
        scope.sessions += 1;
        scope.by_use.push(Reverse(entry(session.first)));
        self.by_end.push(Reverse(entry(session.end())));
    }
}

#[cfg(test)]
mod tests;
