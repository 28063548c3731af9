//! CRC32c (Castagnoli), reflected, as TLV 0x03 wants it.

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The checksum of all of `octets`.
pub(super) fn crc32c<'a>(octets: impl IntoIterator<Item = &'a u8>) -> u32 {
    !octets.into_iter().fold(!0, |crc, octet| step(crc ^ u32::from(*octet)))
}

/// Eight bits through the register.
fn step(crc: u32) -> u32 {
    (0..8).fold(crc, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b""), 0);
    }
}
