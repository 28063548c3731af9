//! A stable 64 bit hash for spreading: the same on every worker, in every process and version of this
//! crate. It is not a defence against someone who chooses keys to collide.

/// Hash of some bytes: FNV-1a, finished so that all bits depend on all bytes.
pub fn bytes(bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    mix(hash)
}

/// Scrambles a number: the finisher of `MurmurHash3`. Different numbers stay different.
pub const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let number = (number ^ (number >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    number ^ (number >> 33)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn stays_the_same_for_ever() {
        assert_eq!(bytes(b""), 0xefd0_1f60_ba99_2926);
        assert_ne!(bytes(b"ada"), bytes(b"adb"));
    }

    #[test]
    fn spreads_similar_keys_evenly() {
        let mut buckets = [0u32; 16];
        for user in 0..16_000 {
            let bucket = bytes(format!("user-{user}").as_bytes()) % 16;
            buckets[usize::try_from(bucket).unwrap()] += 1;
        }
        assert!(buckets.iter().all(|n| (850..1150).contains(n)), "{buckets:?}");
    }
}
