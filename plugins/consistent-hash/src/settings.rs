//! What the operator may write.

use serde::Deserialize;
use weir_sdk::KeySource;

/// Settings of one binding.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    header: Option<String>,
    cookie: Option<String>,
    /// Most load of an endpoint, as a multiple of its fair share.
    pub balance_factor: f64,
    /// Places on the ring of an endpoint of weight 1.
    pub replicas: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { header: None, cookie: None, balance_factor: 1.25, replicas: 64 }
    }
}

/// Where the key of a request is found.
#[derive(Debug)]
pub enum Key {
    /// Where the request comes from.
    ClientAddress,
    /// The value of a request header.
    Header(String),
    /// The value of a cookie.
    Cookie(String),
}

impl Key {
    /// As the host is asked for it.
    pub fn source(&self) -> KeySource<'_> {
        match self {
            Key::ClientAddress => KeySource::ClientAddress,
            Key::Header(name) => KeySource::Header(name),
            Key::Cookie(name) => KeySource::Cookie(name),
        }
    }
}

impl Settings {
    /// Refuses what cannot be meant.
    pub fn check(&self) -> Result<(), String> {
        if self.header.is_some() && self.cookie.is_some() {
            return Err("header and cookie exclude each other".into());
        }
        if !(1.05..=100.0).contains(&self.balance_factor) {
            return Err("balance-factor goes from 1.05 to 100".into());
        }
        if !(1..=1_000).contains(&self.replicas) {
            return Err("replicas goes from 1 to 1000".into());
        }
        Ok(())
    }

    /// Where the key of a request is found.
    pub fn key(self) -> Key {
        match (self.header, self.cookie) {
            (Some(name), _) => Key::Header(name),
            (None, Some(name)) => Key::Cookie(name),
            (None, None) => Key::ClientAddress,
        }
    }
}
