//! What stands before listeners, tenants and routes: networks that may come in, and limits to keep to.

use std::{net::IpAddr, sync::Arc, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use indexmap::IndexMap;
use weir_config::{Config, Tell};
use weir_limits::{Access, Held, Limit, Refused, Taken, announce_policy, announce_quota};

static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static QUOTA: HeaderName = HeaderName::from_static("ratelimit");

/// Limits by name, in file order.
pub type Limits = IndexMap<Arc<str>, Arc<Limit>>;

/// The limits of a configuration. Those that are as before know what they knew.
pub fn limits(config: &Config, previous: Option<&Limits>, now: Instant) -> Limits {
    let limit = |config: &weir_config::RateLimit| {
        let before = previous.and_then(|previous| previous.get(&config.name));
        let same = before.filter(|before| before.config() == config).cloned();
        (Arc::clone(&config.name), same.unwrap_or_else(|| Arc::new(Limit::new(config, now))))
    };
    config.rate_limits.iter().map(limit).collect()
}

/// What a request has to pass.
#[derive(Debug)]
pub struct Gate {
    access: Option<Access>,
    limits: Vec<Arc<Limit>>,
}

impl Gate {
    /// None where everything passes.
    pub fn new(access: &weir_config::Access, names: &[Arc<str>], limits: &Limits) -> Option<Box<Self>> {
        let access = Access::new(access);
        let limits: Vec<_> = named(names, limits).collect();
        (access.is_some() || !limits.is_empty()).then(|| Box::new(Self { access, limits }))
    }

    /// Whether clients of this address may pass.
    pub fn allows(&self, ip: IpAddr) -> bool {
        self.access.as_ref().is_none_or(|access| access.allows(ip))
    }

    /// What else there is to keep to.
    pub fn limits(&self) -> &[Arc<Limit>] {
        &self.limits
    }
}

fn named<'a>(names: &'a [Arc<str>], limits: &'a Limits) -> impl Iterator<Item = Arc<Limit>> + 'a {
    names.iter().filter_map(|name| limits.get(name).cloned())
}

/// What stands before a listener.
#[derive(Debug)]
pub struct Entrance {
    /// What its requests have to pass, and its connections as far as it is about networks.
    pub gate: Option<Box<Gate>>,
    /// What its connections have to keep to.
    pub connections: Vec<Arc<Limit>>,
}

impl Entrance {
    /// None where everything passes.
    pub fn new(config: &weir_config::Listener, limits: &Limits) -> Option<Self> {
        let gate = Gate::new(&config.access, &config.rate_limits, limits);
        let connections: Vec<_> = named(&config.connection_limits, limits).collect();
        (gate.is_some() || !connections.is_empty()).then_some(Self { gate, connections })
    }
}

/// What somebody holds who has passed limits of requests in flight.
#[derive(Debug, Default)]
pub struct Permit(Vec<Held>);

impl Permit {
    /// Pass another limit, unless it was passed already.
    ///
    /// # Errors
    /// The limit refuses.
    pub fn take(&self, limit: &Arc<Limit>, key: weir_limits::Key, now: Instant) -> Result<Option<Taken>, Refused> {
        if self.0.iter().any(|held| Arc::ptr_eq(held.limit(), limit)) {
            return Ok(None);
        }
        limit.take(key, now).map(Some)
    }

    /// Hold what was taken.
    pub fn hold(&mut self, taken: Taken) {
        self.0.push(taken.held);
    }

    /// As if nothing had been taken.
    pub fn give_back(self) {
        self.0.into_iter().for_each(Held::give_back);
    }

    /// What has to be held on to; nothing where no requests in flight are counted.
    pub fn lasting(mut self) -> Option<Box<Self>> {
        self.0.retain(|held| held.limit().config().max_in_flight.is_some());
        (!self.0.is_empty()).then(|| Box::new(self))
    }
}

/// Fields that tell a client of limits.
#[derive(Debug, Default)]
pub struct Announcement {
    policy: String,
    quota: String,
}

impl Announcement {
    /// Tell of a limit that was passed, where it wants to be told of.
    pub fn add(&mut self, limit: &Limit, taken: &Taken) {
        if limit.config().tell == Tell::Always {
            announce_policy(limit, &mut self.policy);
            announce_quota(limit, Ok(taken), &mut self.quota);
        }
    }

    /// What a limit that refuses has to tell.
    pub fn of_refusal(limit: &Limit, refused: Refused) -> Self {
        let mut told = Self::default();
        if limit.config().tell != Tell::Never {
            announce_policy(limit, &mut told.policy);
            announce_quota(limit, Err(refused), &mut told.quota);
        }
        told
    }

    /// None where there is nothing to tell.
    pub fn boxed(self) -> Option<Box<Self>> {
        (!self.policy.is_empty()).then(|| Box::new(self))
    }

    /// Put the fields into a header, beside those that an endpoint may have sent.
    pub fn put(&self, headers: &mut HeaderMap) {
        for (name, text) in [(&POLICY, &self.policy), (&QUOTA, &self.quota)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.append(name, value);
            }
        }
    }
}
