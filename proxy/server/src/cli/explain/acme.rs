//! Authorities that issue certificates, and what is wanted of them.

use weir_config::{Acme, Challenge, KeyType, ListenerTls};

use super::time;

/// Where its directory is, how names are proven, and when certificates are renewed.
pub(super) fn of_authority(acme: &Acme) -> Vec<String> {
    let bound = acme.eab.as_ref().map(|eab| format!(", as the customer {}", eab.key_id)).unwrap_or_default();
    let reached = match acme.challenge {
        Challenge::Http => "a request to port 80",
        Challenge::TlsAlpn => "a handshake at port 443",
    };
    let key = match acme.key_type {
        KeyType::EcdsaP256 => "ECDSA P-256",
        KeyType::EcdsaP384 => "ECDSA P-384",
        KeyType::Rsa2048 => "RSA 2048",
        KeyType::Rsa4096 => "RSA 4096",
    };
    let before = acme.renew_before.map_or("a third of their lifetime".to_owned(), time);
    vec![
        format!("{}{bound}", acme.directory),
        format!("{}: names are proven by {reached} of each; keys are {key}", acme.challenge.as_str()),
        format!("renewed {before} before their end; kept in {}", acme.storage.display()),
    ]
}

/// What a listener wants of authorities.
pub(super) fn of_listener(tls: &ListenerTls) -> impl Iterator<Item = String> {
    tls.acme.iter().map(|wanted| format!("a certificate of {} for {}", wanted.authority, wanted.names.join(", ")))
}
