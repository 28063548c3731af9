//! Which clusters look for their endpoints: one task each, as long as neither the cluster nor the name
//! servers change.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use weir_upstream::{
    Cluster,
    discovery::{self, Known, Resolver},
};

use super::Named;
use crate::snapshot::Snapshot;

/// Between two looks whether the first answers are there.
const GLANCE: Duration = Duration::from_millis(5);

/// The tasks that run.
#[derive(Default)]
pub(super) struct Discoveries {
    running: Named<Task>,
}

struct Task {
    cluster: Arc<Cluster>,
    servers: Vec<SocketAddr>,
    known: Known,
    stop: CancellationToken,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Discoveries {
    /// Look for the endpoints of this snapshot's clusters, and of no others.
    pub(super) fn follow(&mut self, snapshot: &Snapshot, servers: &[SocketAddr]) {
        let mut next = Named::new();
        for (name, upstream) in &snapshot.clusters {
            let is_same =
                |task: &Task| Arc::ptr_eq(&task.cluster, &upstream.cluster) && task.servers.as_slice() == servers;
            let before = self.running.remove(name);
            let discover = &upstream.cluster.config().discover;
            if discover.is_some() {
                // One that looks in the same place goes on with what is known there.
                let looks_there = |task: &&Task| task.cluster.config().discover == *discover;
                let known = before.as_ref().filter(looks_there).map(|task| task.known.clone()).unwrap_or_default();
                let running = before.filter(is_same);
                running.iter().for_each(|task| task.cluster.doubt());
                next.insert(Arc::clone(name), running.unwrap_or_else(|| start(&upstream.cluster, servers, known)));
            }
        }
        self.running = next;
    }

    /// Wait until every cluster knows enough of its endpoints to begin, or why it does not, or for as long as that.
    pub(super) async fn first_answers(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let heard = |task: &Task| {
            let discovery = task.cluster.discovery();
            discovery.suffices || discovery.fault.is_some()
        };
        while !self.running.values().all(heard) && Instant::now() < end {
            sleep(GLANCE).await;
        }
    }
}

fn start(cluster: &Arc<Cluster>, servers: &[SocketAddr], known: Known) -> Task {
    let stop = CancellationToken::new();
    let shutdown = stop.clone().cancelled_owned();
    tokio::spawn(discovery::run(Arc::clone(cluster), Resolver::new(servers), known.clone(), shutdown));
    Task { cluster: Arc::clone(cluster), servers: servers.to_vec(), known, stop }
}
