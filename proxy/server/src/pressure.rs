//! What the process runs short of, as all workers see it. While it is short of anything, connections that have
//! idled for longest are closed, as many as are wanted. While memory is short, those that hold the most of it are closed
//! as well; when all of it is in use, new ones are refused.

use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Percent of the memory there may be from which on it is short, and below which it no longer is.
const HIGH: u64 = 90;
const LOW: u64 = 80;
/// How long nobody must have met a shortage before it counts as over.
const CALM: Duration = Duration::from_secs(2);

/// What there can be too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scarce {
    /// Resident memory, below `max-memory`.
    Memory,
    /// File descriptors that are not kept back.
    Descriptors,
    /// Connections, below `max-connections`.
    Connections,
}

impl Scarce {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Descriptors, Self::Connections];

    /// In logs, metrics and on the status page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
            Self::Connections => "connections",
        }
    }
}

impl fmt::Display for Scarce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is short now.
#[derive(Debug)]
pub struct Pressure {
    began: Instant,
    memory: Shortage,
    descriptors: Shortage,
    connections: Shortage,
    /// Octets; 0 where there is no limit.
    most_memory: AtomicU64,
    /// How often memory was looked at, and how much of it there was too much then.
    looks: AtomicU64,
    excess: AtomicU64,
    /// All the memory there may be is in use.
    full: AtomicBool,
    /// A client of datagrams waits for a descriptor of those that sessions may have. That is no shortage of the process.
    datagram_socket: AtomicBool,
    /// A session of datagrams found no room among connections, and nothing that idles on its own worker.
    datagram_room: AtomicBool,
}

#[derive(Debug, Default)]
struct Shortage {
    now: AtomicBool,
    /// When it was met last, in milliseconds since the beginning.
    met: AtomicU64,
    /// Clients that wait for some.
    waiting: AtomicUsize,
    /// Those of them for which nothing that idles could make room.
    in_vain: AtomicUsize,
}

/// A client waits for what is short, as long as this lives.
#[derive(Debug)]
pub struct Want<'a> {
    shortage: &'a Shortage,
    in_vain: u32,
}

impl Want<'_> {
    /// So much is about to be free. When it is nothing again, connections are to end rather than to idle.
    pub fn gets(&mut self, number: usize) {
        if number == 0 && self.in_vain < 2 {
            self.in_vain += 1;
            self.shortage.in_vain.fetch_add(usize::from(self.in_vain == 2), Relaxed);
        }
    }
}

impl Drop for Want<'_> {
    fn drop(&mut self) {
        self.shortage.waiting.fetch_sub(1, Relaxed);
        self.shortage.in_vain.fetch_sub(usize::from(self.in_vain == 2), Relaxed);
    }
}

