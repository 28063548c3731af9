//! Stand-ins for the host in native tests. Each thread, and so each test, has a host of its own: time
//! moves only when told to, chance is a fixed sequence, and what was logged and counted can be read.
//!
//! ```
//! use std::time::Duration;
//! use weir_sdk::{clock, kv, log, metrics, testing};
//!
//! log::warn("slow");
//! metrics::count("slow", 2);
//! kv::set("seen", b"yes", Duration::from_secs(5)).unwrap();
//! testing::advance(Duration::from_secs(6));
//!
//! assert_eq!(testing::lines(), [(log::Level::Warn, "slow".to_owned())]);
//! assert_eq!(testing::counter("slow"), 2);
//! assert_eq!(kv::get("seen"), None);
//! assert_eq!(clock::monotonic(), Duration::from_secs(6));
//! ```

use std::{cell::RefCell, collections::HashMap, time::Duration};

use crate::{hash, log::Level};

thread_local! {
    static HOST: RefCell<Host> = RefCell::new(Host::default());
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) lines: Vec<(Level, String)>,
    pub(crate) counters: HashMap<String, u64>,
    pub(crate) gauges: HashMap<String, f64>,
    pub(crate) observed: HashMap<String, Vec<f64>>,
    pub(crate) wall: Duration,
    pub(crate) monotonic: Duration,
    pub(crate) values: HashMap<String, (Vec<u8>, Duration)>,
    seed: u64,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            lines: Vec::new(),
            counters: HashMap::new(),
            gauges: HashMap::new(),
            observed: HashMap::new(),
            wall: Duration::from_secs(1_700_000_000),
            monotonic: Duration::ZERO,
            values: HashMap::new(),
            seed: 1,
        }
    }
}

impl Host {
    pub(crate) fn number(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash::mix(self.seed)
    }

    pub(crate) fn value(&self, key: &str) -> Option<Vec<u8>> {
        let (value, until) = self.values.get(key)?;
        (*until > self.monotonic).then(|| value.clone())
    }

    pub(crate) fn keep(&mut self, key: &str, value: Vec<u8>, ttl: u32) -> Result<(), String> {
        if key.len() > 256 {
            return Err("a key has at most 256 bytes".into());
        }
        if value.len() > 4096 {
            return Err("a value has at most 4096 bytes".into());
        }
        let until = self.monotonic + Duration::from_secs(u64::from(ttl));
        self.values.insert(key.into(), (value, until));
        Ok(())
    }

    pub(crate) fn add(&mut self, key: &str, by: i64, ttl: u32) -> Result<i64, String> {
        let before = match self.value(key) {
            Some(value) => String::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .ok_or("the value is not a number")?,
            None => 0,
        };
        let sum = before.saturating_add(by);
        self.keep(key, sum.to_string().into_bytes(), ttl)?;
        Ok(sum)
    }
}

pub(crate) fn with<T>(action: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with_borrow_mut(action)
}

/// Start again with a fresh host.
pub fn reset() {
    with(|host| *host = Host::default());
}

/// Let time pass on both clocks.
pub fn advance(time: Duration) {
    with(|host| {
        host.wall += time;
        host.monotonic += time;
    });
}

/// Another sequence of random numbers.
pub fn seed(seed: u64) {
    with(|host| host.seed = seed);
}

/// All that was logged.
pub fn lines() -> Vec<(Level, String)> {
    with(|host| host.lines.clone())
}

/// Sum of a counter.
pub fn counter(name: &str) -> u64 {
    with(|host| host.counters.get(name).copied().unwrap_or_default())
}

/// Value of a gauge, once set.
pub fn gauge(name: &str) -> Option<f64> {
    with(|host| host.gauges.get(name).copied())
}

/// All that a histogram observed.
pub fn observed(name: &str) -> Vec<f64> {
    with(|host| host.observed.get(name).cloned().unwrap_or_default())
}
