//! A router that gives a steady share of users the next version: each user always gets the same answer,
//! and a user who is in stays in while the share grows.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod settings;

use serde::Deserialize;
use weir_sdk::{Decision, Forward, Request, Router, hash};

use settings::{Key, Settings};

/// Shares are counted in millionths of all users.
const WHOLE: u64 = 1_000_000;

/// One binding of the plugin.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Settings")]
pub struct Canary {
    share: u64,
    key: Key,
    salt: String,
    header: Option<String>,
    cookie: Option<String>,
    to_canary: Decision,
    to_rest: Decision,
}

impl TryFrom<Settings> for Canary {
    type Error = String;

    fn try_from(settings: Settings) -> Result<Self, String> {
        Ok(Self {
            share: settings.share()?,
            to_canary: settings.to_canary(),
            to_rest: settings.to_rest(),
            key: settings.key,
            salt: settings.salt,
            header: settings.header,
            cookie: settings.cookie,
        })
    }
}

impl Router for Canary {
    fn route(&mut self, request: &Request) -> Decision {
        let canary = self.asked_for(request).unwrap_or_else(|| self.drawn(request));
        if canary { self.to_canary.clone() } else { self.to_rest.clone() }
    }
}

impl Canary {
    /// What the client asks for itself, the header before the cookie.
    fn asked_for(&self, request: &Request) -> Option<bool> {
        let header = self.header.as_deref().and_then(|name| request.header(name));
        header.as_deref().and_then(wish).or_else(|| {
            let cookie = self.cookie.as_deref().and_then(|name| request.cookie(name));
            cookie.as_deref().and_then(wish)
        })
    }

    fn drawn(&self, request: &Request) -> bool {
        match self.share {
            0 => false,
            WHOLE => true,
            share => {
                let lot = hash::bytes(self.user(request).as_bytes()) ^ hash::bytes(self.salt.as_bytes());
                hash::mix(lot) % WHOLE < share
            }
        }
    }

    /// Who is asking: a request without the header or cookie is known by its client's address.
    fn user(&self, request: &Request) -> String {
        let named = match &self.key {
            Key::ClientAddress => None,
            Key::Header(name) => request.header(name),
            Key::Cookie(name) => request.cookie(name),
        };
        named.unwrap_or_else(|| request.client_address())
    }
}

fn wish(value: &str) -> Option<bool> {
    match value {
        "always" | "true" | "1" => Some(true),
        "never" | "false" | "0" => Some(false),
        _ => None,
    }
}

fn forward(cluster: Option<String>, labels: impl IntoIterator<Item = (String, String)>) -> Decision {
    Decision::Forward(Forward { cluster, labels: labels.into_iter().collect(), ..Forward::default() })
}

weir_sdk::export!(router: Canary);

#[cfg(test)]
mod tests;
