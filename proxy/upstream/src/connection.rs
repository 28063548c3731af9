//! Connections to endpoints: dialled, spoken over, kept and used again, each by one worker alone.

mod connector;
mod link;
mod pool;
mod stream;
mod transport;

pub use connector::{Connector, Dialled};
pub use pool::{Lease, Pools};
pub use stream::{Outcome, Stream, Target};
pub use transport::Transport;

/// Why an endpoint could not be talked to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// No TCP connection.
    #[error("connect: {0}")]
    Connect(#[source] std::io::Error),
    /// No TLS session.
    #[error("TLS handshake: {0}")]
    Tls(#[source] std::io::Error),
    /// Neither within the cluster's connect timeout.
    #[error("connect: timed out")]
    ConnectTimeout,
    /// As many are open as may be, and none was closed within the cluster's connect timeout.
    #[error("as many connections are open as may be")]
    NoPlace,
    /// No file descriptor for it.
    #[error("no file descriptor left")]
    NoDescriptor,
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

    /// Whether the request has certainly not been acted upon, so that it may go to another endpoint.
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Tls(_) | Self::ConnectTimeout | Self::NoPlace => true,
            Self::Http2(error) => error.reason() == Some(h2::Reason::REFUSED_STREAM) || self.is_left_out(),
            Self::NoDescriptor | Self::Http1(_) | Self::NoResponse => false,
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
