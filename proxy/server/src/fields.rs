//! Header fields that endpoints believe, and clients may therefore not send.

use http::{HeaderMap, HeaderName};

/// Remove the fields of these names. An underscore counts as a hyphen, as it does for many programs behind us.
pub fn remove(headers: &mut HeaderMap, names: &[HeaderName]) {
    // Nearly never is one of them there.
    let is_one = |name: &&HeaderName| names.iter().any(|one| is_same(one.as_str(), name.as_str()));
    let found: Vec<HeaderName> = headers.keys().filter(is_one).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Remove fields that programs behind us take for those of these names, and that do not have these names.
pub fn remove_disguised(headers: &mut HeaderMap, names: &[HeaderName]) {
    let is_one = |name: &&HeaderName| {
        name.as_str().contains('_') && names.iter().any(|one| one != *name && is_same(one.as_str(), name.as_str()))
    };
    let found: Vec<HeaderName> = headers.keys().filter(is_one).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

fn is_same(one: &str, other: &str) -> bool {
    let hyphen = |octet: u8| if octet == b'_' { b'-' } else { octet };
    one.len() == other.len() && one.bytes().map(hyphen).eq(other.bytes().map(hyphen))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_underscore_hides_no_field() {
        let mut headers: HeaderMap = ["x-client", "x_client", "x-clients", "client"]
            .into_iter()
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1")))
            .collect();
        remove(&mut headers, &[HeaderName::from_static("x-client")]);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["client", "x-clients"]);
    }
}
