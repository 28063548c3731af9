//! What `tls` of listeners and clusters means.

use std::path::PathBuf;

use super::Wanted;

/// `tls` of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// The first is given to a client whose server name fits none. At least one, unless there is `acme`.
    pub certificates: Vec<Certificate>,
    /// Certificates to be had of authorities.
    pub acme: Vec<Wanted>,
    /// Offer HTTP/2 by ALPN, where the protocol is HTTP. Default true.
    pub http2: bool,
    /// Protocols to agree on by ALPN, where it is not HTTP. Default none.
    pub alpn: Vec<String>,
    /// The oldest version that is spoken. Default 1.2.
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2
    V1_2,
    /// 1.3
    V1_3,
}

/// A certificate chain with its key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// `tls` of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM file of the authorities to trust; none is the system's.
    pub ca: Option<PathBuf>,
    /// Server name to send and verify; none is the endpoint's address.
    pub sni: Option<String>,
    /// Verify the endpoint's certificate. Default true.
    pub verify: bool,
}
