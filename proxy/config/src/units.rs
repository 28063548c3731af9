//! Durations and sizes as text: `1h30m`, `16MiB`.

use std::time::Duration;

use crate::model::ByteSize;

const SECOND: u64 = 1_000_000_000;

/// Units of a duration in nanoseconds.
const TIMES: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", 86_400 * SECOND),
];

/// Units of a size in bytes, in lower case.
const SIZES: [(&str, u64); 11] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
];

/// Whole numbers, each with a unit, the larger units first: `30s`, `5ms`, `1h30m`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total: u64 = 0;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = number(rest)?;
        let (unit, after) = unit(after);
        let (_, nanos) = TIMES.iter().find(|(name, _)| *name == unit)?;
        if *nanos >= smallest {
            return None;
        }
        smallest = *nanos;
        total = total.checked_add(number.checked_mul(*nanos)?)?;
        rest = after;
    }
    (smallest < u64::MAX).then(|| Duration::from_nanos(total))
}

/// So many in a time: `100/s`, `5/10s`.
pub(crate) fn rate(text: &str) -> Option<(u32, Duration)> {
    let (count, per) = text.split_once('/')?;
    let (count, "") = number(count.trim())? else { return None };
    let count = u32::try_from(count).ok()?;
    let per = per.trim();
    let per = if per.starts_with(|c: char| c.is_ascii_digit()) { duration(per) } else { duration(&format!("1{per}")) };
    Some((count, per?))
}

/// A whole number with a unit: `64k` and `64KiB` are 65,536 bytes, `64KB` is 64,000.
pub(crate) fn size(text: &str) -> Option<ByteSize> {
    let (number, after) = number(text.trim())?;
    let unit = after.trim_start().to_lowercase();
    let (_, bytes) = SIZES.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*bytes).map(ByteSize)
}

/// `30s`, `1h30m`
pub(crate) fn show_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut shown = String::new();
    for (unit, nanos) in TIMES.iter().rev() {
        if rest >= *nanos {
            shown.push_str(&format!("{}{unit}", rest / nanos));
            rest %= nanos;
        }
    }
    shown
}

/// `16MiB`, or bytes when it is not a whole number of a unit.
pub(crate) fn show_size(size: ByteSize) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let whole = |(_, bytes): &&(&str, u64)| size.0 >= *bytes && size.0.is_multiple_of(*bytes);
    match units.iter().find(whole) {
        Some((unit, bytes)) => format!("{}{unit}", size.0 / bytes),
        None => format!("{}B", size.0),
    }
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

fn unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(duration("5ms"), Some(Duration::from_millis(5)));
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        for wrong in ["", "30", "s", "1.5s", "-1s", "1m1h", "1s1s", "1 s", "3w", "99999999999d"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!(rate("100/s"), Some((100, Duration::from_secs(1))));
        assert_eq!(rate("5 / 10s"), Some((5, Duration::from_secs(10))));
        assert_eq!(rate("1/500ms"), Some((1, Duration::from_millis(500))));
        for wrong in ["", "100", "/s", "100/", "1.5/s", "-1/s", "+1/s", "100/second", "1/s/s", "99999999999/s"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("16MiB"), Some(ByteSize(16 << 20)));
        assert_eq!(size("64k"), Some(ByteSize(65_536)));
        assert_eq!(size("64KB"), Some(ByteSize(64_000)));
        assert_eq!(size("512"), Some(ByteSize(512)));
        for wrong in ["", "MiB", "1.5MiB", "-1k", "1TiB?", "99999999999GiB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(nanos in 0..u64::MAX, bytes in any::<u64>()) {
            let time = Duration::from_nanos(nanos);
            prop_assert_eq!(duration(&show_duration(time)), Some(time));
            prop_assert_eq!(size(&show_size(ByteSize(bytes))), Some(ByteSize(bytes)));
        }
    }
}
