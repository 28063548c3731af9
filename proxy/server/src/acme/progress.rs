//! What has become of a certificate so far, and when it is ordered next.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::tls::Validity;

/// After the first failure; each further one doubles it. Authorities that count failures within an hour
/// see four in the first.
const FIRST_RETRY: Duration = Duration::from_secs(5 * 60);
/// Longest pause between attempts, unless the authority asks for a longer one.
const MOST_RETRY: Duration = Duration::from_secs(12 * 3_600);
/// Longest pause that an authority can ask for.
const MOST_ASKED: Duration = Duration::from_secs(7 * 86_400);

/// What a certificate is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is none yet.
    Wanted,
    /// There is one.
    Valid,
    /// There was one.
    Expired,
}

impl State {
    /// As on the status page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Valid => "valid",
            Self::Expired => "expired",
        }
    }
}

/// What has become of a certificate so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Of the one there is.
    pub validity: Option<Validity>,
    /// When that was obtained.
    pub obtained: Option<SystemTime>,
    /// When it is ordered next.
    pub next: SystemTime,
    /// Until when the authority has asked to be left alone.
    pub quiet: Option<SystemTime>,
    /// Attempts that failed since one succeeded.
    pub failures: u32,
    /// Why the last of them did.
    pub why: Option<String>,
    /// Orders that succeeded, and those that failed, since the process began.
    pub orders: [u64; 2],
}

/// What failures have come to. It is kept, so that a process which starts again and again does not ask again
/// and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setback {
    failures: u32,
    next: SystemTime,
    quiet: Option<SystemTime>,
    why: String,
}

impl Progress {
    /// Of one that there is not: it is ordered at once.
    pub fn none(now: SystemTime) -> Self {
        Self { validity: None, obtained: None, next: now, quiet: None, failures: 0, why: None, orders: [0, 0] }
    }

    /// Of one that was obtained earlier.
    pub fn kept(validity: Validity, obtained: SystemTime, before: Option<Duration>, chance: f64) -> Self {
        let (validity, next) = (Some(validity), renewal(validity, before, chance));
        Self { validity, obtained: Some(obtained), ..Self::none(next) }
    }

    /// Another one is there. `chance` is a number in `0.0..1.0`.
    pub fn succeed(&mut self, validity: Validity, now: SystemTime, before: Option<Duration>, chance: f64) {
        let [succeeded, failed] = self.orders;
        *self = Self {
            // An authority whose certificates have next to no life is not asked more often for that.
            next: renewal(validity, before, chance).max(now + FIRST_RETRY),
            orders: [succeeded + 1, failed],
            ..Self::kept(validity, now, before, chance)
        };
    }

    /// An attempt failed; the authority may have asked for patience.
    pub fn fail(&mut self, why: String, asked: Option<Duration>, now: SystemTime, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        let doubled = FIRST_RETRY.saturating_mul(1_u32 << (self.failures - 1).min(16));
        let pause = spread(doubled.min(MOST_RETRY), chance);
        let asked = asked.map(|asked| asked.min(MOST_ASKED));
        self.next = now + pause.max(asked.unwrap_or_default());
        self.quiet = asked.map(|asked| now + asked);
        self.why = Some(why);
        let [_, failed] = &mut self.orders;
        *failed += 1;
    }

    /// What failures have come to; none since one succeeded.
    pub fn setback(&self) -> Option<Setback> {
        let why = self.why.clone()?;
        Some(Setback { failures: self.failures, next: self.next, quiet: self.quiet, why })
    }

    /// Go on from where a former process failed.
    pub fn resume(&mut self, former: Setback) {
        self.next = self.next.max(former.next);
        (self.failures, self.quiet, self.why) = (former.failures, former.quiet, Some(former.why));
    }

    /// Be due now.
    ///
    /// # Errors
    /// Until when the authority has asked to be left alone.
    pub fn hurry(&mut self, now: SystemTime) -> Result<(), SystemTime> {
        match self.quiet.filter(|until| *until > now) {
            Some(until) => Err(until),
            None => {
                self.next = now;
                Ok(())
            }
        }
    }

    /// What there is now.
    pub fn state(&self, now: SystemTime) -> State {
        match self.validity {
            None => State::Wanted,
            Some(validity) if now < validity.until => State::Valid,
            Some(_) => State::Expired,
        }
    }
}

/// When to renew: so long before its end, a third of its lifetime where nothing else is said, and never in
/// the first part of its life. Chance keeps certificates of one day from being due at one moment.
fn renewal(validity: Validity, before: Option<Duration>, chance: f64) -> SystemTime {
    let lifetime = validity.until.duration_since(validity.from).unwrap_or_default();
    let before = before.unwrap_or(lifetime / 3).min(lifetime / 2);
    validity.until.checked_sub(spread(before, chance)).unwrap_or(validity.from)
}

