//! The request a decision is about. Inside the sandbox nothing is copied until it is asked for, and each
//! question is a call into the host; so ask once and keep the answer.

#[cfg(target_arch = "wasm32")]
mod ambient;
#[cfg(not(target_arch = "wasm32"))]
mod constructed;

#[cfg(target_arch = "wasm32")]
pub use ambient::Request;
#[cfg(not(target_arch = "wasm32"))]
pub use constructed::{Request, RequestBuilder};

/// What is known of the client's TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// Server name the client asked for.
    pub sni: Option<String>,
    /// Application protocol agreed on: `h2` or `http/1.1`.
    pub alpn: Option<String>,
}

/// The certificate by which a client proved who it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientCertificate {
    /// RFC 4514: `CN=billing,O=Example`. What is not printable ASCII is written as `\c3`, an octet each.
    pub subject: String,
    /// Common name of the subject.
    pub common_name: Option<String>,
    /// Name of the authority, written like the subject.
    pub issuer: String,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// Alternative names with their kinds: `DNS:a.example.com`, `URI:spiffe://example.com/billing`.
    pub names: Vec<String>,
    /// SHA-256 in hexadecimal.
    pub fingerprint: String,
}
