//! Sessions, and how a client is marked with one.

use std::time::Duration;

/// A session a client told us of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// What tells it from others of the cluster: at most 512 bytes.
    pub key: String,
    /// Ends this long after the last request, in whole seconds; none is the cluster's.
    pub idle: Option<Duration>,
    /// Ends this long after the first request, in whole seconds; none is the cluster's.
    pub max: Option<Duration>,
}

impl Session {
    /// A session with the cluster's own times.
    pub fn new(key: impl Into<String>) -> Self {
        Self { key: key.into(), idle: None, max: None }
    }
}

/// How a client is marked once its request is bound to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mark {
    /// The session to remember for a request that had none.
    pub session: Option<Session>,
    /// Response headers to add, such as `set-cookie`.
    pub headers: Vec<(String, String)>,
}
