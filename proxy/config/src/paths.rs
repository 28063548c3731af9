//! Paths of requests in the one form in which they are compared: dot segments resolved, slashes merged, unreserved
//! octets decoded, and digits of percent encoding in upper case (RFC 3986 section 6.2.2).
//!
//! Endpoints do not all read a path in the same way. [`readings`] gives the ways in which they are known to, so that a
//! path can be refused that passes a gate in one reading and not in another.

use crate::model::EncodedSlashes;

/// Why a path is refused.
pub type Refusal = &'static str;

const MALFORMED: Refusal = "malformed percent encoding in the path";
const NUL: Refusal = "path with an encoded NUL";
const SLASH: Refusal = "path with an encoded slash";
const UNCERTAIN: Refusal = "path that can be read in too many ways";
const CLIMBS: Refusal = "path that leads above the root";

/// A path in its normal form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Normal {
    /// The form, where it differs from the path itself.
    pub path: Option<String>,
    /// Whether endpoints may read the form in more than one way.
    pub doubtful: bool,
}

/// The normal form of a path. A path that has it already, as nearly all have, costs one look at its bytes.
///
/// # Errors
/// The path leads above the root, or has what no path may have.
pub fn normalise(path: &str, slashes: EncodedSlashes) -> Result<Normal, Refusal> {
    if is_plain(path.as_bytes()) || !path.starts_with('/') {
        return Ok(Normal::default());
    }
    let spelled = spell(path, slashes)?;
    let normal = resolve(&spelled, Slashes::Merged)?;
    let doubtful = is_doubtful(&normal);
    Ok(Normal { path: (normal != path).then_some(normal), doubtful })
}

/// Most readings of a path, and most bytes of all of them together.
const READINGS: usize = 64;
const BYTES: usize = 256 << 10;

/// One thing that an endpoint may do to a path.
type Step = fn(&str) -> Result<String, Refusal>;

/// Every way in which endpoints may read a path. Encoded slashes and backslashes may separate segments, `;` and what follows may be
/// cut off a segment, dot segments may be resolved, and empty segments may count for `..`: each of these or none, in any order.
///
/// # Errors
/// There are too many, or one leads above the root.
pub fn readings(path: &str) -> Result<Vec<String>, Refusal> {
    let steps: [Step; 6] = [
        |path| Ok(path.replace("%2F", "/")),
        |path| Ok(path.replace("%5C", "/")),
        |path| Ok(without_parameters(path, &[";"])),
        |path| Ok(without_parameters(path, &[";", "%3B"])),
        |path| resolve(path, Slashes::Counted),
        |path| resolve(path, Slashes::Merged),
    ];
    let (mut found, mut next) = (vec![spell(path, EncodedSlashes::Keep)?], 0);
    while let Some(reading) = found.get(next).cloned() {
        for step in steps {
            let another = step(&reading)?;
            if !found.contains(&another) {
                found.push(another);
            }
        }
        next += 1;
        if found.len() > READINGS || found.len() * path.len() > BYTES {
            return Err(UNCERTAIN);
        }
    }
    found.iter().map(|reading| resolve(reading, Slashes::DotsLeft)).collect()
}

/// Whether there is nothing to change in a path, nor to doubt.
fn is_plain(path: &[u8]) -> bool {
    let mut before = 0;
    for (at, byte) in path.iter().enumerate() {
        match byte {
            b'%' | b'\\' | b';' => return false,
            b'/' if before == b'/' => return false,
            b'.' if before == b'/' && begins_with_dots(path.get(at..).unwrap_or_default()) => return false,
            _ => before = *byte,
        }
    }
    true
}

/// Whether the segment at the front is `.` or `..`.
fn begins_with_dots(rest: &[u8]) -> bool {
    matches!(rest, [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..])
}

fn is_doubtful(path: &str) -> bool {
    [";", "%3B", "%2F", "%5C"].iter().any(|odd| path.contains(odd))
}

/// Percent encoding in its one spelling. A backslash counts as an encoded slash: many programs take it for one.
fn spell(path: &str, slashes: EncodedSlashes) -> Result<String, Refusal> {
    let (mut spelled, mut rest) = (Vec::with_capacity(path.len() + 8), path.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let octet = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                let (high, low) = (digit(*high).ok_or(MALFORMED)?, digit(*low).ok_or(MALFORMED)?);
                high * 16 + low
            }
            (b'%', _) => return Err(MALFORMED),
            (b'\\', _) => b'\\',
            (plain, _) => {
                spelled.push(*plain);
                continue;
            }
        };
        match (octet, slashes) {
            (0, _) => return Err(NUL),
            (b'/' | b'\\', EncodedSlashes::Refuse) => return Err(SLASH),
            (b'/' | b'\\', EncodedSlashes::Decode) => spelled.push(b'/'),
            (octet, _) if is_unreserved(octet) => spelled.push(octet),
            (octet, _) => spelled.extend([b'%', upper(octet >> 4), upper(octet & 15)]),
        }
    }
    String::from_utf8(spelled).map_err(|_| MALFORMED)
}

/// RFC 3986 section 2.3.
fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~')
}

fn digit(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn upper(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'A' + value - 10 }
}

/// What becomes of empty and of dot segments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slashes {
    /// Empty segments go first, then dot segments are resolved.
    Merged,
    /// An empty segment is one that `..` takes away, as the letter of RFC 3986 section 5.2.4 has it.
    Counted,
    /// Dot segments are names like others.
    DotsLeft,
}

