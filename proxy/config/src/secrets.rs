//! Values that are nobody's to read: they are hidden where a line of the file is shown, and may stand in files of
//! their own or in the environment.

use std::{fmt, ops::Range};

/// A value that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Parts of names whose values are likely to be secret.
const NAMES: [&str; 12] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "api-key",
    "api_key",
    "apikey",
    "credential",
    "signature",
];
/// Beginnings of values of `Authorization` (RFC 7235).
const SCHEMES: [&str; 3] = ["bearer ", "basic ", "digest "];

/// Whether the value of a header, cookie, parameter or key of this name is likely to be a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|part| name.contains(part))
}

fn is_secret_value(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    SCHEMES.iter().any(|scheme| text.contains(scheme))
}

/// A line with stars for what is within `hidden`, and for text that looks like a secret. Ranges are of bytes.
pub(crate) fn mask(line: &str, hidden: &[Range<usize>]) -> String {
    let likely = likely(line);
    let is_hidden = |at: usize| hidden.iter().chain(&likely).any(|range| range.contains(&at));
    line.char_indices().map(|(at, char)| if is_hidden(at) { '*' } else { char }).collect()
}

/// A line that is not TOML, of which nothing is known but that its secrets stand behind the first `=`, or behind one on
/// a line before.
pub(crate) fn mask_unread(line: &str) -> String {
    let is_section = line.trim_start().starts_with('[') && !line.contains(['"', '\'', ' ']);
    let shown = if is_section { line.len() } else { line.find('=').unwrap_or(0) };
    let is_shown = |at: usize, char: char| at < shown || char.is_whitespace() || "{}[],=\"'".contains(char);
    line.char_indices().map(|(at, char)| if is_shown(at, char) { char } else { '*' }).collect()
}

/// Texts in quotes that look like secrets, or whose key does.
fn likely(line: &str) -> Vec<Range<usize>> {
    let (mut found, mut key_from, mut chars) = (Vec::new(), 0, line.char_indices());
    while let Some((start, quote)) = chars.next() {
        match quote {
            ',' | '{' | '[' => key_from = start + 1,
            '"' | '\'' => {
                let mut escaped = false;
                let end = chars.by_ref().find(|(_, char)| {
                    let ends = *char == quote && !escaped;
                    escaped = *char == '\\' && quote == '"' && !escaped;
                    ends
                });
                let end = end.map_or(line.len(), |(at, _)| at);
                let (key, text) = (line.get(key_from..start), line.get(start + 1..end));
                if key.is_some_and(is_secret_name) || text.is_some_and(is_secret_value) {
                    found.push(start + 1..end);
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_hidden() {
        for (line, shown) in [
            (
                "set = { authorization = \"Bearer abc\", x-team = \"blue\" }",
                "set = { authorization = \"**********\", x-team = \"blue\" }",
            ),
            ("x-a = 'basic Zm9v'", "x-a = '**********'"),
            ("X-Api-Key = \"a\\\"b\"", "X-Api-Key = \"****\""),
            ("address = \"127.0.0.1:80\"", "address = \"127.0.0.1:80\""),
            ("password = \"ab", "password = \"**"),
        ] {
            assert_eq!(mask(line, &[]), shown);
        }
        assert_eq!(mask("a = \"é1\"", std::slice::from_ref(&(5..7))), "a = \"*1\"");
    }

    #[test]
    fn of_a_line_that_is_no_toml_only_its_key_is_shown() {
        for (line, shown) in [
            ("authorization = Bearer abc", "authorization = ****** ***"),
            ("set = { a = \"b c }", "set = { * = \"* * }"),
            ("[listeners.web", "[listeners.web"),
            ("abc def", "*** ***"),
        ] {
            assert_eq!(mask_unread(line), shown);
        }
    }

    proptest! {
        #[test]
        fn stars_stand_in_the_same_columns(line in "\\PC{0,40}", from in 0usize..50, to in 0usize..50) {
            prop_assert_eq!(mask(&line, std::slice::from_ref(&(from..to))).chars().count(), line.chars().count());
            prop_assert_eq!(mask_unread(&line).chars().count(), line.chars().count());
        }
    }
}
