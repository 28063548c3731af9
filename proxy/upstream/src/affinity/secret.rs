//! The secret of the process: what marks are sealed with where the configuration names none, and what keys of
//! sessions are digested with.

use std::sync::OnceLock;

use aws_lc_rs::{
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Salt},
    rand,
};

static PROCESS_SECRET: OnceLock<ProcessSecret> = OnceLock::new();

/// The secret of a process.
pub type ProcessSecret = [u8; 32];

/// The secret of this process: drawn at random when it is first asked for, unless it was inherited.
pub fn process_secret() -> &'static ProcessSecret {
    PROCESS_SECRET.get_or_init(|| {
        let mut secret = [0; 32];
        random(&mut secret);
        secret
    })
}

/// Take the secret of the process whose place this one takes, so that its sessions go on. To be called before
/// anything is built; false when it is too late.
pub fn inherit_secret(secret: ProcessSecret) -> bool {
    PROCESS_SECRET.set(secret).is_ok()
}

/// What a secret gives for a purpose.
pub(super) fn expand(secret: &[u8], purpose: &[&[u8]], bytes: &mut [u8]) -> Result<(), Unspecified> {
    let extracted = Salt::new(HKDF_SHA256, &[]).extract(secret);
    extracted.expand(purpose, Length(bytes.len()))?.fill(bytes)
}

/// Length of what is expanded.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[expect(clippy::expect_used, reason = "without chance nothing can be sealed")]
pub(super) fn random(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the system gives random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_of_a_process_is_one_and_random() {
        let secret = process_secret();
        assert_eq!(process_secret(), secret);
        assert_ne!(secret, &[0; 32]);
        assert!(!inherit_secret([1; 32]), "it is in use");
    }
}
