//! Clients that prove who they are: their certificates are verified, and what these say is passed on.

use std::{path::Path, sync::Arc, time::SystemTime};

use rustls::{
    ServerConnection,
    crypto::CryptoProvider,
    pki_types::{CertificateRevocationListDer, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use weir_config::{ClientAuth, Unusable};
use weir_plugin::ClientCertificate;
use weir_upstream::{read_authorities, trusting};
use x509_cert::{
    crl::CertificateList,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::certificate::{address, fingerprint, hexadecimal};

/// What verifies clients of a listener.
#[derive(Debug)]
pub struct Verifier {
    /// Verifies them.
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// When the first of the lists of revoked certificates wants to be replaced.
    pub revoked_until: Option<SystemTime>,
    /// Tells what it verifies from what others do.
    pub context: String,
}

impl Verifier {
    /// From the files of authorities and of revoked certificates.
    ///
    /// # Errors
    /// Which file cannot be used and why.
    pub fn load(config: &ClientAuth, provider: &Arc<CryptoProvider>) -> Result<Self, Unusable> {
        let of = |key: &'static str| move |why: String| Unusable::new(key, why);
        let lists = config.crl.as_deref().map(revoked).transpose().map_err(of("crl"))?.unwrap_or_default();
        let revoked_until = lists.iter().filter_map(next_update).min();
        let authorities = read_authorities(&config.ca).map_err(of("ca"))?;
        let parts = authorities.iter().map(AsRef::as_ref).chain(lists.iter().map(AsRef::as_ref)).map(fingerprint);
        // Tickets that do not say until when they count are of another context.
        let context = parts.chain([config.required.to_string(), " lasting".to_owned()]).collect();
        let roots = Arc::new(trusting(authorities, &config.ca).map_err(of("ca"))?);
        let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider)).with_crls(lists);
        let builder = if config.required { builder } else { builder.allow_unauthenticated() };
        let verifier = builder.build().map_err(|error| match &config.crl {
            Some(crl) => Unusable::new("crl", format!("{}: {error}", crl.display())),
            None => Unusable::new("ca", error.to_string()),
        })?;
        Ok(Self { verifier, revoked_until, context })
    }
}

/// Lists of revoked certificates: any number in PEM, or one in DER.
fn revoked(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let octets = std::fs::read(path).map_err(|error| fault(&error))?;
    if octets.first() == Some(&0x30) {
        return Ok(vec![octets.into()]);
    }
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&octets).collect();
    match lists {
        Ok(lists) if lists.is_empty() => Err(fault(&"no list of revoked certificates in it")),
        lists => lists.map_err(|error| fault(&error)),
    }
}

fn next_update(list: &CertificateRevocationListDer<'static>) -> Option<SystemTime> {
    let list = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(list).ok()?;
    list.tbs_cert_list.next_update.map(|time| time.to_system_time())
}

/// The certificate of the client of a session, which has been verified.
pub fn certificate(connection: &ServerConnection) -> Option<Arc<ClientCertificate>> {
    let leaf = connection.peer_certificates()?.first()?;
    let parsed = x509_cert::Certificate::from_der(leaf).ok()?;
    let parsed = parsed.tbs_certificate();
    let common_name = parsed.subject().common_name().ok().flatten().map(|name| name.value().into_owned());
    let alternatives = parsed.get_extension::<SubjectAltName>().ok().flatten();
    Some(Arc::new(ClientCertificate {
        subject: printable(&parsed.subject().to_string()),
        common_name: common_name.map(|name| printable(&name)),
        issuer: printable(&parsed.issuer().to_string()),
        serial: hexadecimal(parsed.serial_number().as_bytes()),
        names: alternatives.into_iter().flat_map(|(_, names)| names.0).filter_map(|name| alternative(&name)).collect(),
        fingerprint: fingerprint(leaf),
    }))
}

fn alternative(name: &GeneralName) -> Option<String> {
    Some(match name {
        GeneralName::DnsName(name) => format!("DNS:{}", listable(name.as_str())),
        GeneralName::UniformResourceIdentifier(uri) => format!("URI:{}", listable(uri.as_str())),
        GeneralName::Rfc822Name(name) => format!("email:{}", listable(name.as_str())),
        GeneralName::IpAddress(octets) => format!("IP:{}", address(octets.as_bytes())?),
        _ => return None,
    })
}

/// What is not printable ASCII is written as a backslash and two digits an octet (RFC 4514, section 2.4), so that it
/// can stand in a header field.
fn printable(text: &str) -> String {
    escaped(text, |octet| octet == b' ' || octet.is_ascii_graphic(), '\\')
}

/// Percent-encoded where it would not stand alone in a list.
fn listable(text: &str) -> String {
    escaped(text, |octet| octet.is_ascii_graphic() && octet != b',', '%')
}

fn escaped(text: &str, stays: impl Fn(u8) -> bool, mark: char) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        match stays(octet) {
            true => out.push(octet.into()),
            false => out.extend([mark].into_iter().chain(hexadecimal(&[octet]).chars())),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_certificate_says_can_stand_in_a_field() {
        assert_eq!(printable("CN=J\u{fc}rgen\r\nx: y,O=A B"), "CN=J\\c3\\bcrgen\\0d\\0ax: y,O=A B");
        assert_eq!(listable("spiffe://a/b, DNS:c"), "spiffe://a/b%2c%20DNS:c");
    }
}
