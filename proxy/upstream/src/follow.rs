//! One task for each endpoint of a cluster, as long as it is a member.

use std::{collections::HashMap, future::Future, pin::pin, sync::Arc};

use tokio::task::{AbortHandle, JoinSet};

use crate::{cluster::Cluster, endpoint::Endpoint};

/// Keep a task running for each endpoint until `shutdown` comes: endpoints that come get one, those that go
/// lose theirs. A panic of a task goes on in the caller.
pub(crate) async fn follow<T: Future<Output = ()> + Send + 'static>(
    cluster: &Cluster,
    shutdown: impl Future<Output = ()>,
    start: impl Fn(Arc<Endpoint>) -> T,
) {
    let mut membership = cluster.membership();
    let mut tasks = JoinSet::new();
    let mut running = HashMap::new();
    let mut shutdown = pin!(shutdown);
    loop {
        running = keep(cluster, running, |endpoint| tasks.spawn(start(endpoint)));
        tokio::select! {
            () = &mut shutdown => return,
            changed = membership.changed() => if changed.is_err() { return },
            () = accident(&mut tasks) => {}
        }
    }
}

/// The tasks by endpoint: those that run, and new ones where there are none.
fn keep(
    cluster: &Cluster,
    mut former: HashMap<u64, AbortHandle>,
    mut start: impl FnMut(Arc<Endpoint>) -> AbortHandle,
) -> HashMap<u64, AbortHandle> {
    let members = cluster.endpoints();
    let kept = members.iter().map(|endpoint| {
        let task = former.remove(&endpoint.id()).unwrap_or_else(|| start(Arc::clone(endpoint)));
        (endpoint.id(), task)
    });
    let kept = kept.collect();
    former.into_values().for_each(|task| task.abort());
    kept
}

/// Tasks have no end of their own: one that ends without being told to has panicked.
async fn accident(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    std::future::pending().await
}