/// A tenth more or less.
fn spread(duration: Duration, chance: f64) -> Duration {
    duration.mul_f64(0.9 + 0.2 * chance)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(days: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * days
    }

    fn validity(days: u32) -> Validity {
        Validity { from: at(1_000), until: at(1_000 + days) }
    }

    #[test]
    fn a_third_of_the_lifetime_before_its_end_a_certificate_is_due() {
        let kept = |days, before, chance| Progress::kept(validity(days), at(1_000), before, chance).next;
        assert_eq!(kept(90, None, 0.5), at(1_060));
        assert_eq!(kept(90, None, 0.0), at(1_063));
        assert_eq!(kept(6, None, 0.5), at(1_004));
        assert_eq!(kept(90, Some(DAY * 10), 0.5), at(1_080));
        assert_eq!(kept(90, Some(DAY * 200), 0.5), at(1_045), "no later than at half of it, no earlier either");
    }

    #[test]
    fn pauses_between_failures_double_up_to_a_half_day() {
        let mut progress = Progress::none(at(0));
        assert_eq!((progress.next, progress.state(at(0))), (at(0), State::Wanted));
        let mut now = at(0);
        let pauses: Vec<u64> = (0..12)
            .map(|_| {
                progress.fail("no".to_owned(), None, now, 0.5);
                let pause = progress.next.duration_since(now).unwrap();
                now = progress.next;
                pause.as_secs() / 60
            })
            .collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 720, 720, 720, 720]);
        assert_eq!((progress.failures, progress.orders), (12, [0, 12]));
        progress.succeed(validity(90), now, None, 0.5);
        assert_eq!((progress.failures, progress.why.as_deref(), progress.orders), (0, None, [1, 12]));
        assert_eq!((progress.next, progress.state(now)), (at(1_060), State::Valid));
        assert_eq!(progress.state(at(1_090)), State::Expired);
    }

    #[test]
    fn an_authority_that_asks_for_patience_gets_it() {
        let mut progress = Progress::none(at(0));
        progress.fail("rate limited".to_owned(), Some(DAY * 2), at(0), 0.5);
        assert_eq!(progress.next, at(2));
        assert_eq!((progress.hurry(at(1)), progress.next), (Err(at(2)), at(2)), "from operators, too");
        progress.fail("rate limited".to_owned(), Some(DAY * 1_000), at(2), 0.5);
        assert_eq!(progress.next, at(9), "within reason");
        progress.fail("rate limited".to_owned(), Some(Duration::from_secs(1)), at(9), 0.5);
        assert_eq!(progress.next, at(9) + FIRST_RETRY * 4);
    }

    #[test]
    fn another_process_is_no_reason_to_ask_sooner() {
        let mut former = Progress::none(at(0));
        assert_eq!(former.setback(), None);
        (0..3).for_each(|_| former.fail("no".to_owned(), Some(DAY), at(0), 0.5));
        let kept = serde_json::to_string(&former.setback().unwrap()).unwrap();
        let mut progress = Progress::none(at(0) + DAY / 2);
        progress.resume(serde_json::from_str(&kept).unwrap());
        assert_eq!((progress.next, progress.failures, progress.why.as_deref()), (at(1), 3, Some("no")));
        assert_eq!((progress.hurry(at(0)), progress.orders), (Err(at(1)), [0, 0]));
        progress.fail("no".to_owned(), None, at(1), 0.5);
        assert_eq!(progress.next, at(1) + FIRST_RETRY * 8);
        let mut later = Progress::kept(validity(90), at(1_000), None, 0.5);
        later.resume(former.setback().unwrap());
        assert_eq!(later.next, at(1_060), "nor sooner than it is due");
    }

    #[test]
    fn an_operator_has_it_ordered_at_once() {
        let mut progress = Progress::kept(validity(90), at(1_000), None, 0.5);
        assert_eq!((progress.hurry(at(1_010)), progress.next), (Ok(()), at(1_010)));
        progress.fail("no".to_owned(), None, at(1_010), 0.5);
        assert_eq!(progress.next, at(1_010) + FIRST_RETRY);
        assert_eq!((progress.hurry(at(1_010)), progress.next), (Ok(()), at(1_010)));
    }

    #[test]
    fn certificates_with_next_to_no_life_are_not_ordered_without_a_pause() {
        let mut progress = Progress::none(at(0));
        let instant = Validity { from: at(1), until: at(1) + Duration::from_secs(1) };
        progress.succeed(instant, at(1), None, 0.5);
        assert_eq!(progress.next, at(1) + FIRST_RETRY);
    }

    proptest! {
        #[test]
        fn a_renewal_is_due_within_the_second_half_of_a_life(
            days in 1_u32..4_000,
            before in proptest::option::of(1_u64..400_000_000),
            chance in 0.0..1.0,
        ) {
            let validity = validity(days);
            let due = renewal(validity, before.map(Duration::from_secs), chance);
            let lifetime = DAY * days;
            prop_assert!(due <= validity.until && due >= validity.from + lifetime.mul_f64(0.44), "{due:?}");
        }
    }
}
