//! What clients may take: rates, requests in flight, networks.

use std::{sync::Arc, time::Duration};

use super::Network;

/// `[rate-limits.NAME]`, or one that stands where it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Its name in the file; of one that stands where it is used, what uses it, as in `route:api`.
    pub name: Arc<str>,
    /// How often requests may come; none limits only those in flight.
    pub rate: Option<Rate>,
    /// Requests in flight at a time; none is unlimited.
    pub max_in_flight: Option<u32>,
    /// Requests that are alike in every part share an allowance; without parts all do.
    pub key: Vec<KeyPart>,
    /// What happens to requests that lack a part. Default pass.
    pub without_key: WithoutKey,
    /// Most keys remembered. Default 100,000.
    pub capacity: usize,
    /// Networks of clients that it does not limit.
    pub except: Vec<Network>,
    /// What it would refuse passes, and is counted. Default false.
    pub dry_run: bool,
    /// Which responses tell of it. Default those that refuse.
    pub tell: Tell,
}

/// `rate` of a limit, with how it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// So many, at least one.
    pub count: u32,
    /// In this time.
    pub per: Duration,
    /// How it is kept. Default token bucket.
    pub algorithm: Algorithm,
}

/// `algorithm` of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Allowance comes back bit by bit.
    TokenBucket {
        /// Most at once. Default as many as the rate has in its time.
        burst: u32,
    },
    /// So many within any such time.
    SlidingWindow,
}

/// A part of what requests are told apart by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The client's network.
    Client {
        /// How many bits of an IPv4 address count. Default 32.
        ipv4: u8,
        /// How many bits of an IPv6 address count. Default 64.
        ipv6: u8,
    },
    /// A header's first value; the name in lower case.
    Header(String),
    /// A cookie's value.
    Cookie(String),
    /// The tenant.
    Tenant,
    /// The route.
    Route,
}

/// `without-key` of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutKey {
    /// They are not limited.
    Pass,
    /// They share one allowance.
    Share,
}

/// `headers` of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// Those that refuse.
    Refused,
    /// Every one.
    Always,
    /// None.
    Never,
}

/// `allow` and `deny` of a listener or a route: of the networks that a client is in, the longest decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// Who may come in; where there are any, others may not.
    pub allow: Vec<Network>,
    /// Who may not.
    pub deny: Vec<Network>,
}
