//! Attempts as they are configured: how often, how many at once, and who waits.

mod connections;
mod hedged;
mod limited;
mod places;
mod retried;

use super::harness::{Weir, eventually};

/// So many requests wait for an endpoint of the cluster `web`.
pub async fn waiting(weir: &Weir, number: f64) {
    let series = "weir_queue_waiting{cluster=\"web\"}";
    let found = || async { (weir.metric(series).await == number).then_some(()) };
    eventually(&format!("{number} requests to wait"), found).await;
}
