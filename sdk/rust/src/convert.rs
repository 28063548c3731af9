//! The edge to the contract: our types as the generated ones.

use std::time::Duration;

use crate::{
    Decision, Mark, Session, State, Verdict,
    wit::{
        affinity::exports::weir::plugin::affinity, health::exports::weir::plugin::health,
        router::exports::weir::plugin::router,
    },
};

impl From<Decision> for router::Decision {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Pass => Self::Pass,
            Decision::Forward(forward) => Self::Forward(router::Forward {
                cluster: forward.cluster,
                set_headers: forward.set_headers,
                remove_headers: forward.remove_headers,
                path: forward.path,
                hash_key: forward.hash_key,
                labels: forward.labels,
            }),
            Decision::Respond(response) => Self::Respond(router::Response {
                status: response.status,
                headers: response.headers,
                body: response.body,
            }),
        }
    }
}

impl From<Session> for affinity::Session {
    fn from(session: Session) -> Self {
        Self { key: session.key, idle: session.idle.map(seconds), max: session.max.map(seconds) }
    }
}

impl From<Mark> for affinity::Mark {
    fn from(mark: Mark) -> Self {
        Self { session: mark.session.map(Into::into), headers: mark.headers }
    }
}

impl From<Verdict> for health::Verdict {
    fn from(verdict: Verdict) -> Self {
        Self {
            state: match verdict.state {
                State::Healthy => health::State::Healthy,
                State::Degraded => health::State::Degraded,
                State::Unhealthy => health::State::Unhealthy,
                State::Drain => health::State::Drain,
            },
            weight: verdict.weight,
            why: verdict.why,
        }
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
