//! Connections to endpoints: dialled, spoken over, kept and used again, each by one worker alone.

mod connector;
mod link;
mod pool;
mod stream;
mod transport;

pub use connector::{Connector, Dialled};
pub use pool::{Lease, Pools, Since};
pub use stream::{Outcome, Stream, Target};
pub use transport::Transport;

use std::io;

use crate::room::Full;

/// Why an endpoint could not be talked to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// No TCP connection.
    #[error("connect: {0}")]
    Connect(#[source] io::Error),
    /// No TLS session.
    #[error("TLS handshake: {0}")]
    Tls(#[source] io::Error),
    /// Neither within the cluster's connect timeout.
    #[error("connect: timed out")]
    ConnectTimeout,
    /// As many are open as may be, at the endpoint or in its whole cluster, and none was closed in time.
    #[error("as many connections are open as may be")]
    NoPlace(Full),
    /// No file descriptor for it.
    #[error("no file descriptor left")]
    NoDescriptor,
    /// No port of ours or no memory for it.
    #[error("no local port or memory left: {0}")]
    NoMeans(#[source] io::Error),
    /// HTTP/2 has no words for the request.
    #[error("request cannot be passed on by HTTP/2")]
    Unsayable,
    /// A failure of HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] weir_http1::Error),
    /// A failure of HTTP/2.
    #[error(transparent)]
    Http2(#[from] h2::Error),
    /// The endpoint closed before it sent any of a response.
    #[error("closed before the response")]
    NoResponse,
}

impl ConnectionError {
    /// Whether there was no connection to speak over, as far as the endpoint is concerned.
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Tls(_) | Self::ConnectTimeout)
    }

    /// Whether the endpoint had no part in it.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::NoPlace(_) | Self::NoDescriptor | Self::NoMeans(_) | Self::Unsayable)
    }

    /// Whether the request has certainly not been acted upon, and another endpoint may do: each has places of its own,
    /// and ports of ours to reach it from.
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Connect(_)
            | Self::Tls(_)
            | Self::ConnectTimeout
            | Self::NoPlace(Full::Endpoint)
            | Self::NoMeans(_) => true,
            Self::Http2(_) => self.is_refused(),
            Self::NoPlace(Full::Cluster) | Self::NoDescriptor | Self::Unsayable | Self::Http1(_) | Self::NoResponse => {
                false
            }
        }
    }

    /// Whether the endpoint said that it has not processed the request (RFC 9113 section 8.7): it may take it at
    /// another try.
    pub fn is_refused(&self) -> bool {
        let refused = |error: &h2::Error| error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        matches!(self, Self::Http2(error) if refused(error)) || self.is_left_out()
    }

    /// The same for others who waited for the connection; none where it says nothing of what they would meet.
    fn shared(&self) -> Option<Self> {
        let copy = |error: &io::Error| match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        };
        match self {
            Self::Connect(error) => Some(Self::Connect(copy(error))),
            Self::Tls(error) => Some(Self::Tls(copy(error))),
            Self::ConnectTimeout => Some(Self::ConnectTimeout),
            Self::NoDescriptor => Some(Self::NoDescriptor),
            Self::NoMeans(error) => Some(Self::NoMeans(copy(error))),
            _ => None,
        }
    }

    /// Whether the endpoint said, as it ended its connection, that this request is none of those it took up
    /// (RFC 9113 section 6.8): it may go over another connection. What was taken up and is cut fails otherwise.
    pub fn is_left_out(&self) -> bool {
        matches!(self, Self::Http2(error) if error.is_go_away() && error.is_remote())
    }

    /// Whether the endpoint ended the connection or the stream before its response.
    pub fn is_reset(&self) -> bool {
        match self {
            Self::Http1(weir_http1::Error::Truncated) => true,
            Self::Http2(error) => error.is_io() || (error.is_remote() && (error.is_go_away() || error.is_reset())),
            _ => self.is_closed(),
        }
    }

    /// Whether the transport ended under us, as an idle connection does that the endpoint had closed.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::NoResponse => true,
            Self::Http1(weir_http1::Error::Io(_)) => true,
            Self::Http2(error) => error.is_io() || error.is_go_away(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_missing_is_looked_for_where_there_may_be_one() {
        let [endpoint, cluster] = [Full::Endpoint, Full::Cluster].map(ConnectionError::NoPlace);
        assert!(endpoint.is_unsent() && !cluster.is_unsent());
        assert!([endpoint, cluster].iter().all(|error| error.is_ours() && !error.is_connect()));
    }

    #[test]
    fn what_others_meet_too_is_told_to_them() {
        let refused = || io::Error::from_raw_os_error(nix::libc::ECONNREFUSED);
        let told = [ConnectionError::Connect(refused()), ConnectionError::Tls(io::Error::other("alert"))];
        for error in told {
            assert_eq!(error.shared().unwrap().to_string(), error.to_string());
        }
        assert!(ConnectionError::NoResponse.shared().is_none());
    }
}
