//! What the operator may write.

use std::collections::BTreeMap;

use serde::Deserialize;
use weir_sdk::Decision;

use crate::{WHOLE, forward};

/// Share of users without `percent`.
const PERCENT: f64 = if cfg!(feature = "v2") { 50.0 } else { 5.0 };

/// Settings of one binding.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    #[serde(default = "percent")]
    percent: f64,
    /// Where canaries go: another cluster,
    cluster: Option<String>,
    /// or endpoints with these labels, or both. `version = v2` when neither is given.
    labels: Option<BTreeMap<String, String>>,
    /// Labels of endpoints for everyone else; none is any endpoint.
    rest_labels: Option<BTreeMap<String, String>>,
    /// What tells one user from another.
    #[serde(default)]
    pub key: Key,
    /// Draws other users than another salt.
    #[serde(default)]
    pub salt: String,
    /// A request header that decides for its request.
    pub header: Option<String>,
    /// A cookie that decides for its request.
    pub cookie: Option<String>,
}

/// What tells one user from another.
#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// Where the request comes from.
    #[default]
    ClientAddress,
    /// The value of a request header.
    Header(String),
    /// The value of a cookie.
    Cookie(String),
}

impl Settings {
    /// The share in millionths.
    pub fn share(&self) -> Result<u64, String> {
        if !(0.0..=100.0).contains(&self.percent) {
            return Err(format!("percent is {}, and goes from 0 to 100", self.percent));
        }
        Ok((self.percent / 100.0 * WHOLE as f64).round() as u64)
    }

    /// Where canaries go.
    pub fn to_canary(&self) -> Decision {
        let labels = match (&self.labels, &self.cluster) {
            (Some(labels), _) => labels.clone(),
            (None, Some(_)) => BTreeMap::new(),
            (None, None) => BTreeMap::from([("version".into(), "v2".into())]),
        };
        forward(self.cluster.clone(), labels)
    }

    /// Where everyone else goes.
    pub fn to_rest(&self) -> Decision {
        match &self.rest_labels {
            Some(labels) => forward(None, labels.clone()),
            None => Decision::Pass,
        }
    }
}

fn percent() -> f64 {
    PERCENT
}
