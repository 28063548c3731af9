//! RFC 3339 time in UTC with microseconds. The text of the current second is kept, so that a line
//! costs six digits.

use std::time::{SystemTime, UNIX_EPOCH};

/// `2026-01-31T23:59:59.`
const SECOND: usize = 20;

/// Writes times; remembers the last second's text.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: Option<u64>,
    text: [u8; SECOND],
}

impl Clock {
    /// Appends the time; times before 1970 are written as its beginning.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != Some(since.as_secs()) {
            self.second = Some(since.as_secs());
            self.text = second_text(since.as_secs());
        }
        out.extend_from_slice(&self.text);
        out.extend_from_slice(&digits::<6>(u64::from(since.subsec_micros())));
        out.push(b'Z');
    }
}

/// A time as the access log writes it: `2026-01-31T23:59:59.000000Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let mut out = Vec::with_capacity(SECOND + 7);
    Clock::default().write(&mut out, time);
    String::from_utf8_lossy(&out).into_owned()
}

fn second_text(second: u64) -> [u8; SECOND] {
    let (year, month, day) = date(second / 86_400);
    let (hour, minute) = (second / 3_600 % 24, second / 60 % 60);
    let [y1, y2, y3, y4] = digits::<4>(year);
    let pairs = [month, day, hour, minute, second % 60].map(digits::<2>);
    let [[m1, m2], [d1, d2], [h1, h2], [i1, i2], [s1, s2]] = pairs;
    [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2, b'.']
}

/// Year, month and day of a number of days after 1970-01-01, in the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is a year's last; 400 years are one era.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// The last `N` decimal digits, with leading zeros.
fn digits<const N: usize>(mut number: u64) -> [u8; N] {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64, micros: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros)
    }

    #[test]
    fn known_moments() {
        assert_eq!(rfc3339(at(0, 0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(at(951_827_696, 7)), "2000-02-29T12:34:56.000007Z");
        assert_eq!(rfc3339(at(1_709_251_199, 999_999)), "2024-02-29T23:59:59.999999Z");
        assert_eq!(rfc3339(at(4_107_542_400, 0)), "2100-03-01T00:00:00.000000Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = date(0);
        for day in 1..80_000 {
            let next = date(day);
            let same_month = (last.0, last.1, last.2 + 1) == next;
            let new_month = next.2 == 1 && (next.0 * 12 + next.1) == (last.0 * 12 + last.1 + 1) && last.2 >= 28;
            assert!(same_month || new_month, "{last:?} then {next:?}");
            last = next;
        }
    }

    #[test]
    fn the_second_changes_under_a_kept_clock() {
        let mut clock = Clock::default();
        let mut out = Vec::new();
        for time in [at(59, 1), at(59, 2), at(60, 0), at(58, 0)] {
            clock.write(&mut out, time);
            out.push(b' ');
        }
        let text = String::from_utf8(out).unwrap();
        let seconds: Vec<&str> = text.split_whitespace().map(|time| &time[17..]).collect();
        assert_eq!(seconds, ["59.000001Z", "59.000002Z", "00.000000Z", "58.000000Z"]);
    }

    #[test]
    fn before_1970_is_1970() {
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(5)), rfc3339(UNIX_EPOCH));
    }
}
