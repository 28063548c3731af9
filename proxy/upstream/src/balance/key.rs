//! Hashes of keys and of endpoints: the same in every worker and in every process.

use md5::{Digest, Md5};

/// The hash of a request's key: the first eight octets of its MD5, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(u64);

impl KeyHash {
    /// Of a key.
    pub fn of(key: &[u8]) -> Self {
        let [first, _] = digest(key);
        Self(first)
    }

    /// Its place on a ring: the first four octets of the MD5, little-endian.
    pub(super) fn place(self) -> u32 {
        self.0 as u32
    }

    /// A number for each step of a walk, and for each of whatever else is to be told apart.
    pub(super) fn mixed(self, with: u64) -> u64 {
        let mut mixed = self.0.wrapping_add(with.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The MD5 as two little-endian numbers.
pub(super) fn digest(text: &[u8]) -> [u64; 2] {
    let whole = u128::from_le_bytes(Md5::digest(text).into());
    [whole as u64, (whole >> 64) as u64]
}
