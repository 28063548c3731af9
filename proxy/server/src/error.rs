//! Why an exchange failed, and what the client is told.

use std::sync::Arc;

use http::StatusCode;
use weir_limits::{Refused, whole_seconds};
use weir_upstream::connection::ConnectionError;

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The client's message is refused.
    #[error("{reason}")]
    Refused {
        /// Told to the client.
        status: StatusCode,
        /// For the log.
        reason: &'static str,
    },
    /// The client left before its response was complete.
    #[error("client left")]
    ClientGone,
    /// The client took too long to send its request.
    #[error("client too slow to send")]
    ClientSlow,
    /// The client took too long to take its response.
    #[error("client too slow to read")]
    ClientStalled,
    /// The client's connection was closed for the memory that it held.
    #[error("connection closed for want of memory")]
    Unread,
    /// No route takes the request.
    #[error("no route")]
    NoRoute,
    /// No endpoint may be picked.
    #[error("no eligible endpoint")]
    NoEndpoint,
    /// The tenant has as many requests in flight as it may.
    #[error("tenant {0} is at its limit of requests")]
    TenantLimit(Arc<str>),
    /// A limit of rates or of requests in flight is reached.
    #[error("rate limit {limit} {}", why(*.refused))]
    RateLimit {
        /// Its name.
        limit: Arc<str>,
        /// What of it.
        refused: Refused,
    },
    /// The client's network may not come in.
    #[error("client's network is denied")]
    Denied,
    /// The endpoint that a session may not leave cannot take it.
    #[error("session lost: {0}")]
    SessionLost(String),
    /// Every endpoint is full, and as many requests wait as may.
    #[error("endpoints and queue are full")]
    QueueFull,
    /// Every endpoint was full for as long as a request may wait.
    #[error("waited too long in the queue")]
    QueueTimeout,
    /// A plugin failed whose failure is to be felt.
    #[error("plugin {plugin} failed: {kind}")]
    Plugin {
        /// Name of the plugin.
        plugin: String,
        /// Kind of failure.
        kind: &'static str,
    },
    /// Clients have not taken so many bytes of a plugin's own answers yet that there is no room for another.
    #[error("clients have yet to take other answers of plugin {0}")]
    NoRoomForAnswer(Arc<str>),
    /// The endpoint could not be talked to, or broke the protocol.
    #[error("{0}")]
    Upstream(#[source] ConnectionError),
    /// The endpoint took too long.
    #[error("endpoint timed out")]
    UpstreamTimeout,
    /// The attempt took longer than it may.
    #[error("attempt timed out")]
    AttemptTimeout,
    /// The route's timeout passed.
    #[error("route timed out")]
    RouteTimeout,
    /// The time passed that the client gave its call of gRPC.
    #[error("deadline of the client passed")]
    Deadline,
    /// The endpoint's connection failed under one that is passed on as it is.
    #[error("endpoint broke off: {0}")]
    EndpointGone(#[source] std::io::Error),
    /// Nothing passed either way for too long.
    #[error("idle for too long")]
    Idle,
    /// The endpoint did not switch protocols, and its answer would say that it did.
    #[error("endpoint did not switch protocols")]
    NotSwitched,
    /// A response could not be compressed.
    #[error("compression failed: {0}")]
    Compression(#[source] std::io::Error),
    /// A switch of protocols nobody asked for.
    #[error("unexpected switch of protocols")]
    Switch,
}

impl ProxyError {
    /// Status for the client, and for the log where there is no client any more.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Refused { status, .. } => *status,
            Self::ClientGone => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Self::ClientSlow | Self::ClientStalled | Self::Unread | Self::Idle => StatusCode::REQUEST_TIMEOUT,
            Self::Compression(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::TenantLimit(_) | Self::RateLimit { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::NoEndpoint
            | Self::SessionLost(_)
            | Self::QueueFull
            | Self::QueueTimeout
            | Self::NoRoomForAnswer(_)
            | Self::Plugin { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Upstream(ConnectionError::ConnectTimeout)
            | Self::UpstreamTimeout
            | Self::AttemptTimeout
            | Self::RouteTimeout
            | Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Self::Upstream(ConnectionError::Unsayable) => StatusCode::BAD_REQUEST,
            Self::Upstream(error) if error.is_ours() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Upstream(_) | Self::EndpointGone(_) | Self::Switch | Self::NotSwitched => StatusCode::BAD_GATEWAY,
        }
    }

    /// After how many seconds it is worth a try to ask again, where that is known.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimit { refused: Refused::Rate(wait), .. } => Some(whole_seconds(*wait).max(1)),
            Self::RateLimit { .. }
            | Self::NoEndpoint
            | Self::NoRoomForAnswer(_)
            | Self::QueueFull
            | Self::QueueTimeout
            | Self::TenantLimit(_)
            | Self::Upstream(ConnectionError::NoPlace(_)) => Some(1),
            _ => None,
        }
    }

    /// Whether there is nobody left to answer.
    pub fn is_client_gone(&self) -> bool {
        matches!(self, Self::ClientGone | Self::ClientStalled | Self::Unread)
    }
}

fn why(refused: Refused) -> &'static str {
    match refused {
        Refused::Rate(_) => "is used up",
        Refused::Busy => "has as many in flight as may be",
        Refused::Full => "has no room for another key",
    }
}
