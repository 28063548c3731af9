//! An affinity whose sessions are known by a cookie, a header, a query parameter or a claim of a token,
//! apart for each tenant, each tenant with settings of its own.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod settings;
mod source;
mod token;

use std::collections::HashMap;

use serde::Deserialize;
use weir_sdk::{Affinity, Mark, Request, Session, hash, random};

use settings::{Rules, Settings, TenantBy};
use source::Source;

/// Longest name of a tenant that has sessions.
const TENANT_BYTES: usize = 200;

/// Longer values are told apart by their hash: a key has at most 512 bytes.
const VALUE_BYTES: usize = 256;

/// One binding of the plugin.
#[derive(Debug, Deserialize)]
#[serde(from = "Settings")]
pub struct TenantAffinity {
    tenant_by: TenantBy,
    rules: Rules,
    tenants: HashMap<String, Rules>,
}

impl From<Settings> for TenantAffinity {
    fn from(settings: Settings) -> Self {
        let tenants = settings.tenants.into_iter();
        Self {
            tenant_by: settings.tenant,
            tenants: tenants.map(|(name, over)| (name, over.over(&settings.rules))).collect(),
            rules: settings.rules.alone(),
        }
    }
}

impl Affinity for TenantAffinity {
    fn session(&mut self, request: &Request) -> Option<Session> {
        let tenant = self.tenant_by.tenant(request)?;
        let rules = self.rules(&tenant);
        let value = rules.key.value(request)?;
        Some(rules.session(key(&tenant, &value)))
    }

    fn bound(&mut self, request: &Request, key: Option<&str>, _endpoint: &str) -> Mark {
        match (key, self.tenant_by.tenant(request)) {
            (None, Some(tenant)) => self.mark(&tenant, request),
            _ => Mark::default(),
        }
    }
}

impl TenantAffinity {
    fn rules(&self, tenant: &str) -> &Rules {
        self.tenants.get(tenant).unwrap_or(&self.rules)
    }

    /// Clients are marked only with a cookie of our own: other keys are the application's to give.
    fn mark(&self, tenant: &str, request: &Request) -> Mark {
        let rules = self.rules(tenant);
        let Source::Own(own) = &rules.key else {
            return Mark::default();
        };
        let id = fresh_id();
        Mark {
            headers: vec![("set-cookie".into(), own.set(&id, request))],
            session: Some(rules.session(key(tenant, &id))),
        }
    }
}

/// Starts with the tenant's length, so that no tenant and value read like another pair.
fn key(tenant: &str, value: &str) -> String {
    let len = tenant.len();
    if value.len() <= VALUE_BYTES {
        return format!("{len}:{tenant}={value}");
    }
    let one = hash::bytes(value.as_bytes());
    let two = hash::bytes(format!("{one}{value}").as_bytes());
    format!("{len}:{tenant}#{one:016x}{two:016x}")
}

fn fresh_id() -> String {
    format!("{:016x}{:016x}", random::number(), random::number())
}

weir_sdk::export!(affinity: TenantAffinity);

#[cfg(test)]
mod tests;
