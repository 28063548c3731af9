//! Times in buckets whose width is an eighth of the power of two they lie in: what is read from them
//! is at most 12.5 % off, from a microsecond to four hours.

/// Buckets of an octave.
const PARTS: u64 = 8;
/// Bits that tell the parts of an octave apart.
const PART_BITS: u32 = 3;
/// How many buckets there are; the last takes whatever is longer.
pub const BUCKETS: usize = 256;

/// The bucket of a time in microseconds.
pub fn bucket(micros: u64) -> usize {
    if micros < PARTS {
        return micros as usize;
    }
    let octave = micros.ilog2() - PART_BITS;
    let part = (micros >> octave) - PARTS;
    ((u64::from(octave) + 1) * PARTS + part).min(BUCKETS as u64 - 1) as usize
}

/// The shortest time of a bucket, in microseconds.
fn lower(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PARTS {
        return bucket;
    }
    let (octave, part) = (bucket / PARTS - 1, bucket % PARTS);
    (PARTS + part) << octave
}

/// How many times fell into each bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latencies(pub [u64; BUCKETS]);

impl Default for Latencies {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Latencies {
    /// What came after `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut later = self.clone();
        later.0.iter_mut().zip(&earlier.0).for_each(|(count, before)| *count = count.saturating_sub(*before));
        later
    }

    /// How many times there are.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time that so many percent do not exceed, in microseconds; none where there are none.
    pub fn percentile(&self, percent: u32) -> Option<u64> {
        let wanted = (self.count() * u64::from(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        self.0.iter().enumerate().find_map(|(bucket, count)| {
            seen += count;
            (seen >= wanted).then(|| lower(bucket + 1) - 1)
        })
    }

    /// How many surely exceed a time in microseconds.
    pub(crate) fn above(&self, micros: u64) -> u64 {
        self.0.iter().enumerate().filter(|(bucket, _)| lower(*bucket) > micros).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_lies_in_its_bucket(micros in 0_u64..17_000_000_000) {
            let bucket = bucket(micros);
            prop_assert!(lower(bucket) <= micros && micros < lower(bucket + 1), "{micros} in {bucket}");
            prop_assert!(lower(bucket + 1) - lower(bucket) <= 1 + micros / 8);
        }

        #[test]
        fn percentiles_are_near(mut times in prop::collection::vec(1_u64..10_000_000, 1..200), percent in 50_u32..100) {
            let mut all = Latencies::default();
            times.iter().for_each(|time| all.0[bucket(*time)] += 1);
            times.sort_unstable();
            let exact = times[(times.len() * percent as usize).div_ceil(100) - 1];
            let found = all.percentile(percent).unwrap();
            prop_assert!(exact <= found && found <= exact + exact / 8 + 1, "{found} for {exact}");
            prop_assert!(all.above(found) as usize <= times.len() * (100 - percent as usize) / 100);
        }
    }

    #[test]
    fn the_longest_times_are_kept_too() {
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(Latencies::default().percentile(99), None);
    }
}
