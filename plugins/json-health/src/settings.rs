//! What the operator may write.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use weir_sdk::State;

use crate::field::Field;

/// Settings of one binding.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// Path and query to ask for.
    pub path: String,
    /// Where the endpoint's own word is, as a JSON pointer; judged where it exists.
    status: String,
    /// Where a percentage of the weight is, as a JSON pointer.
    weight: Option<String>,
    /// What fields must be, by JSON pointer.
    fields: BTreeMap<String, Field>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { path: "/healthz".into(), status: "/status".into(), weight: None, fields: BTreeMap::new() }
    }
}

impl Settings {
    /// Whether an answer that is not JSON leaves something unanswered.
    pub fn needs_json(&self) -> bool {
        !self.fields.is_empty() || self.weight.is_some()
    }

    /// All that is not well, with why.
    pub fn findings(&self, body: &Value) -> impl Iterator<Item = (State, String)> {
        let word = body.pointer(&self.status).and_then(own_word);
        let fields = self.fields.iter().filter_map(|(pointer, field)| field.finding(pointer, body.pointer(pointer)));
        word.into_iter().chain(fields)
    }

    /// The weight the endpoint asks for, at most 100 percent.
    pub fn weight(&self, body: &Value) -> Option<u32> {
        let percent = body.pointer(self.weight.as_deref()?)?.as_f64()?;
        Some(percent.clamp(0.0, 100.0).round() as u32)
    }
}

/// The endpoint's own word.
fn own_word(status: &Value) -> Option<(State, String)> {
    let word = status.as_str().unwrap_or_default().to_ascii_lowercase();
    let state = match word.as_str() {
        "ok" | "up" | "healthy" | "pass" => return None,
        "warn" | "degraded" => State::Degraded,
        "drain" | "draining" => State::Drain,
        _ => State::Unhealthy,
    };
    Some((state, format!("status is {status}")))
}