impl Pressure {
    /// Nothing is short, and memory never is.
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            memory: Shortage::default(),
            descriptors: Shortage::default(),
            connections: Shortage::default(),
            most_memory: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            excess: AtomicU64::new(0),
            full: AtomicBool::new(false),
            datagram_socket: AtomicBool::new(false),
            datagram_room: AtomicBool::new(false),
        }
    }

    /// How much memory there may be from now on; none is any.
    pub fn bound_memory(&self, most: Option<u64>) {
        self.most_memory.store(most.unwrap_or(0), Relaxed);
    }

    /// Whether the memory in use has to be looked at.
    pub fn wants_memory(&self) -> bool {
        self.most_memory.load(Relaxed) > 0 || self.is_short(Scarce::Memory)
    }

    /// Whether all the memory there may be is in use, so that new connections are refused.
    pub fn is_full(&self) -> bool {
        self.full.load(Relaxed)
    }

    /// The number of the last look at memory, and octets above where it is short no longer; 0 while it is not short.
    pub fn excess(&self) -> (u64, u64) {
        (self.looks.load(Relaxed), self.excess.load(Relaxed))
    }

    /// Whether so much memory is in use that it is to be looked at often.
    pub fn is_near(&self, resident: u64) -> bool {
        resident >= self.most_memory.load(Relaxed) / 2
    }

    /// Whether it is short of this.
    pub fn is_short(&self, of: Scarce) -> bool {
        self.shortage(of).now.load(Relaxed)
    }

    /// A client waits for some of it.
    pub fn want(&self, of: Scarce) -> Want<'_> {
        let shortage = self.shortage(of);
        shortage.waiting.fetch_add(1, Relaxed);
        Want { shortage, in_vain: 0 }
    }

    /// Whether something that idles is to make room: while memory is short, or a client waits for the other.
    pub fn is_wanted(&self, of: Scarce) -> bool {
        match of {
            Scarce::Memory => self.is_short(of),
            _ => self.shortage(of).waiting.load(Relaxed) > 0,
        }
    }

    /// Whether connections are to end rather than to idle: while memory is short, or where nothing that idles could make
    /// room for a client that waits.
    pub fn ends_idle(&self) -> bool {
        self.is_short(Scarce::Memory)
            || [Scarce::Descriptors, Scarce::Connections].iter().any(|of| self.shortage(*of).in_vain.load(Relaxed) > 0)
    }

    /// There is none left.
    pub fn meet(&self, of: Scarce, now: Instant) {
        let shortage = self.shortage(of);
        shortage.met.store(self.millis(now), Relaxed);
        if !shortage.now.swap(true, Relaxed) {
            tracing::warn!(%of, "running short: connections that idle are closed");
        }
    }

    /// A session of datagrams found no room among connections: another worker is to make some. It does not wait, for
    /// its client sends again.
    pub fn want_datagram_room(&self) {
        self.datagram_room.store(true, Relaxed);
    }

    /// Has one worker at a time make the room that a session of datagrams wants, until one could.
    pub fn make_datagram_room(&self, make: impl FnOnce() -> usize) {
        if self.datagram_room.load(Relaxed) && self.datagram_room.swap(false, Relaxed) && make() == 0 {
            self.datagram_room.store(true, Relaxed);
        }
    }

    /// A session of datagrams found no descriptor and nobody beside it who idles.
    pub fn want_datagram_socket(&self) {
        self.datagram_socket.store(true, Relaxed);
    }

    /// Whether one that idles is to make room for it.
    pub fn wants_datagram_socket(&self) -> bool {
        self.datagram_socket.load(Relaxed)
    }

    /// One has made room, or nobody has to.
    pub fn give_datagram_socket(&self) {
        self.datagram_socket.store(false, Relaxed);
    }

    /// Judge by the memory that is in use, and let what nobody has met for a while be over.
    pub fn look(&self, resident: u64, now: Instant) {
        let most = self.most_memory.load(Relaxed);
        let percent = resident.saturating_mul(100).checked_div(most).unwrap_or(0);
        if percent >= HIGH {
            self.meet(Scarce::Memory, now);
        } else if percent < LOW {
            self.end(Scarce::Memory);
        }
        let excess = resident.saturating_sub(most / 100 * LOW);
        self.excess.store(if self.is_short(Scarce::Memory) { excess } else { 0 }, Relaxed);
        self.full.store(percent >= 100, Relaxed);
        self.looks.fetch_add(1, Relaxed);
        for of in [Scarce::Descriptors, Scarce::Connections] {
            let met = Duration::from_millis(self.shortage(of).met.load(Relaxed));
            if (now - self.began).saturating_sub(met) > CALM {
                self.end(of);
            }
        }
    }

    fn end(&self, of: Scarce) {
        if self.shortage(of).now.swap(false, Relaxed) {
            tracing::info!(%of, "no longer short");
            if of == Scarce::Connections {
                self.datagram_room.store(false, Relaxed);
            }
        }
    }

    fn shortage(&self, of: Scarce) -> &Shortage {
        match of {
            Scarce::Memory => &self.memory,
            Scarce::Descriptors => &self.descriptors,
            Scarce::Connections => &self.connections,
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_from_nine_tenths_until_below_eight() {
        let now = Instant::now();
        let pressure = Pressure::new(now);
        pressure.look(u64::MAX, now);
        assert!(!pressure.ends_idle(), "without a limit it is never short");
        pressure.bound_memory(Some(1000));
        for (resident, short) in [(899, false), (900, true), (800, true), (799, false), (899, false), (5000, true)] {
            pressure.look(resident, now);
            assert_eq!(pressure.is_short(Scarce::Memory), short, "{resident}");
        }
        pressure.bound_memory(None);
        assert!(pressure.wants_memory(), "it is to be noticed that it is over");
        pressure.look(5000, now);
        assert!(!pressure.ends_idle() && !pressure.wants_memory());
    }

    #[test]
    fn too_much_is_told_while_memory_is_short() {
        let now = Instant::now();
        let pressure = Pressure::new(now);
        pressure.bound_memory(Some(1000));
        for (resident, excess, full) in [(899, 0, false), (900, 100, false), (1000, 200, true), (850, 50, false)] {
            let (before, _) = pressure.excess();
            pressure.look(resident, now);
            assert_eq!(pressure.excess(), (before + 1, excess), "{resident}");
            assert_eq!(pressure.is_full(), full, "{resident}");
        }
        pressure.look(799, now);
        assert_eq!(pressure.excess().1, 0);
        assert!(pressure.is_near(500) && !pressure.is_near(499));
    }

    #[test]
    fn what_nobody_meets_any_more_is_over_after_a_while() {
        let began = Instant::now();
        let pressure = Pressure::new(began);
        let at = |millis| began + Duration::from_millis(millis);
        pressure.meet(Scarce::Descriptors, at(1000));
        pressure.look(0, at(2900));
        assert!(pressure.is_short(Scarce::Descriptors) && !pressure.is_short(Scarce::Connections));
        pressure.meet(Scarce::Descriptors, at(2950));
        pressure.look(0, at(4900));
        assert!(pressure.is_short(Scarce::Descriptors));
        pressure.look(0, at(4951));
        assert!(!pressure.is_short(Scarce::Descriptors));
    }

    #[test]
    fn connections_end_only_where_a_client_waits_in_vain() {
        let pressure = Pressure::new(Instant::now());
        let mut first = pressure.want(Scarce::Connections);
        first.gets(1);
        first.gets(0);
        assert!(pressure.is_wanted(Scarce::Connections) && !pressure.is_wanted(Scarce::Descriptors));
        assert!(!pressure.ends_idle(), "what idles makes room first");
        first.gets(0);
        assert!(pressure.ends_idle());
        drop(first);
        assert!(!pressure.ends_idle() && !pressure.is_wanted(Scarce::Connections));
    }
}
