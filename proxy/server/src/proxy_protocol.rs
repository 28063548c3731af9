//! Taking the client's address from the PROXY header that a trusted proxy begins a connection with.

use std::net::SocketAddr;

use tokio::{io::AsyncReadExt, net::TcpStream};
use weir_config::ProxyProtocol;
use weir_preamble::{
    Header,
    proxy::{self, Fault},
};

use crate::peek::{Peeked, peek};

/// Why a connection is closed before it says anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A header is required, and this peer's would not be believed.
    #[error("the peer is not trusted to send a PROXY header")]
    Untrusted,
    /// What came is no header.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The connection ended before its header did.
    #[error("ended within its PROXY header")]
    Ended,
}

/// The header a connection begins with, taken off it; none where there is none and need not be.
///
/// # Errors
/// The connection is to be closed.
pub async fn header(
    stream: &mut TcpStream,
    peer: SocketAddr,
    config: &ProxyProtocol,
) -> Result<Option<Header>, Refused> {
    if !config.trusted.iter().any(|network| network.contains(peer.ip())) {
        return if config.required { Err(Refused::Untrusted) } else { Ok(None) };
    }
    let (header, length) = match peek(stream, proxy::read).await {
        Ok(Peeked::Whole(found)) => found,
        Ok(Peeked::Ended) => return Err(Refused::Ended),
        Err(Fault::Absent) if !config.required => return Ok(None),
        Err(fault) => return Err(fault.into()),
    };
    take(stream, length).await.map_err(|_| Refused::Ended)?;
    Ok(Some(header))
}

/// Read past the header and no further.
async fn take(stream: &mut TcpStream, mut length: usize) -> std::io::Result<()> {
    let mut scratch = [0; 256];
    while length > 0 {
        let part = scratch.get_mut(..length.min(256)).unwrap_or_default();
        stream.read_exact(part).await?;
        length -= part.len();
    }
    Ok(())
}
