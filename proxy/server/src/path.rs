//! Paths of requests, as they are rewritten and as they are shown to clients.

pub mod normal;

use std::{borrow::Cow, fmt::Write};

use regex::Regex;
use weir_config::PathRewrite;

/// What becomes of a path, ready to run.
#[derive(Debug)]
pub enum Rewriter {
    /// The prefix is replaced, by whole segments.
    Prefix {
        /// What the route matched, without a `/` at its end.
        matched: String,
        /// What stands in its place.
        with: String,
    },
    /// The whole path is this.
    Whole(String),
    /// The first match is replaced.
    Regex(Regex, String),
}

impl Rewriter {
    /// From the configuration.
    ///
    /// # Errors
    /// The regular expression is none.
    pub fn build(config: &PathRewrite) -> Result<Self, String> {
        Ok(match config {
            PathRewrite::Prefix { matched, with } => {
                Self::Prefix { matched: matched.trim_end_matches('/').to_owned(), with: with.clone() }
            }
            PathRewrite::Whole(path) => Self::Whole(path.clone()),
            PathRewrite::Regex { pattern, with } => {
                Self::Regex(Regex::new(pattern).map_err(|error| error.to_string())?, with.clone())
            }
        })
    }

    /// Whether a path without dot segments may become one with them.
    pub fn may_climb(&self) -> bool {
        matches!(self, Self::Regex(..))
    }

    /// The path in place of this one, beginning with one `/`; none where it stays as it is.
    pub fn rewrite(&self, path: &str) -> Option<String> {
        let rewritten = match self {
            Self::Prefix { matched, with } => match path.strip_prefix(matched.as_str())? {
                "" => with.clone(),
                rest if rest.starts_with('/') => format!("{}{rest}", with.trim_end_matches('/')),
                _ => return None,
            },
            Self::Whole(path) => path.clone(),
            Self::Regex(regex, with) => match regex.replace(path, with.as_str()) {
                Cow::Borrowed(_) => return None,
                Cow::Owned(rewritten) => rewritten,
            },
        };
        Some(format!("/{}", rewritten.trim_start_matches('/')))
    }
}

/// Whether a path goes up with `..`, in any of the ways in which an endpoint may read it: dots and
/// slashes percent-encoded, backslashes for slashes, parameters behind a `;`.
pub fn climbs(path: &str) -> bool {
    if !path.contains("..") && !path.contains('%') {
        return false;
    }
    let plain = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    let mut segments = plain.split(['/', '\\']);
    segments.any(|segment| segment.split(';').next() == Some(".."))
}

/// A path or query as a field value has it: what no URL may hold is percent-encoded, what is encoded
/// stays so.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&octet);
    if text.bytes().all(fits) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for octet in text.bytes() {
        match fits(octet) {
            true => escaped.push(char::from(octet)),
            // Writing to memory cannot fail.
            false => drop(write!(escaped, "%{octet:02X}")),
        }
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(matched: &str, with: &str) -> Rewriter {
        Rewriter::build(&PathRewrite::Prefix { matched: matched.into(), with: with.into() }).unwrap()
    }

    fn regex(pattern: &str, with: &str) -> Rewriter {
        Rewriter::build(&PathRewrite::Regex { pattern: pattern.into(), with: with.into() }).unwrap()
    }

    #[test]
    fn prefixes_go_by_segments() {
        for (matched, with, path, rewritten) in [
            ("/v1", "/", "/v1/x", Some("/x")),
            ("/v1", "/", "/v1", Some("/")),
            ("/v1", "/", "/v1/", Some("/")),
            ("/v1", "/v2", "/v1", Some("/v2")),
            ("/v1", "/v2/", "/v1", Some("/v2/")),
            ("/v1", "/v2/", "/v1/a/b", Some("/v2/a/b")),
            ("/v1", "/v2", "/v10", None),
            ("/v1", "/v2", "/other", None),
            ("/", "/app", "/x", Some("/app/x")),
            ("/", "/app", "/", Some("/app/")),
            ("/v1", "/", "/v1//evil.example/", Some("/evil.example/")),
            ("/v1", "/", "/v1/%2f%2fx", Some("/%2f%2fx")),
        ] {
            assert_eq!(prefix(matched, with).rewrite(path).as_deref(), rewritten, "{matched} -> {with}: {path}");
        }
    }

    #[test]
    fn expressions_replace_what_they_match() {
        let numbers = regex("^/user/([0-9]+)", "/u/$1");
        assert_eq!(numbers.rewrite("/user/7/x").as_deref(), Some("/u/7/x"));
        assert_eq!(numbers.rewrite("/user/x"), None);
        assert_eq!(regex("^/", "").rewrite("/a").as_deref(), Some("/a"));
        assert_eq!(regex("^/(?<lang>..)/(.*)", "/$2/${lang}").rewrite("/de/a").as_deref(), Some("/a/de"));
    }

    #[test]
    fn ways_up_are_seen() {
        for path in [
            "/..",
            "/../x",
            "/a/../b",
            "/a/..",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a/..%2fb",
            "/a%2F..%2fb",
            "/a/..\\b",
            "/a/%5c..%5Cb",
            "/a/..;x=1/b",
        ] {
            assert!(climbs(path), "{path}");
        }
        for path in ["/", "/a/.../b", "/a/..b", "/a/b..", "/a./.b", "/a/./b", "/%252e%252e/"] {
            assert!(!climbs(path), "{path}");
        }
    }

    #[test]
    fn what_no_url_holds_is_encoded() {
        assert_eq!(escaped("/a%20b?c=d&e=[1]"), "/a%20b?c=d&e=[1]");
        assert_eq!(escaped("/a\"b<\r\n>ü"), "/a%22b%3C%0D%0A%3E%C3%BC");
    }

    proptest! {
        #[test]
        fn a_rewritten_path_begins_with_one_slash(path in "/[a-z/%.]{0,20}", with in "/[a-z/]{0,8}") {
            for rewriter in [prefix("/", &with), regex("[a-m]", &with), regex("^/+", "")] {
                if let Some(path) = rewriter.rewrite(&path) {
                    prop_assert!(path.starts_with('/') && !path.starts_with("//"), "{path}");
                }
            }
        }

        #[test]
        fn escaped_text_is_a_field_value(text in "\\PC{0,40}") {
            prop_assert!(http::HeaderValue::from_str(&escaped(&text)).is_ok());
        }
    }
}
