//! `[admin]`: where the admin interface is, and what each caller may do there.

use std::{
    fmt::{self, Display},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};

use super::ListenerTls;

/// `[admin]`
#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    /// Where the admin interface listens.
    pub address: AdminAddress,
    /// Owner and permissions of the Unix socket.
    pub socket: SocketFile,
    /// A second address, on which nothing can be changed.
    pub read_only: Option<SocketAddr>,
    /// Names that requests over TCP may have in `Host`, beside IP addresses and `localhost`; in lower case.
    pub hosts: Vec<String>,
    /// Tokens that callers over TCP show.
    pub tokens: Vec<AdminToken>,
    /// What a caller over TCP may do that proves nothing.
    pub unauthenticated: AdminRole,
    /// TLS on the TCP address.
    pub tls: Option<ListenerTls>,
    /// What a caller may do that shows a client certificate.
    pub client_certificate_role: AdminRole,
}

impl Admin {
    /// Files beside the configuration that it reads.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.tokens.iter().map(|token| &token.file).chain(self.tls.iter().flat_map(ListenerTls::files))
    }
}

/// Where the admin interface listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket at this path.
    Unix(PathBuf),
}

impl Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminAddress::Tcp(address) => write!(f, "{address}"),
            AdminAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Owner and permissions of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketFile {
    /// Permissions. Default 0600.
    pub mode: u32,
    /// A user by name or number; none is the process's.
    pub owner: Option<Arc<str>>,
    /// A group by name or number; none is the process's.
    pub group: Option<Arc<str>>,
}

impl Default for SocketFile {
    fn default() -> Self {
        Self { mode: 0o600, owner: None, group: None }
    }
}

/// A token and what it is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminToken {
    /// Names its holder in the audit log.
    pub name: Arc<str>,
    /// Holds the token.
    pub file: PathBuf,
    /// What its holder may do.
    pub role: AdminRole,
}

/// What a caller of the admin interface may do. Each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdminRole {
    /// Ask for health and readiness.
    None,
    /// See status and metrics.
    Read,
    /// Change endpoints, steer rollouts, replace certificates.
    Operate,
    /// Push plugins and reload.
    Deploy,
}

impl AdminRole {
    /// As the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            AdminRole::None => "none",
            AdminRole::Read => "read",
            AdminRole::Operate => "operate",
            AdminRole::Deploy => "deploy",
        }
    }
}
