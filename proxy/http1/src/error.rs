//! What can be wrong with a message or its transport.

use http::StatusCode;

/// Why a message was refused, with the status a server answers it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Fault {
    /// 400, 414, 431, 501 or 505.
    pub status: StatusCode,
    /// For the log.
    pub reason: &'static str,
}

impl Fault {
    pub(crate) const fn bad(reason: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason }
    }

    pub(crate) const fn with(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

/// A failure of a connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The transport failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The peer's message breaks the protocol.
    #[error("malformed message: {0}")]
    Malformed(#[from] Fault),
    /// The peer closed in the middle of a message.
    #[error("closed in the middle of a message")]
    Truncated,
    /// Our side gave more or less body than it had announced.
    #[error("body differs from the announced length")]
    WrongLength,
}
