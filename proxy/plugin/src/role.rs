//! What a plugin decides.

use std::fmt;

/// What a plugin decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Where a request goes.
    Router,
    /// Which endpoint is picked.
    Balancer,
    /// Which session a request belongs to.
    Affinity,
    /// How an endpoint is.
    Health,
}

impl Role {
    pub(crate) const ALL: [Self; 4] = [Self::Router, Self::Balancer, Self::Affinity, Self::Health];
    /// All roles, for people.
    pub(crate) const NAMES: &str = "router, balancer, affinity, health";

    /// Its name in the contract, the configuration and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Balancer => "balancer",
            Self::Affinity => "affinity",
            Self::Health => "health",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
