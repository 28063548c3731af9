//! One authority's certificates over time: the next one that is due is ordered, and no two at once.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};
use weir_upstream::Rng;

use super::{
    certificate::Managed,
    challenges::Challenges,
    order::{self, Failed},
};
use crate::access_log::rfc3339;

/// Between two looks at what is due: the clock may have been set, or an operator wants something sooner.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time of an order.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Keep these certificates of one authority renewed until `shutdown` is ready.
pub async fn run(certificates: Vec<Arc<Managed>>, challenges: Arc<Challenges>, shutdown: impl Future<Output = ()>) {
    let mut shutdown = pin!(shutdown);
    let mut rng = Rng::seeded();
    while let Some(next) = certificates.iter().min_by_key(|certificate| certificate.lock().next) {
        let left = next.lock().next.duration_since(SystemTime::now()).unwrap_or_default();
        let step = async {
            match left.is_zero() {
                true => attempt(next, &challenges, &mut rng).await,
                false => sleep(left.min(LOOK)).await,
            }
        };
        tokio::select! {
            () = step => {}
            () = &mut shutdown => return,
        }
    }
}

async fn attempt(certificate: &Arc<Managed>, challenges: &Arc<Challenges>, rng: &mut Rng) {
    let (acme, names) = (certificate.authority(), certificate.names().join(", "));
    let obtained = timeout(PATIENCE, order::obtain(certificate, challenges)).await;
    let taken_up = match obtained.unwrap_or_else(|_| Err(Failed::of(format!("not done within {PATIENCE:?}")))) {
        Ok(pem) => certificate.take_up(&pem, rng).map_err(Failed::of),
        Err(failed) => Err(failed),
    };
    match taken_up {
        Ok(()) => {
            let progress = certificate.progress();
            let until = progress.validity.map(|validity| rfc3339(validity.until));
            tracing::info!(acme, names, until, next = rfc3339(progress.next), "certificate obtained");
        }
        Err(Failed { why, asked }) => {
            certificate.lock().fail(why.clone(), asked, SystemTime::now(), rng.fraction());
            let progress = certificate.progress();
            let until = progress.validity.map(|validity| rfc3339(validity.until));
            let (failures, next) = (progress.failures, rfc3339(progress.next));
            tracing::warn!(acme, names, why, failures, until, next, "certificate not obtained, it is tried again");
        }
    }
    let noted = Arc::clone(certificate);
    let noted = spawn_blocking(move || noted.note()).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    if let Err(error) = noted {
        tracing::warn!(acme, names, %error, "what became of an order cannot be noted");
    }
}
