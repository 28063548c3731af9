//! The four roles. A type is one binding: it is read from the binding's settings once, lives as long as
//! the instance that holds it (one a worker), and may keep what it derives.

use serde::de::DeserializeOwned;

use crate::{Candidates, Decision, Mark, Request, Session, Target, Verdict};

/// Decides where a request goes. Bound by `plugins` of a route.
pub trait Router: DeserializeOwned + 'static {
    /// One decision for one request.
    fn route(&mut self, request: &Request) -> Decision;
}

/// Picks an endpoint. Bound by `balance` of a cluster.
pub trait Balancer: DeserializeOwned + 'static {
    /// Index into the candidates; none leaves the choice to round robin.
    fn pick(&mut self, request: &Request, candidates: &Candidates) -> Option<u32>;
}

/// Says which session a request belongs to. Bound by `affinity` of a cluster.
pub trait Affinity: DeserializeOwned + 'static {
    /// The session of the request; none when it has none yet.
    fn session(&mut self, request: &Request) -> Option<Session>;

    /// The request was bound to an endpoint and was not before: by its session's key where it has one.
    /// The default marks nothing.
    fn bound(&mut self, request: &Request, key: Option<&str>, endpoint: &str) -> Mark {
        let _ = (request, key, endpoint);
        Mark::default()
    }
}

/// Judges an endpoint. Bound by `health` of a cluster.
pub trait Health: DeserializeOwned + 'static {
    /// One check of the endpoint behind the target. It may wait, within the check's timeout.
    fn check(&mut self, target: &Target) -> Verdict;
}
