//! What clients are told of limits: the fields of draft-ietf-httpapi-ratelimit-headers-11.
//!
//! A policy says how much there is in how many whole seconds, so that the average is right: for a bucket those
//! are the seconds in which its burst comes back, if that takes longer than what the rate is given for.

use std::{fmt::Write, time::Duration};

use weir_config::{Algorithm, Rate};

use crate::{
    limit::{Limit, Refused, Taken},
    quota::Quota,
};

/// Append a limit to a value of `RateLimit-Policy`.
pub fn announce_policy(limit: &Limit, value: &mut String) {
    let config = limit.config();
    if let Some(rate) = &config.rate {
        let (quota, seconds) = policy(rate);
        separate(value);
        let _ = write!(value, "\"{}\";q={quota};w={seconds}", config.name);
    }
    if let Some(most) = config.max_in_flight {
        separate(value);
        let _ = write!(value, "\"{}:in-flight\";q={most};qu=\"concurrent-requests\"", config.name);
    }
}

/// Append what is left of a limit to a value of `RateLimit`.
pub fn announce_quota(limit: &Limit, taken: Result<&Taken, Refused>, value: &mut String) {
    let config = limit.config();
    let quota = match taken {
        Ok(taken) => taken.quota,
        Err(Refused::Rate(until)) => Some(Quota { remaining: 0, until }),
        Err(Refused::Busy | Refused::Full) => None,
    };
    if let Some(quota) = quota {
        separate(value);
        let _ = write!(value, "\"{}\";r={};t={}", config.name, quota.remaining, whole_seconds(quota.until));
    }
    let free = match (taken, config.max_in_flight) {
        (Ok(Taken { in_flight: Some(number), .. }), Some(most)) => Some(most.saturating_sub(*number)),
        (Err(Refused::Busy | Refused::Full), _) => Some(0),
        _ => None,
    };
    if let Some(free) = free {
        separate(value);
        let _ = write!(value, "\"{}:in-flight\";r={free}", config.name);
    }
}

/// How many seconds a wait is; begun ones count.
pub fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn separate(value: &mut String) {
    if !value.is_empty() {
        value.push_str(", ");
    }
}

fn policy(rate: &Rate) -> (u128, u64) {
    let burst = match rate.algorithm {
        Algorithm::TokenBucket { burst } => burst,
        Algorithm::SlidingWindow => rate.count,
    };
    let (count, per) = (u128::from(rate.count.max(1)), rate.per.as_nanos().max(1));
    let refill = (u128::from(burst) * per).div_ceil(count).max(per);
    let seconds = u64::try_from(refill.div_ceil(1_000_000_000)).unwrap_or(u64::MAX).max(1);
    (u128::from(seconds) * 1_000_000_000 * count / per, seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(count: u32, millis: u64, burst: u32) -> Rate {
        Rate { count, per: Duration::from_millis(millis), algorithm: Algorithm::TokenBucket { burst } }
    }

    #[test]
    fn a_policy_has_the_average_of_its_rate() {
        assert_eq!(policy(&rate(100, 1_000, 200)), (200, 2));
        assert_eq!(policy(&rate(100, 1_000, 5)), (100, 1));
        assert_eq!(policy(&rate(600, 60_000, 10)), (600, 60));
        assert_eq!(policy(&rate(5, 10_000, 5)), (5, 10));
        assert_eq!(policy(&rate(1, 100, 1)), (10, 1));
        assert_eq!(policy(&rate(3, 1_500, 3)), (4, 2));
        assert_eq!(policy(&Rate { algorithm: Algorithm::SlidingWindow, ..rate(100, 60_000, 0) }), (100, 60));
    }

    #[test]
    fn seconds_that_have_begun_count() {
        assert_eq!(whole_seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(1)), 1);
        assert_eq!(whole_seconds(Duration::ZERO), 0);
    }
}
