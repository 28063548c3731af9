//! The shape of `tls`.

use schemars::JsonSchema;

use super::{OneOrMore, acme::Wanted};

/// TLS of a listener.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ListenerTls {
    /// The first is for clients whose server name fits none. At least one, unless there is `acme`.
    #[schemars(extend("default" = []))]
    certificates: Option<Vec<Certificate>>,
    /// Certificates to be had of authorities.
    acme: Option<OneOrMore<Wanted>>,
    /// Offer HTTP/2 by ALPN, where the protocol is HTTP.
    #[schemars(extend("default" = true))]
    http2: Option<bool>,
    /// Protocols to agree on by ALPN, where the protocol is `tls`.
    #[schemars(extend("default" = []))]
    alpn: Option<Vec<String>>,
    /// The oldest version that is spoken.
    #[schemars(extend("default" = "1.2"))]
    min_version: Option<TlsVersion>,
    /// Clients show certificates, which are verified; without it they show none.
    client_auth: Option<ClientAuth>,
    /// Answer requests for hosts that the connection's certificate is not for with 421.
    #[schemars(extend("default" = false))]
    strict_host: Option<bool>,
    /// File of the keys of session tickets, shared by instances; without it keys are random.
    ticket_keys: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(inline)]
enum TlsVersion {
    #[schemars(rename = "1.2")]
    V1_2,
    #[schemars(rename = "1.3")]
    V1_3,
}

/// A certificate chain with its key, both PEM files.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Certificate {
    /// By what it can be replaced while it runs.
    name: Option<String>,
    /// The chain, leaf first.
    cert: String,
    /// The private key.
    key: String,
    /// An answer of the authority by OCSP (DER), to be given to clients.
    ocsp: Option<String>,
}

/// Clients show certificates, which are verified.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct ClientAuth {
    /// Whether clients without one are refused.
    #[schemars(extend("default" = "required"))]
    mode: Option<ClientAuthMode>,
    /// PEM file of the authorities to trust.
    ca: String,
    /// File of the certificates that are revoked, PEM or DER.
    crl: Option<String>,
    /// Header fields by which endpoints are told; without it none.
    headers: Option<ClientHeaders>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum ClientAuthMode {
    Required,
    Optional,
}

/// Names of header fields by which endpoints are told of a client's certificate.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct ClientHeaders {
    /// For its subject.
    subject: Option<String>,
    /// For the common name of its subject.
    common_name: Option<String>,
    /// For the name of the authority.
    issuer: Option<String>,
    /// For its serial number, in hexadecimal.
    serial: Option<String>,
    /// For its alternative names.
    names: Option<String>,
    /// For its SHA-256, in hexadecimal.
    fingerprint: Option<String>,
}

/// TLS to endpoints.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct UpstreamTls {
    /// PEM file of the authorities to trust; without it the system's.
    ca: Option<String>,
    /// Server name to send and verify; without it the endpoint's address.
    sni: Option<String>,
    /// Verify the endpoint's certificate.
    #[schemars(extend("default" = true))]
    verify: Option<bool>,
    /// The certificate chain to show, leaf first; without it none.
    cert: Option<String>,
    /// The private key of `cert`.
    key: Option<String>,
}
