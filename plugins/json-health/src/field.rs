//! What one field must be.

use serde::Deserialize;
use serde_json::Value;
use weir_sdk::State;

/// What one field must be, on two levels.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Field {
    /// Otherwise the endpoint is unhealthy.
    unhealthy_unless: Option<Demand>,
    /// Otherwise the endpoint is degraded.
    degraded_unless: Option<Demand>,
    /// What an absent field means.
    #[serde(default)]
    missing: Missing,
}

#[derive(Debug, Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Missing {
    #[default]
    Unhealthy,
    Degraded,
    Ignore,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Demand {
    min: Option<f64>,
    max: Option<f64>,
    equals: Option<Value>,
}

impl Field {
    /// What is not well about a value, and why.
    pub fn finding(&self, pointer: &str, value: Option<&Value>) -> Option<(State, String)> {
        let Some(value) = value else {
            return self.missing.finding(pointer);
        };
        let broken = |demand: &Option<Demand>| demand.as_ref()?.broken_by(value);
        broken(&self.unhealthy_unless)
            .map(|why| (State::Unhealthy, why))
            .or_else(|| broken(&self.degraded_unless).map(|why| (State::Degraded, why)))
            .map(|(state, why)| (state, format!("{pointer} is {value}, {why}")))
    }
}

impl Missing {
    fn finding(self, pointer: &str) -> Option<(State, String)> {
        let state = match self {
            Self::Unhealthy => State::Unhealthy,
            Self::Degraded => State::Degraded,
            Self::Ignore => return None,
        };
        Some((state, format!("{pointer} is missing")))
    }
}

impl Demand {
    fn broken_by(&self, value: &Value) -> Option<String> {
        if let Some(wanted) = &self.equals
            && !same(wanted, value)
        {
            return Some(format!("not {wanted}"));
        }
        if self.min.is_none() && self.max.is_none() {
            return None;
        }
        let Some(number) = value.as_f64() else {
            return Some("not a number".into());
        };
        match (self.min, self.max) {
            (Some(min), _) if number < min => Some(format!("below {min}")),
            (_, Some(max)) if number > max => Some(format!("above {max}")),
            _ => None,
        }
    }
}

/// Numbers are the same however they are written: 1 and 1.0.
fn same(one: &Value, two: &Value) -> bool {
    match (one.as_f64(), two.as_f64()) {
        (Some(one), Some(two)) => one == two,
        _ => one == two,
    }
}
