//! Reading a binding's settings.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// Reads settings from JSON text. The error names the key that is wrong, as the operator sees it.
///
/// ```
/// #[derive(Debug, serde::Deserialize)]
/// struct Limits { #[allow(dead_code)] most: u32 }
/// #[derive(Debug, serde::Deserialize)]
/// struct Settings { #[allow(dead_code)] limits: Limits }
///
/// let error = weir_sdk::settings::parse::<Settings>(r#"{ "limits": { "most": "ten" } }"#).unwrap_err();
/// assert_eq!(error, r#"settings.limits.most: invalid type: string "ten", expected u32"#);
/// ```
///
/// # Errors
/// When the text is not what the type wants.
pub fn parse<T: de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let problem = without_position(&error.inner().to_string());
        match path.as_str() {
            "." => format!("settings: {problem}"),
            path => format!("settings.{path}: {problem}"),
        }
    })
}

/// The operator wrote TOML: a line and column of the JSON text would mislead.
fn without_position(problem: &str) -> String {
    match problem.rfind(" at line ") {
        Some(end) => problem.get(..end).unwrap_or(problem).to_owned(),
        None => problem.to_owned(),
    }
}

/// A length of time as operators write it: `"500ms"`, `"90s"`, `"30m"`, `"8h"`, `"2d"`, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a duration such as \"90s\", \"30m\" or \"8h\"")]
        enum Written {
            Seconds(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Seconds(seconds) => Ok(Self(Duration::from_secs(seconds))),
            Written::Text(text) => span(&text).map(Self).ok_or_else(|| {
                de::Error::custom(format!("`{text}` is not a duration such as \"90s\", \"30m\" or \"8h\""))
            }),
        }
    }
}

fn span(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Span, parse};

    #[test]
    fn reads_durations_as_operators_write_them() {
        let spans: Vec<Span> = parse(r#"["500ms", "90s", "30m", "8h", "2d", 5]"#).unwrap();
        let millis: Vec<u128> = spans.iter().map(|span| span.0.as_millis()).collect();
        assert_eq!(millis, [500, 90_000, 1_800_000, 28_800_000, 172_800_000, 5_000]);
        assert_eq!(parse::<Span>("7").unwrap(), Span(Duration::from_secs(7)));
    }

    #[test]
    fn says_which_duration_is_wrong() {
        let error = parse::<Vec<Span>>(r#"["5 minutes"]"#).unwrap_err();
        assert!(error.starts_with("settings.[0]: `5 minutes` is not a duration"), "{error}");
    }
}
