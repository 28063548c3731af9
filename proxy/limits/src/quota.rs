//! What is left of an allowance.

use std::time::Duration;

/// What is left of an allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests that may pass at once.
    pub remaining: u64,
    /// Until the allowance is whole again, or, where nothing is left, until there is one more.
    pub until: Duration,
}

/// A time in nanoseconds; the longest is some centuries.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
