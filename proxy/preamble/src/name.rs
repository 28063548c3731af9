//! Names of hosts as clients ask for them: written in one way, so that they can be compared.

const LONGEST: usize = 253;

/// The name in lower case and without a dot at its end; none where the octets cannot be a host's name.
pub(crate) fn host_name(octets: &[u8]) -> Option<String> {
    let name = octets.strip_suffix(b".").unwrap_or(octets);
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    let right = (1..=LONGEST).contains(&name.len()) && name.iter().all(fits);
    right.then(|| name.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect())
}
