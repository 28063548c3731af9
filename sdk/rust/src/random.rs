//! Chance, from the operating system's source. Grant `random`.

/// 64 random bits.
pub fn number() -> u64 {
    #[cfg(target_arch = "wasm32")]
    return crate::wit::host::random::number();
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::with(crate::testing::Host::number)
}

/// Random bytes, at most 1,024.
pub fn bytes(len: u32) -> Vec<u8> {
    #[cfg(target_arch = "wasm32")]
    return crate::wit::host::random::bytes(len);
    #[cfg(not(target_arch = "wasm32"))]
    (0..len).map(|_| number().to_le_bytes()[0]).collect()
}
