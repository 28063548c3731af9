//! `balance` of a cluster.

use std::time::Duration;

use super::{Binding, RequestKey};

/// `balance`: which endpoint a request goes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Balance {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Random by weight.
    Random,
    /// The fewest requests in flight for its weight. Default of two drawn.
    LeastRequest(Choices),
    /// The least latency times requests in flight, of two drawn.
    LeastTime {
        /// After this time without a sample a latency counts e times less. Default 10 s.
        decay: Duration,
    },
    /// The first in order that has room.
    First {
        /// Requests in flight that fill an endpoint. Default 100.
        max_requests: u32,
    },
    /// The endpoint of a key.
    Hash(Hash),
    /// A plugin with the balancer role; round robin where it leaves the choice.
    Plugin(Binding),
}

/// Which endpoints are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choices {
    /// So many drawn by weight; 2 to 16.
    Drawn(u32),
    /// All of them.
    All,
}

/// `hash`: the same key meets the same endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hash {
    /// Where the key is found.
    pub key: HashKey,
    /// How keys are spread. Default ring.
    pub algorithm: HashAlgorithm,
    /// Most load of an endpoint, in percent of its fair share; none is unlimited.
    pub balance_factor: Option<u32>,
}

/// Where the key of a request is found. What a router plugin names goes before all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// What tells its client from others.
    Client(RequestKey),
    /// The path, without the query.
    Path,
    /// Only what a router plugin names.
    Router,
}

impl HashKey {
    /// The client's address.
    pub const SOURCE: Self = Self::Client(RequestKey::SourceIp);
}

/// How keys are spread over endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// Points on a circle, as ketama places them.
    Ring,
    /// A table of 65,537 slots (Eisenbud et al. 2016).
    Maglev,
}

/// `load-reports`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReports {
    /// The utilisation that counts, by its name in reports; none is that of the application, or else that
    /// of the processor.
    pub metric: Option<String>,
    /// How long a weight lasts without further reports. Default 3 min.
    pub expire: Duration,
    /// Give the header to clients too. Default false.
    pub keep: bool,
}
