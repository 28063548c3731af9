//! What one request may spend on plugins.

use std::time::{Duration, Instant};

/// Calls to their deadline that a request may spend, where nothing else is said.
const CALLS: u32 = 4;

/// The time that plugins may take of one request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Budget {
    /// What calls for the request have taken so far.
    pub spent: Duration,
    /// The most that they may take together; none is four times the deadline of the plugin that is asked.
    pub most: Option<Duration>,
    /// When the request has to be over.
    pub until: Option<Instant>,
}

impl Budget {
    /// How long a call may take that begins now; none when it is not to be made.
    pub(crate) fn left(&self, deadline: Duration, now: Instant) -> Option<Duration> {
        let most = self.most.unwrap_or(deadline * CALLS).saturating_sub(self.spent);
        let until = self.until.map_or(Duration::MAX, |until| until.saturating_duration_since(now));
        Some(deadline.min(most).min(until)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_call_gets_what_is_left_of_everything() {
        let now = Instant::now();
        let left = |spent, most, until: Option<u32>| {
            let until = until.map(|until| now + until * MS);
            Budget { spent: spent * MS, most, until }.left(5 * MS, now)
        };
        assert_eq!(left(0, None, None), Some(5 * MS));
        assert_eq!(left(18, None, None), Some(2 * MS));
        assert_eq!(left(20, None, None), None);
        assert_eq!(left(6, Some(7 * MS), None), Some(MS));
        assert_eq!(left(0, Some(100 * MS), Some(3)), Some(3 * MS));
        assert_eq!(left(0, None, Some(0)), None);
    }
}
