//! Reading a claim of a JSON Web Token (RFC 7519) without verifying it: enough to keep a session together,
//! never to trust what it says.

use serde_json::Value;

/// A claim as text: by its name, or by a JSON pointer where it starts with `/`.
pub fn claim(token: &str, claim: &str) -> Option<String> {
    let payload = token.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&base64url(payload)?).ok()?;
    let value = match claim.starts_with('/') {
        true => claims.pointer(claim)?,
        false => claims.get(claim)?,
    };
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// RFC 4648 section 5, without padding.
fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut held, mut bits) = (0u32, 0u32);
    for symbol in text.bytes() {
        held = held << 6 | u32::from(sextet(symbol)?);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

fn sextet(symbol: u8) -> Option<u8> {
    match symbol {
        b'A'..=b'Z' => Some(symbol - b'A'),
        b'a'..=b'z' => Some(symbol - b'a' + 26),
        b'0'..=b'9' => Some(symbol - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{base64url, claim};

    #[test]
    fn decodes_base64url() {
        assert_eq!(base64url("").unwrap(), b"");
        assert_eq!(base64url("Zg").unwrap(), b"f");
        assert_eq!(base64url("Zm9vYmE").unwrap(), b"fooba");
        assert_eq!(base64url("-_8").unwrap(), [0xfb, 0xff]);
        assert_eq!(base64url("Zg=="), None);
    }

    #[test]
    fn reads_claims_by_name_and_by_pointer() {
        // {"sub":"ada","n":7,"org":{"id":"acme"}}
        let token = "e30.eyJzdWIiOiJhZGEiLCJuIjo3LCJvcmciOnsiaWQiOiJhY21lIn19.c2ln";
        assert_eq!(claim(token, "sub").as_deref(), Some("ada"));
        assert_eq!(claim(token, "n").as_deref(), Some("7"));
        assert_eq!(claim(token, "/org/id").as_deref(), Some("acme"));
        assert_eq!(claim(token, "org"), None);
        assert_eq!(claim("no token", "sub"), None);
    }
}
