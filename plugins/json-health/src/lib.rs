//! A health check that asks for a JSON page and judges its fields: healthy, degraded, draining or
//! unhealthy, and always why.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod field;
mod settings;

use serde::Deserialize;
use serde_json::Value;
use weir_sdk::{Answer, Health, State, Target, Verdict};

use settings::Settings;

/// One binding of the plugin.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct JsonHealth {
    settings: Settings,
}

impl Health for JsonHealth {
    fn check(&mut self, target: &Target) -> Verdict {
        match target.get(&self.settings.path) {
            Err(why) => Verdict::unhealthy(format!("no answer: {why}")),
            Ok(answer) => self.judge(&answer),
        }
    }
}

impl JsonHealth {
    fn judge(&self, answer: &Answer) -> Verdict {
        let body = serde_json::from_slice::<Value>(&answer.body).ok();
        if !(200..300).contains(&answer.status) {
            return Verdict::unhealthy(refused(answer.status, body.as_ref()));
        }
        match body {
            Some(body) => self.judge_body(&body),
            None if self.settings.needs_json() => Verdict::unhealthy("the answer is not JSON"),
            None => Verdict::healthy(format!("status {}", answer.status)),
        }
    }

    /// The worst of all findings, with every reason of that kind.
    fn judge_body(&self, body: &Value) -> Verdict {
        let findings: Vec<_> = self.settings.findings(body).collect();
        let state = findings.iter().map(|(state, _)| *state).max();
        let state = state.unwrap_or(State::Healthy);
        let reasons = findings.iter().filter(|(found, _)| *found == state);
        let why: Vec<&str> = reasons.map(|(_, why)| why.as_str()).collect();
        let verdict = match why.is_empty() {
            true => Verdict::new(state, "every field is as it should be"),
            false => Verdict::new(state, why.join("; ")),
        };
        match self.settings.weight(body) {
            Some(percent) => verdict.weight(percent),
            None => verdict,
        }
    }
}

fn refused(status: u16, body: Option<&Value>) -> String {
    match body.and_then(|body| body.get("status")) {
        Some(said) => format!("status {status}, and status is {said}"),
        None => format!("status {status}"),
    }
}

weir_sdk::export!(health: JsonHealth);

#[cfg(test)]
mod tests;
