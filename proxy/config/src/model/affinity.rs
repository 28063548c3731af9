//! `affinity`: which endpoint a session meets again.

use std::{path::PathBuf, time::Duration};

use super::Binding;

/// `affinity`
#[derive(Debug, Clone, PartialEq)]
pub struct Affinity {
    /// How a session is known.
    pub kind: AffinityKind,
    /// Ends this long after the last request; none is never. Default 30 min.
    pub idle: Option<Duration>,
    /// Ends this long after the first request; none is never. Default 8 h.
    pub max: Option<Duration>,
    /// Most sessions remembered, for kinds that remember. Default 100,000.
    pub capacity: usize,
    /// What happens to a session whose endpoint cannot take it. Default rebind.
    pub on_lost: OnLost,
}

/// How a session is known.
#[derive(Debug, Clone, PartialEq)]
pub enum AffinityKind {
    /// By a mark of ours that the client keeps in a cookie.
    Cookie(MarkCookie),
    /// By a value of the request, remembered in a table.
    Key {
        /// Where the request has it.
        by: RequestKey,
        /// Where a response of the application gives it; none takes the request's own.
        learn: Option<ResponseKey>,
    },
    /// By a plugin with the affinity role.
    Plugin(Binding),
}

/// `cookie`, in the modes that mark it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkCookie {
    /// The cookie's name. Default `weir`.
    pub name: String,
    /// Whose cookie it is. Default insert.
    pub mode: MarkMode,
    /// File with the secret that authenticates marks (at least 32 bytes), so that several processes
    /// accept each other's; none makes one for this process's life.
    pub secret: Option<PathBuf>,
}

/// Whose cookie carries the mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkMode {
    /// Our own.
    Insert {
        /// Path attribute. Default `/`.
        path: String,
    },
    /// The application's: the mark stands before its value, and the application never sees it.
    Prefix,
}

/// Where a request has the value that tells its client or session from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestKey {
    /// A header field, its name in lower case.
    Header(String),
    /// A cookie.
    Cookie(String),
    /// A query parameter.
    Query(String),
    /// The client's address; of IPv6 the first 64 bits.
    SourceIp,
}

/// Where a response has the value that names a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseKey {
    /// A header field, its name in lower case.
    Header(String),
    /// A cookie that is set.
    Cookie(String),
}

/// What happens to a session whose endpoint cannot take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLost {
    /// It goes on at another endpoint.
    Rebind,
    /// Its requests get 503 until the endpoint is back or the session has ended.
    Reject,
}
