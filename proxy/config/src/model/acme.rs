//! What `[acme.NAME]` means, and `tls.acme` of a listener.

use std::{path::PathBuf, sync::Arc, time::Duration};

/// `[acme.NAME]`: an authority that issues certificates without people (RFC 8555).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// Its name in the file.
    pub name: Arc<str>,
    /// The URL of its directory; https.
    pub directory: String,
    /// How it reaches the operator, as URLs. Default none.
    pub contact: Vec<String>,
    /// The folder for account and certificates, absolute. Default `acme`.
    pub storage: PathBuf,
    /// How names are proven to be ours. Default TLS-ALPN.
    pub challenge: Challenge,
    /// Authorities by which the directory itself is verified; none is those of the system.
    pub ca: Option<PathBuf>,
    /// Keys of certificates. Default ECDSA P-256.
    pub key_type: KeyType,
    /// How long before its end a certificate is renewed; none is a third of its lifetime.
    pub renew_before: Option<Duration>,
    /// The account that the authority knows its customer by.
    pub eab: Option<Eab>,
}

/// How an authority is shown that a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// By a request on port 80 (RFC 8555 section 8.3).
    Http,
    /// By a handshake on port 443 (RFC 8737).
    TlsAlpn,
}

impl Challenge {
    /// As in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http-01",
            Self::TlsAlpn => "tls-alpn-01",
        }
    }
}

/// The kind of key that a certificate gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// `ecdsa-p256`
    EcdsaP256,
    /// `ecdsa-p384`
    EcdsaP384,
    /// `rsa-2048`
    Rsa2048,
    /// `rsa-4096`
    Rsa4096,
}

/// External account binding (RFC 8555 section 7.3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eab {
    /// The account's identifier.
    pub key_id: String,
    /// A file with its key in base64url.
    pub key: PathBuf,
}

/// One of `tls.acme`: a certificate to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Name of an authority in [`Config::acme`](super::Config::acme).
    pub authority: Arc<str>,
    /// What it is to be made out to: at least one host, in lower case.
    pub names: Vec<String>,
}
