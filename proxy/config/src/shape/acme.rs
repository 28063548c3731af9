//! `[acme.NAME]`, and `tls.acme` of a listener.

use schemars::JsonSchema;

use super::scalar::Duration;

/// An authority that issues certificates (RFC 8555).
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Acme {
    /// `letsencrypt`, `letsencrypt-staging`, or the URL of a directory.
    #[schemars(regex(pattern = "^(letsencrypt|letsencrypt-staging|https://.+)$"))]
    directory: String,
    /// Whether its terms of service are agreed to.
    #[schemars(extend("const" = true))]
    terms_agreed: bool,
    /// Mail addresses.
    #[schemars(extend("default" = []))]
    contact: Option<Vec<String>>,
    /// Folder for account and certificates.
    #[schemars(extend("default" = "acme"))]
    storage: Option<String>,
    /// How names are proven.
    #[schemars(extend("default" = "tls-alpn-01"))]
    challenge: Option<Challenge>,
    /// Authorities by which the directory is verified; without it those of the system.
    ca: Option<String>,
    /// Keys of certificates.
    #[schemars(extend("default" = "ecdsa-p256"))]
    key_type: Option<KeyType>,
    /// How long before its end a certificate is renewed; without it a third of its lifetime.
    renew_before: Option<Duration>,
    /// The account that the authority knows its customer by.
    eab: Option<Eab>,
}

#[derive(JsonSchema)]
#[schemars(inline)]
enum Challenge {
    #[schemars(rename = "http-01")]
    Http,
    #[schemars(rename = "tls-alpn-01")]
    TlsAlpn,
}

#[derive(JsonSchema)]
#[schemars(inline)]
enum KeyType {
    #[schemars(rename = "ecdsa-p256")]
    EcdsaP256,
    #[schemars(rename = "ecdsa-p384")]
    EcdsaP384,
    #[schemars(rename = "rsa-2048")]
    Rsa2048,
    #[schemars(rename = "rsa-4096")]
    Rsa4096,
}

/// External account binding.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Eab {
    /// The account's identifier.
    key_id: String,
    /// A file with its key in base64url.
    key: String,
}

/// A certificate to be had of an authority.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Wanted {
    /// The authority of this name.
    r#use: String,
    /// Hosts it is to be made out to.
    #[schemars(length(min = 1, max = 100))]
    names: Vec<String>,
}
