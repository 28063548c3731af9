//! What a route does with a request beside forwarding it to one cluster.

use std::{sync::Arc, time::Duration};

use super::{ByteSize, RequestKey};
use crate::secrets::Secret;

/// `split` of a route: each request goes to one of several clusters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Clusters with their shares, in file order. At least two, and at least one share above 0.
    pub shares: Vec<(Arc<str>, u32)>,
    /// What keeps a client on its cluster; none divides request by request.
    pub key: Option<RequestKey>,
}

/// `rollout` of a route: traffic moves from one cluster to another step by step, judged at each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// The cluster that has the traffic.
    pub from: Arc<str>,
    /// The cluster that is to have it.
    pub to: Arc<str>,
    /// Shares of `to` in percent, rising, the last 100. Default 5, 25, 50, 100.
    pub steps: Vec<u32>,
    /// Shortest time of a step. Default 5 min.
    pub interval: Duration,
    /// Fewest requests of either cluster in a step before it is judged. Default 100.
    pub min_requests: u32,
    /// How many percentage points more errors than `from` are no reason to go back. Default 1.
    pub max_error_increase: u32,
    /// How much slower than `from`, in percent, is no reason to go back. Default 50.
    pub max_latency_increase: u32,
    /// The percentile that is compared. Default 95.
    pub latency_percentile: u32,
    /// What keeps a client on its cluster; none divides request by request.
    pub key: Option<RequestKey>,
}

/// `redirect` of a route: what the location has that the request had not. What is none stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308. Default 308.
    pub status: u16,
    /// Scheme.
    pub scheme: Option<Scheme>,
    /// Host, without port.
    pub host: Option<String>,
    /// Port; none is as asked, or the scheme's own where scheme or host are given.
    pub port: Option<u16>,
    /// Path.
    pub path: Option<PathRewrite>,
    /// Leave the query out. Default false.
    pub strip_query: bool,
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// As in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What becomes of a request's path. The query stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// The prefix that the route matched is replaced.
    Prefix {
        /// `match.path-prefix`
        matched: String,
        /// What stands in its place.
        with: String,
    },
    /// The whole path is this.
    Whole(String),
    /// The first match of a regular expression is replaced; a path without match stays.
    Regex {
        /// In the syntax of the crate `regex`. It compiles.
        pattern: String,
        /// The replacement; `$1` and `${name}` stand for groups.
        with: String,
    },
}

/// `rewrite` of a route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rewrite {
    /// Of the path.
    pub path: Option<PathRewrite>,
    /// The Host that endpoints see.
    pub host: Option<String>,
}

/// Edits of a message's header: first what is removed, then what is set, then what is added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderEdits {
    /// In place of every field of the name.
    pub set: Vec<(String, Template)>,
    /// Beside fields of the name.
    pub add: Vec<(String, Template)>,
    /// Names of fields that go.
    pub remove: Vec<String>,
}

impl HeaderEdits {
    /// Whether nothing is edited.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// A value with places for what is known of the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Vec<Piece>);

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// As it is, and not shown.
    Secret(Secret),
    /// What this stands for.
    Variable(Variable),
}

/// What a value may speak of. Host, method and path are those that the client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// The client's address without port.
    ClientAddress,
    /// The client's port.
    ClientPort,
    /// `http` or `https`, as the client came.
    Scheme,
    /// Host, with port where one was sent.
    Host,
    /// Method.
    Method,
    /// Path without query.
    Path,
    /// Name of the listener.
    Listener,
    /// Name of the route.
    Route,
    /// Name of the tenant; empty where the request is nobody's.
    Tenant,
    /// Name of the cluster; empty where there is none.
    Cluster,
    /// Address of the endpoint; empty where there is none. In responses only.
    Endpoint,
}

/// Every edit of a route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edits {
    /// Of requests, on their way to an endpoint.
    pub request: HeaderEdits,
    /// Of responses, on their way to the client.
    pub response: HeaderEdits,
    /// Of the path and host that endpoints see.
    pub rewrite: Rewrite,
}

/// `mirror` of a route: copies of its requests go to another cluster, whose responses are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Where copies go.
    pub cluster: Arc<str>,
    /// How many of a hundred requests are copied. Default 100.
    pub percent: u32,
    /// Most copies under way at a time. Default 64.
    pub max_in_flight: u32,
    /// Requests with a larger body are not copied. Default 64 KiB.
    pub max_body: ByteSize,
}

/// `compression` of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compression {
    /// Media types in lower case; `text/*` is every one of text but `text/event-stream`.
    pub types: Vec<String>,
    /// Responses whose length is known to be less stay as they are. Default 1 KiB.
    pub min_size: ByteSize,
    /// Which to use, the best liked first. Default zstd, br, gzip.
    pub algorithms: Vec<Coding>,
}

/// How content is compressed (RFC 9110 section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// As messages name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}
