//! What the operator may write.

use std::{collections::HashMap, time::Duration};

use serde::Deserialize;
use weir_sdk::{Request, Session, settings::Span};

use crate::{TENANT_BYTES, source::Source};

/// Settings of one binding.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct Settings {
    /// What tells one tenant from another.
    pub tenant: TenantBy,
    /// Rules for every tenant.
    pub rules: Overrides,
    /// What some tenants have otherwise.
    pub tenants: HashMap<String, Overrides>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    #[serde(default)]
    tenant: TenantBy,
    key: Option<Source>,
    idle: Option<Span>,
    max: Option<Span>,
    #[serde(default)]
    tenants: HashMap<String, Overrides>,
}

impl TryFrom<Written> for Settings {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if let Some(long) = written.tenants.keys().find(|name| name.len() > TENANT_BYTES) {
            return Err(format!("tenant `{long}` has more than {TENANT_BYTES} bytes"));
        }
        Ok(Self {
            tenant: written.tenant,
            rules: Overrides { key: written.key, idle: written.idle, max: written.max },
            tenants: written.tenants,
        })
    }
}

/// What tells one tenant from another.
#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum TenantBy {
    /// The tenant Weir found; requests without one share sessions of their own.
    #[default]
    Weir,
    /// The host, without port and in lower case.
    Host,
    /// A request header that something before Weir vouches for.
    Header(String),
}

impl TenantBy {
    /// The tenant of a request; empty where it has none. No tenant at all, and so no session, for a name
    /// that is too long.
    pub fn tenant(&self, request: &Request) -> Option<String> {
        let tenant = match self {
            Self::Weir => request.tenant(),
            Self::Host => Some(host(&request.authority())),
            Self::Header(name) => request.header(name),
        };
        Some(tenant.unwrap_or_default()).filter(|name| name.len() <= TENANT_BYTES)
    }
}

/// The colon of a port comes after the bracket of an IPv6 address.
fn host(authority: &str) -> String {
    let end = match authority.rfind(':') {
        Some(colon) if !authority.get(colon..).unwrap_or_default().contains(']') => colon,
        _ => authority.len(),
    };
    authority.get(..end).unwrap_or(authority).to_ascii_lowercase()
}

/// What a tenant has otherwise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Overrides {
    key: Option<Source>,
    idle: Option<Span>,
    max: Option<Span>,
}

impl Overrides {
    /// These laid over the rules for every tenant.
    pub fn over(self, rules: &Self) -> Rules {
        Self {
            key: self.key.or_else(|| rules.key.clone()),
            idle: self.idle.or(rules.idle),
            max: self.max.or(rules.max),
        }
        .alone()
    }

    /// These with the defaults.
    pub fn alone(self) -> Rules {
        Rules {
            key: self.key.unwrap_or_default(),
            idle: self.idle.map(|span| span.0),
            max: self.max.map(|span| span.0),
        }
    }
}

/// Rules of one tenant.
#[derive(Debug)]
pub struct Rules {
    /// Where the key is found.
    pub key: Source,
    idle: Option<Duration>,
    max: Option<Duration>,
}

impl Rules {
    /// A session with this key and the tenant's times.
    pub fn session(&self, key: String) -> Session {
        Session { key, idle: self.idle, max: self.max }
    }
}
