//! Configurations that the tests of this crate start from.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use weir_config::{Affinity, AffinityKind, Binding, Cluster, Endpoint, MarkCookie, MarkMode, OnLost};

use crate::standing::{State, Verdict};

/// A cluster named `web` with an endpoint at 127.0.0.1, ports from 9000 up, for every weight.
pub(crate) fn cluster(weights: &[u32]) -> Cluster {
    let ports = 9_000_u16..;
    let endpoints = ports
        .zip(weights)
        .map(|(port, &weight)| Endpoint { weight, ..Endpoint::at(SocketAddr::from(([127, 0, 0, 1], port))) });
    Cluster::of("web", endpoints.collect())
}

/// Sessions by a cookie `weir`, 30 minutes idle and 8 hours in all.
pub(crate) fn cookie() -> Affinity {
    let mode = MarkMode::Insert { path: "/".to_owned() };
    sessions(AffinityKind::Cookie(MarkCookie { name: "weir".to_owned(), mode, secret: None }))
}

/// Sessions by a plugin, with the same times.
pub(crate) fn by_plugin() -> Affinity {
    sessions(AffinityKind::Plugin(Binding { plugin: Arc::from("sessions"), settings: "{}".parse().unwrap() }))
}

fn sessions(kind: AffinityKind) -> Affinity {
    let (idle, max) = (Duration::from_secs(30 * 60), Duration::from_secs(8 * 60 * 60));
    Affinity { kind, idle: Some(idle), max: Some(max), capacity: 100, on_lost: OnLost::Rebind }
}

/// What a check says.
pub(crate) fn verdict(state: State, weight_percent: u32, why: &str) -> Verdict {
    Verdict { state, weight_percent, why: why.to_owned() }
}

/// An exchange under way at an endpoint, as long as this lives.
pub(crate) struct Busy(Arc<crate::endpoint::Endpoint>);

/// Begin an exchange.
pub(crate) fn busy(endpoint: &Arc<crate::endpoint::Endpoint>) -> Busy {
    assert!(endpoint.try_begin());
    Busy(Arc::clone(endpoint))
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}
