//! The handshake of WebSocket over HTTP/1.1 (RFC 6455 section 4.2.2), which HTTP/2 does without.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// `Sec-WebSocket-Key` of so much chance.
pub fn key(random: [u64; 2]) -> HeaderValue {
    value(&STANDARD.encode(random.map(u64::to_le_bytes).concat()))
}

/// `Sec-WebSocket-Accept` that answers a key.
pub fn accept(key: &HeaderValue) -> HeaderValue {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID].concat());
    value(&STANDARD.encode(hash))
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_sixteen_octets() {
        assert_eq!(key([0, 0]), "AAAAAAAAAAAAAAAAAAAAAA==");
        assert_eq!(key([1, u64::MAX]), "AQAAAAAAAAD//////////w==");
    }
}
