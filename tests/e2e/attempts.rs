//! Attempts as they are configured: how often, how many at once, and who waits.

mod connections;
mod hedged;
mod limited;
mod places;
mod retried;

use std::net::SocketAddr;

use super::harness::{Client, Weir, eventually};

/// So many requests wait for an endpoint of the cluster `web`.
pub async fn waiting(weir: &Weir, number: f64) {
    let series = "weir_queue_waiting{cluster=\"web\"}";
    let found = || async { (weir.metric(series).await == number).then_some(()) };
    eventually(&format!("{number} requests to wait"), found).await;
}

/// Listeners `tcp` and `web` before a cluster that goes by latency, and `/ping`, which needs no endpoint.
pub fn by_latency(endpoints: [SocketAddr; 2], cluster: &str) -> String {
    let listed = endpoints.map(|address| address.to_string());
    format!(
        "[process]\nworkers = 1\n[listeners.tcp]\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\ncluster = \"web\"\n\
         [listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"ping\"\nmatch = {{ path = \"/ping\" }}\n\
         respond = {{ status = 200 }}\n[[routes]]\nname = \"web\"\ncluster = \"web\"\n[clusters.web]\n\
         endpoints = {listed:?}\nbalance = {{ least-time = {{ decay = \"1d\" }} }}\nidle-connections = 0\n{cluster}\n"
    )
}

/// So many requests one after the other, each answered.
pub async fn asked(weir: &Weir, path: &str, times: usize) {
    let mut client = Client::http1(weir.web()).await;
    for _ in 0..times {
        assert_eq!(client.get(path).await.status, 200);
    }
}
