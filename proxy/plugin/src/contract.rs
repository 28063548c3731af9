//! The edge to the contract in `wit/`: generated types are turned into ours here and nowhere else.
//!
//! Only what a guest exports is generated. What it imports is linked by hand in [`crate::imports`],
//! where text can be lent to the guest without a copy on the way.

use std::time::Duration;

use wasmtime::component::InstancePre;

use crate::{Failure, Forward, HealthState, HealthVerdict, Mark, Response, Role, RouteDecision, Session};

/// The contract we speak. Components of any `0.1.x` fit.
pub(crate) const VERSION: &str = "0.1.0";
/// How names of the contract's interfaces begin.
pub(crate) const PACKAGE: &str = "weir:plugin/";

/// Calls on a worker's own thread.
#[allow(missing_docs, unused_qualifications, reason = "generated")]
pub(crate) mod sync {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package weir:host;
            world decisions {
                export weir:plugin/lifecycle@0.1.0;
                export weir:plugin/router@0.1.0;
                export weir:plugin/balancer@0.1.0;
                export weir:plugin/affinity@0.1.0;
                export weir:plugin/health@0.1.0;
            }
        ",
        world: "weir:host/decisions",
    });
    pub(crate) use exports::weir::plugin::*;
}

/// Calls on the control runtime.
#[allow(missing_docs, unused_qualifications, reason = "generated")]
pub(crate) mod waiting {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package weir:host;
            world checks {
                export weir:plugin/lifecycle@0.1.0;
                export weir:plugin/health@0.1.0;
            }
        ",
        world: "weir:host/checks",
        exports: { default: async },
    });
    pub(crate) use exports::weir::plugin::*;
}

/// Where a component keeps what it exports.
pub(crate) struct Exports {
    pub lifecycle: sync::lifecycle::GuestIndices,
    pub router: Option<sync::router::GuestIndices>,
    pub balancer: Option<sync::balancer::GuestIndices>,
    pub affinity: Option<sync::affinity::GuestIndices>,
    pub health: Option<sync::health::GuestIndices>,
}

impl Exports {
    /// None without `lifecycle`.
    pub(crate) fn of<T>(pre: &InstancePre<T>) -> Option<Self> {
        Some(Self {
            lifecycle: sync::lifecycle::GuestIndices::new(pre).ok()?,
            router: sync::router::GuestIndices::new(pre).ok(),
            balancer: sync::balancer::GuestIndices::new(pre).ok(),
            affinity: sync::affinity::GuestIndices::new(pre).ok(),
            health: sync::health::GuestIndices::new(pre).ok(),
        })
    }

    pub(crate) fn roles(&self) -> Vec<Role> {
        let exported = [
            (Role::Router, self.router.is_some()),
            (Role::Balancer, self.balancer.is_some()),
            (Role::Affinity, self.affinity.is_some()),
            (Role::Health, self.health.is_some()),
        ];
        exported.into_iter().filter_map(|(role, has)| has.then_some(role)).collect()
    }
}

impl From<Role> for sync::lifecycle::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Router => Self::Router,
            Role::Balancer => Self::Balancer,
            Role::Affinity => Self::Affinity,
            Role::Health => Self::Health,
        }
    }
}

impl From<Role> for waiting::lifecycle::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Router => Self::Router,
            Role::Balancer => Self::Balancer,
            Role::Affinity => Self::Affinity,
            Role::Health => Self::Health,
        }
    }
}

impl TryFrom<sync::router::Decision> for RouteDecision {
    type Error = Failure;

    fn try_from(decision: sync::router::Decision) -> Result<Self, Failure> {
        match decision {
            sync::router::Decision::Pass => Self::Pass,
            sync::router::Decision::Forward(forward) => Self::Forward(Forward {
                cluster: forward.cluster,
                set_headers: forward.set_headers,
                remove_headers: forward.remove_headers,
                path: forward.path,
                hash_key: forward.hash_key,
                labels: forward.labels,
            }),
            sync::router::Decision::Respond(response) => {
                Self::Respond(Response { status: response.status, headers: response.headers, body: response.body })
            }
        }
        .checked()
    }
}

impl From<sync::affinity::Session> for Session {
    fn from(session: sync::affinity::Session) -> Self {
        let seconds = |seconds| Duration::from_secs(u64::from(seconds));
        Self { key: session.key, idle: session.idle.map(seconds), max: session.max.map(seconds) }
    }
}

impl TryFrom<sync::affinity::Mark> for Mark {
    type Error = Failure;

    fn try_from(mark: sync::affinity::Mark) -> Result<Self, Failure> {
        Self { session: mark.session.map(Session::from), headers: mark.headers }.checked()
    }
}

impl TryFrom<waiting::health::Verdict> for HealthVerdict {
    type Error = Failure;

    fn try_from(verdict: waiting::health::Verdict) -> Result<Self, Failure> {
        let state = match verdict.state {
            waiting::health::State::Healthy => HealthState::Healthy,
            waiting::health::State::Degraded => HealthState::Degraded,
            waiting::health::State::Unhealthy => HealthState::Unhealthy,
            waiting::health::State::Drain => HealthState::Drain,
        };
        Self { state, weight_percent: verdict.weight.unwrap_or(100), why: verdict.why }.checked()
    }
}
