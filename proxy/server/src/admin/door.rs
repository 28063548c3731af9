//! An address of the admin interface: its socket, and the connections that come to it.

use std::{
    fmt::{self, Display},
    io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixListener,
    },
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use weir_config::{AdminAddress, SocketFile};

use super::access::Access;
use crate::{tls::Session, unix_socket};

/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Transport of a connection.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A socket of the admin interface that listens.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket at a path.
    Unix(UnixListener, PathBuf),
}

impl Socket {
    /// Listens at an address.
    ///
    /// # Errors
    /// Of the system, or another process listens there.
    pub fn bind(address: &AdminAddress, file: &SocketFile) -> io::Result<Self> {
        match address {
            AdminAddress::Tcp(address) => Self::tcp(TcpListener::bind(address)?),
            AdminAddress::Unix(path) => Ok(Self::Unix(unix_socket::bind(path, file)?, path.clone())),
        }
    }

    /// Over a socket that listens already.
    ///
    /// # Errors
    /// Of the system.
    pub fn tcp(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::Tcp(listener))
    }

    /// Over a socket that listens already at this path.
    ///
    /// # Errors
    /// Of the system.
    pub fn unix(listener: UnixListener, path: PathBuf) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::Unix(listener, path))
    }

    /// To be passed on to another process.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
        }
    }

    fn listen(&self) -> io::Result<Listener> {
        Ok(match self {
            Self::Tcp(listener) => Listener::Tcp(tokio::net::TcpListener::from_std(listener.try_clone()?)?),
            Self::Unix(listener, _) => Listener::Unix(tokio::net::UnixListener::from_std(listener.try_clone()?)?),
        })
    }
}

impl Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(_) => f.write_str("-"),
            },
            Self::Unix(_, path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An open address of the admin interface.
#[derive(Debug)]
pub struct Door {
    /// `admin` or `admin-read-only`.
    pub name: &'static str,
    /// The address that the configuration names.
    pub wanted: AdminAddress,
    /// The socket there.
    pub socket: Socket,
    /// What callers may do. A reload replaces it; requests to come keep to it.
    pub access: ArcSwap<Access>,
    /// Cancelled when it closes.
    pub closing: CancellationToken,
}

impl Door {
    /// Closes it. The file of a Unix socket goes, unless another process listens there from now on.
    pub fn close(&self, handed_over: bool) {
        if !handed_over && let Socket::Unix(_, path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
        self.closing.cancel();
    }

    /// # Errors
    /// Of the system.
    pub(super) fn listen(&self) -> io::Result<Listener> {
        self.socket.listen()
    }
}

/// Accepts connections.
pub(super) enum Listener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

/// A connection before TLS.
pub(super) enum Raw {
    Tcp(tokio::net::TcpStream, SocketAddr),
    Unix(tokio::net::UnixStream),
}

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// TCP from this address.
    Tcp {
        /// Its address.
        address: SocketAddr,
        /// The subject of its certificate, where it showed one.
        certificate: Option<String>,
    },
    /// A process of this machine.
    Unix {
        /// Its user; none where the system does not tell.
        uid: Option<u32>,
        /// Its number; none where the system does not tell.
        pid: Option<i32>,
    },
}

impl Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { address, .. } => address.fmt(f),
            Self::Unix { pid: Some(pid), .. } => write!(f, "pid {pid}"),
            Self::Unix { pid: None, .. } => f.write_str("unix"),
        }
    }
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<Raw> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Raw::Tcp(stream, address)
            }
            Self::Unix(listener) => Raw::Unix(listener.accept().await?.0),
        })
    }
}

impl Raw {
    /// Ready for HTTP, with its peer: after the TLS handshake where the address has TLS.
    ///
    /// # Errors
    /// Of the handshake.
    pub(super) async fn open(self, access: Arc<Access>) -> io::Result<(Box<dyn Transport>, Peer)> {
        match self {
            Self::Unix(stream) => {
                let peer = stream.peer_cred().ok();
                let uid = peer.as_ref().map(tokio::net::unix::UCred::uid);
                let pid = peer.and_then(|peer| peer.pid());
                Ok((Box::new(stream), Peer::Unix { uid, pid }))
            }
            Self::Tcp(stream, address) => {
                let Some(tls) = &access.tls else {
                    return Ok((Box::new(stream), Peer::Tcp { address, certificate: None }));
                };
                let shaken = timeout(HANDSHAKE, tls.handshake().make(stream)).await??;
                let (stream, session) = Session::of(shaken);
                let certificate = session.facts.client.as_ref().map(|client| client.subject.clone());
                Ok((Box::new(stream), Peer::Tcp { address, certificate }))
            }
        }
    }
}
