//! A limit: what requests with the same key may take together, over all workers.

use std::{
    hash::{BuildHasher, DefaultHasher, Hasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use weir_config::RateLimit;

use crate::{
    meter::Meter,
    quota::{Quota, nanoseconds},
    table::{Figures, Key, Table},
};

/// A limit with what it knows of its keys.
#[derive(Debug)]
pub struct Limit {
    config: RateLimit,
    meter: Option<Meter>,
    table: Table,
    secret: RandomState,
    origin: Instant,
}

/// Why a request may not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The rate is used up for so long.
    Rate(Duration),
    /// As many requests are in flight as may be.
    Busy,
    /// There is no room for another key.
    Full,
}

/// What a request that may pass has taken.
#[derive(Debug)]
pub struct Taken {
    /// What is left of the rate, where there is one.
    pub quota: Option<Quota>,
    /// Requests of the key in flight, this one included, where their number is limited.
    pub in_flight: Option<u32>,
    /// Counts the request as in flight, and can give it back.
    pub held: Held,
}

/// A request that has passed a limit. Where requests in flight are counted, it is one until this is dropped.
#[derive(Debug)]
pub struct Held {
    limit: Arc<Limit>,
    key: Key,
}

/// A key in the making.
#[derive(Debug)]
pub struct Digest(DefaultHasher);

impl Digest {
    /// Another part, apart from those before.
    pub fn part(&mut self, octets: &[u8]) {
        self.0.write_usize(octets.len());
        self.0.write(octets);
    }

    /// A part that is not there, which differs from every one that is.
    pub fn nothing(&mut self) {
        self.0.write_usize(usize::MAX);
    }

    /// The whole key.
    pub fn key(self) -> Key {
        Key(self.0.finish())
    }
}

impl Limit {
    /// Of which nothing is used.
    pub fn new(config: &RateLimit, now: Instant) -> Self {
        let capacity = if config.key.is_empty() { 1 } else { config.capacity };
        Self {
            config: config.clone(),
            meter: config.rate.as_ref().map(Meter::new),
            table: Table::new(capacity),
            secret: RandomState::new(),
            origin: now,
        }
    }

    /// As configured.
    pub fn config(&self) -> &RateLimit {
        &self.config
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// A key to be made of its parts.
    pub fn digest(&self) -> Digest {
        Digest(self.secret.build_hasher())
    }

    /// Let a request pass.
    ///
    /// # Errors
    /// It may not, and takes nothing.
    pub fn take(self: &Arc<Self>, key: Key, now: Instant) -> Result<Taken, Refused> {
        let now = self.since(now);
        let mut shard = self.table.shard(key).ok_or(Refused::Full)?;
        let Some(entry) = shard.entry(key, self.meter.as_ref(), now) else {
            shard.figures.full += 1;
            return Err(Refused::Full);
        };
        if self.config.max_in_flight.is_some_and(|most| entry.in_flight() >= most) {
            shard.figures.busy += 1;
            return Err(Refused::Busy);
        }
        let quota = match self.meter.as_ref().map(|meter| meter.take(&mut entry.usage, now)).transpose() {
            Ok(quota) => quota,
            Err(wait) => {
                shard.figures.limited += 1;
                return Err(Refused::Rate(wait));
            }
        };
        let in_flight = self.config.max_in_flight.map(|_| entry.in_flight() + 1);
        if in_flight.is_some() {
            shard.begin(key);
        }
        shard.figures.allowed += 1;
        drop(shard);
        Ok(Taken { quota, in_flight, held: Held { limit: Arc::clone(self), key } })
    }

    /// Forget keys that have used nothing of their allowance.
    pub fn sweep(&self, now: Instant) {
        self.table.sweep(self.meter.as_ref(), self.since(now));
    }

    /// What became of requests so far.
    pub fn figures(&self) -> Figures {
        self.table.figures()
    }

    fn since(&self, now: Instant) -> u64 {
        nanoseconds(now.saturating_duration_since(self.origin))
    }
}

impl Held {
    /// The limit it has passed.
    pub fn limit(&self) -> &Arc<Limit> {
        &self.limit
    }

    /// As if the request had not been, since another limit refuses it. It stays counted as one that this limit let
    /// pass: figures never fall.
    pub fn give_back(self) {
        if let Some(meter) = &self.limit.meter
            && let Some(mut shard) = self.limit.table.shard(self.key)
            && let Some(entry) = shard.known(self.key)
        {
            meter.give_back(&mut entry.usage);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.limit.config.max_in_flight.is_some()
            && let Some(mut shard) = self.limit.table.shard(self.key)
        {
            shard.end(self.key);
        }
    }
}

#[cfg(test)]
mod tests;