fn resolve(path: &str, how: Slashes) -> Result<String, Refusal> {
    let (mut kept, mut open): (Vec<&str>, _) = (Vec::new(), true);
    for segment in path.split('/').skip(1) {
        let dots = how != Slashes::DotsLeft && matches!(segment, "." | "..");
        open = dots || segment.is_empty();
        match segment {
            ".." if dots => drop(kept.pop().ok_or(CLIMBS)?),
            "." if dots => {}
            "" if how == Slashes::Merged => {}
            segment => kept.push(segment),
        }
    }
    let mut resolved = String::with_capacity(path.len());
    for segment in kept.into_iter().filter(|segment| !segment.is_empty()) {
        resolved.push('/');
        resolved.push_str(segment);
    }
    if open {
        resolved.push('/');
    }
    Ok(resolved)
}

fn without_parameters(path: &str, ends: &[&str]) -> String {
    let before = |segment| ends.iter().fold(segment, |left: &str, end| left.split(end).next().unwrap_or_default());
    path.split('/').map(before).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(path: &str) -> Result<String, Refusal> {
        normalise(path, EncodedSlashes::Keep).map(|normal| normal.path.unwrap_or_else(|| path.to_owned()))
    }

    #[test]
    fn equivalent_paths_have_one_form() {
        for (path, normal) in [
            ("/", "/"),
            ("/admin/", "/admin/"),
            ("//admin/", "/admin/"),
            ("/x/../admin/", "/admin/"),
            ("/./admin/", "/admin/"),
            ("/%61dmin/", "/admin/"),
            ("/%2e/%2E%2e%2fx", "/..%2Fx"),
            ("/admin%2f", "/admin%2F"),
            ("/a\\b", "/a%5Cb"),
            ("/a//../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a/...", "/a/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/%2561", "/%2561"),
            ("/%c3%bc", "/%C3%BC"),
            ("/a;b/c", "/a;b/c"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(form(path).as_deref(), Ok(normal), "{path}");
        }
    }

    #[test]
    fn what_no_path_may_have_is_refused() {
        for path in ["/..", "/x/../../etc", "/%2e%2e/", "/./..", "//.."] {
            assert_eq!(form(path), Err(CLIMBS), "{path}");
        }
        for path in ["/%", "/%4", "/%zz", "/%u0061"] {
            assert_eq!(form(path), Err(MALFORMED), "{path}");
        }
        assert_eq!(form("/a%00"), Err(NUL));
    }

    #[test]
    fn encoded_slashes_are_kept_decoded_or_refused() {
        for path in ["/a%2fb", "/a%2Fb", "/a%5cb", "/a\\b"] {
            let decoded = normalise(path, EncodedSlashes::Decode).unwrap();
            assert_eq!(decoded, Normal { path: Some("/a/b".into()), doubtful: false });
            assert_eq!(normalise(path, EncodedSlashes::Refuse), Err(SLASH));
            assert!(normalise(path, EncodedSlashes::Keep).unwrap().doubtful, "{path}");
        }
        assert_eq!(normalise("/a/..%2f..%2fb", EncodedSlashes::Decode), Err(CLIMBS));
    }

    #[test]
    fn every_reading_of_a_doubtful_path_is_known() {
        for (path, other) in [
            ("/admin%2fx", "/admin/x"),
            ("/public/..%2fadmin", "/admin"),
            ("/admin;v=1/x", "/admin/x"),
            ("/x/..;/admin", "/admin"),
            ("/admin%3bv=1", "/admin"),
            // Cut before it is decoded, decoded but for backslashes and then cut, and resolved before it is decoded.
            ("/;a=1%2f/admin%5c", "/admin/"),
            ("/;x%5cy%2Fadmin", "/admin"),
            ("//./admin%2F..%2Fx", "/admin/../x"),
            ("/admin/..%2fpublic", "/admin/../public"),
            ("/x/../admin//../public", "/admin/public"),
        ] {
            let found = readings(path).unwrap();
            assert!(found.contains(&other.into()), "{path}: {found:?}");
        }
        assert_eq!(readings("/..%2f..%2fetc"), Err(CLIMBS));
        assert_eq!(readings(&"/%2f;%5c".repeat(40_000)), Err(UNCERTAIN));
    }

    proptest! {
        #[test]
        fn a_form_is_its_own_form(path in "/([a-c./;%\\\\]|%2[eEfF5]|%5[cC]|%61|%[0-9a-fA-F]{2}|//|/\\.\\./){0,16}") {
            for slashes in [EncodedSlashes::Keep, EncodedSlashes::Decode] {
                let Ok(normal) = normalise(&path, slashes) else { continue };
                let form = normal.path.unwrap_or(path.clone());
                let again = normalise(&form, slashes);
                prop_assert_eq!(again.map(|again| again.path), Ok(None), "{}", form);
                prop_assert!(form.starts_with('/') && !form.contains("//") && !form.contains('\\'), "{}", form);
                prop_assert!(!form.split('/').any(|segment| segment == "." || segment == ".."), "{}", form);
                let encoded = form.split('%').skip(1).filter_map(|part| u8::from_str_radix(part.get(..2)?, 16).ok());
                prop_assert!(encoded.clone().all(|octet| octet != 0 && !is_unreserved(octet)), "{}", form);
                prop_assert!(slashes == EncodedSlashes::Keep || encoded.clone().all(|octet| octet != b'/'), "{}", form);
            }
        }

        #[test]
        fn no_path_is_too_odd(path in "\\PC{0,40}") {
            drop(normalise(&path, EncodedSlashes::Keep));
            drop(readings(&path));
        }

        #[test]
        fn a_plain_path_is_its_own_form(path in "(/[a-z0-9~_.-]{1,8}){1,6}/?") {
            if is_plain(path.as_bytes()) {
                prop_assert_eq!(spell(&path, EncodedSlashes::Keep).and_then(|path| resolve(&path, Slashes::Merged)), Ok(path));
            }
        }
    }
}
