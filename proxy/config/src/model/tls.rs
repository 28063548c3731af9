//! What `tls` of listeners and clusters means.

use std::{path::PathBuf, sync::Arc};

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
    /// Present when clients prove who they are.
    pub client_auth: Option<ClientAuth>,
    /// Refuse requests for hosts that the connection's certificate is not for. Default false.
    pub strict_host: bool,
    /// File of the keys of session tickets; none makes random ones.
    pub ticket_keys: Option<PathBuf>,
}

impl ListenerTls {
    /// Every file it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let certificates =
            self.certificates.iter().flat_map(|one| [Some(&one.cert), Some(&one.key), one.ocsp.as_ref()]);
        let client_auth = self.client_auth.iter().flat_map(|auth| [Some(&auth.ca), auth.crl.as_ref()]);
        certificates.chain(client_auth).chain([self.ticket_keys.as_ref()]).flatten()
    }
}

/// `client-auth` of a listener: clients show certificates, which are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// Refuse clients without one. Default true.
    pub required: bool,
    /// PEM file of the authorities to trust.
    pub ca: PathBuf,
    /// File of the certificates that are revoked; none revokes nothing.
    pub crl: Option<PathBuf>,
    /// Header fields by which endpoints are told, in lower case. Default none.
    pub headers: Vec<(ClientFact, String)>,
}

/// What a certificate says of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFact {
    /// Its subject as a whole.
    Subject,
    /// The common name of its subject.
    CommonName,
    /// The authority's name.
    Issuer,
    /// Its serial number.
    Serial,
    /// Its alternative names.
    Names,
    /// Its SHA-256.
    Fingerprint,
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
    /// By what it can be replaced while it runs; none is for files alone.
    pub name: Option<Arc<str>>,
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// An answer of the authority that it is not revoked, to be given to clients.
    pub ocsp: Option<PathBuf>,
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
    /// By what we prove who we are; none shows nothing.
    pub identity: Option<ClientIdentity>,
}

impl UpstreamTls {
    /// Every file it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let identity = self.identity.iter().flat_map(|identity| [&identity.cert, &identity.key]);
        self.ca.iter().chain(identity)
    }
}

/// A certificate chain with its key, both PEM files, that endpoints are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}
