//! What every end-to-end test is made of: a Weir process, endpoints, clients, certificates.
//!
//! Everything listens on port 0, lives in the test's own runtime and folder, and ends with the test.
#![allow(dead_code, unused_imports)]

mod body;
mod bystander;
mod client;
mod endpoint;
pub mod exposition;
mod names;
mod raw;
mod tls;
mod weir;

use std::{
    future::Future,
    path::PathBuf,
    time::{Duration, Instant},
};

pub use self::{
    body::{Body, BodySender, channel, empty, full, octets, with_trailers},
    bystander::{Bystander, Meter},
    client::{Client, Reply, get, request},
    endpoint::{Endpoint, Reserved, Seen},
    names::{NameServer, Zone},
    raw::{Raw, RawEndpoint},
    tls::{Ca, Certificate, TimeFromNow},
    weir::{Setup, Weir, plain, plain_of, run, weir, weir_with_files, weir_without_privilege},
};

/// Longest wait for anything that ought to happen.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Asks again and again until the condition yields something; panics after `deadline`.
pub async fn eventually_within<T, F: Future<Output = Option<T>>>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < end, "waited {deadline:?} in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// [`eventually_within`] the usual patience.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, condition: impl FnMut() -> F) -> T {
    eventually_within(PATIENCE, what, condition).await
}

/// Waits for a plain condition.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    eventually(what, || std::future::ready(condition().then_some(()))).await;
}

/// A future that must end within the usual patience.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain for: {what}"))
}

/// A component built by `cargo xtask guests`.
pub fn guest(name: &str) -> PathBuf {
    let path = target().join("guests").join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is not there: run cargo xtask guests", path.display());
    path
}

/// The workspace's target folder.
pub fn target() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target")
}
