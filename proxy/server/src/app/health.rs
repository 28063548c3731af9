//! Which health checks and questions to agents run: one a cluster, as long as neither the cluster nor the plugin changes.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use weir_plugin::Host;
use weir_upstream::{
    Cluster, agent,
    health::{self, Probe},
};

use super::Named;
use crate::{
    plugin_health::PluginProbe,
    snapshot::{Snapshot, Upstream},
};

/// The checks that run.
#[derive(Default)]
pub(super) struct HealthChecks {
    running: Named<Check>,
}

struct Check {
    cluster: Arc<Cluster>,
    program: Option<u64>,
    stop: CancellationToken,
}

impl Drop for Check {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl HealthChecks {
    /// Check the clusters of this snapshot, and no others.
    pub(super) fn follow(&mut self, snapshot: &Snapshot, host: &Arc<Host>) {
        let mut next = Named::new();
        for (name, upstream) in &snapshot.clusters {
            let check = self.running.remove(name).filter(|check| check.is_of(upstream));
            if let Some(check) = check.or_else(|| start(upstream, host)) {
                next.insert(Arc::clone(name), check);
            }
        }
        self.running = next;
    }
}

impl Check {
    fn is_of(&self, upstream: &Upstream) -> bool {
        Arc::ptr_eq(&self.cluster, &upstream.cluster) && self.program == program(upstream)
    }
}

fn program(upstream: &Upstream) -> Option<u64> {
    upstream.health.as_ref().map(|bound| bound.program.id())
}

fn start(upstream: &Upstream, host: &Arc<Host>) -> Option<Check> {
    let cluster = Arc::clone(&upstream.cluster);
    let probe = probe(upstream, host).unwrap_or_else(|fault| {
        tracing::error!(cluster = &**cluster.name(), fault, "health check cannot run");
        None
    });
    let asks = cluster.config().agent.is_some();
    if probe.is_none() && !asks {
        return None;
    }
    let stop = CancellationToken::new();
    if let Some(probe) = probe {
        tokio::spawn(health::run(Arc::clone(&cluster), probe, stop.clone().cancelled_owned()));
    }
    if asks {
        tokio::spawn(agent::run(Arc::clone(&cluster), stop.clone().cancelled_owned()));
    }
    Some(Check { cluster, program: program(upstream), stop })
}

fn probe(upstream: &Upstream, host: &Arc<Host>) -> Result<Option<Arc<dyn Probe>>, String> {
    let config = upstream.cluster.config();
    match &upstream.health {
        Some(bound) => Ok(Some(Arc::new(PluginProbe::try_new(Arc::clone(host), bound.clone(), config)?))),
        None => health::probe(config).map_err(|unusable| unusable.why),
    }
}
