//! How often requests of one key pass, by either way to count.

use std::time::Duration;

use weir_config::{Algorithm, Rate};

use crate::{
    quota::Quota,
    sliding_window::{SlidingWindow, Window},
    token_bucket::TokenBucket,
};

/// A rate as it is kept. Times are nanoseconds since any one moment.
#[derive(Debug, Clone, Copy)]
pub enum Meter {
    /// Tokens that come back one by one.
    Tokens(TokenBucket),
    /// Requests of the last so many seconds.
    Window(SlidingWindow),
}

/// What one key has used. Each meter has a part of its own.
#[derive(Debug, Default)]
pub struct Usage {
    full: u64,
    window: Option<Box<Window>>,
}

impl Meter {
    /// Of a rate as configured.
    pub fn new(rate: &Rate) -> Self {
        match rate.algorithm {
            Algorithm::TokenBucket { burst } => Self::Tokens(TokenBucket::new(rate.count, rate.per, burst)),
            Algorithm::SlidingWindow => Self::Window(SlidingWindow::new(rate.count, rate.per)),
        }
    }

    /// Let a request pass, or tell how long it would have to wait.
    pub fn take(&self, usage: &mut Usage, now: u64) -> Result<Quota, Duration> {
        match self {
            Self::Tokens(bucket) => bucket.take(&mut usage.full, now),
            Self::Window(rule) => rule.take(usage.window.get_or_insert_default(), now),
        }
    }

    /// As if the last request had not been.
    pub fn give_back(&self, usage: &mut Usage) {
        match self {
            Self::Tokens(bucket) => bucket.give_back(&mut usage.full),
            Self::Window(rule) => rule.give_back(usage.window.get_or_insert_default()),
        }
    }

    /// How much of its allowance a key has used, in a unit of the meter's; 0 is nothing.
    pub fn used(&self, usage: &Usage, now: u64) -> u64 {
        match self {
            Self::Tokens(_) => usage.full.saturating_sub(now),
            Self::Window(rule) => usage.window.as_ref().map_or(0, |window| rule.used(window, now)),
        }
    }
}
