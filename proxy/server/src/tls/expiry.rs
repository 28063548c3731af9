//! When to tell that certificates expire.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Certificate, Validity,
    certificate::{day, left, second},
};

const DAY: Duration = Duration::from_secs(86_400);
/// Before the end of a certificate that lives long.
const NEAR: Duration = Duration::from_secs(30 * 86_400);

impl Validity {
    /// Whether it ends so soon that somebody should have renewed it: within 30 days, or a third of a life
    /// that is shorter than 90.
    pub fn is_near_its_end(&self, now: SystemTime) -> bool {
        let life = self.until.duration_since(self.from).unwrap_or_default();
        now + NEAR.min(life / 3) > self.until
    }

    /// What people should know of it, if there is something.
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        if let Some(fault) = self.fault(now) {
            return Some(fault);
        }
        let days = left(now, self.until) / 86_400;
        self.is_near_its_end(now).then(|| match days {
            0 => format!("expires on {}", second(self.until)),
            1 => format!("expires on {}, tomorrow", day(self.until)),
            _ => format!("expires on {}, in {days} days", day(self.until)),
        })
    }
}

/// Remembers what was told: each certificate that is about to expire is mentioned once a day.
#[derive(Debug, Default)]
pub struct Expiry {
    told: HashMap<Arc<str>, SystemTime>,
}

impl Expiry {
    /// What is to be said of a certificate now.
    pub fn due(&mut self, now: SystemTime, certificate: &Certificate) -> Option<String> {
        self.told.retain(|_, at| now.duration_since(*at).is_ok_and(|ago| ago < DAY));
        if self.told.contains_key(&certificate.fingerprint) {
            return None;
        }
        let warning = certificate.validity.warning(now)?;
        self.told.insert(Arc::clone(&certificate.fingerprint), now);
        Some(warning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::resolver::tests::ec;

    fn after(days: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * u32::try_from(days).unwrap()
    }

    fn valid(from: u64, until: u64) -> Validity {
        Validity { from: after(from), until: after(until) }
    }

    #[test]
    fn people_are_told_a_month_before_or_in_the_last_third() {
        let year = valid(1000, 1365);
        assert_eq!(
            (year.warning(after(1335)), year.warning(after(999))),
            (None, Some("is not valid before 1972-09-27T00:00:00Z".into()))
        );
        assert_eq!(year.warning(after(1336)).unwrap(), "expires on 1973-09-27, in 29 days");
        assert_eq!(year.warning(after(1364)).unwrap(), "expires on 1973-09-27, tomorrow");
        assert_eq!(year.warning(after(1365)).unwrap(), "expires on 1973-09-27T00:00:00Z");
        assert_eq!(year.warning(after(1366)).unwrap(), "expired on 1973-09-27");
        let week = valid(1000, 1006);
        assert_eq!((week.is_near_its_end(after(1004)), week.is_near_its_end(after(1005))), (false, true));
    }

    #[test]
    fn a_certificate_is_mentioned_once_a_day() {
        let mut expiry = Expiry::default();
        let certificate = Certificate { validity: valid(1000, 1365), ..Arc::into_inner(ec("a", &["a.test"])).unwrap() };
        let mut told = |now| expiry.due(now, &certificate).is_some();
        assert!(!told(after(1300)));
        assert!(told(after(1340)) && !told(after(1340) + DAY / 2));
        assert!(told(after(1341)) && !told(after(1341)));
    }
}
