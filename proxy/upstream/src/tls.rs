//! TLS towards endpoints: certificates are verified unless the operator says otherwise.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use weir_config::{ClientIdentity, Unusable, UpstreamTls};

/// What the files of these settings hold now, to be compared with what they held.
pub fn contents<'a>(tls: impl Iterator<Item = &'a UpstreamTls>) -> Vec<Option<Vec<u8>>> {
    tls.flat_map(UpstreamTls::files).map(|path| std::fs::read(path).ok()).collect()
}

/// The client side of TLS as a cluster has it. Reads every file from disk; errors name the file.
pub fn client_tls(config: &UpstreamTls, http2: bool) -> Result<Arc<ClientConfig>, Unusable> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Unusable::new("ca", error.to_string()))?;
    let builder = if config.verify {
        let authorities = authorities(config.ca.as_deref()).map_err(|why| Unusable::new("ca", why))?;
        builder.with_root_certificates(authorities)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified { provider }))
    };
    let mut tls = match &config.identity {
        None => builder.with_no_client_auth(),
        Some(ClientIdentity { cert, key }) => {
            let fault = |key: &str, path: &Path, error: &dyn std::fmt::Display| {
                Unusable::new(key, format!("{}: {error}", path.display()))
            };
            let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
            let chain = chain.map_err(|error| fault("cert", cert, &error))?;
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| fault("key", key, &error))?;
            builder.with_client_auth_cert(chain, private).map_err(|error| match error {
                Error::InconsistentKeys(_) => {
                    Unusable::new("key", format!("{} is not the private key of {}", key.display(), cert.display()))
                }
                error => Unusable::new("cert", format!("{} with {}: {error}", cert.display(), key.display())),
            })?
        }
    };
    let protocol: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
    tls.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(tls))
}

/// The authorities in this file, or those of the system. Blocking: reads them.
///
/// # Errors
/// There are none to be had; names the file.
pub fn authorities(ca: Option<&Path>) -> Result<RootCertStore, String> {
    match ca {
        Some(path) => trusting(read_authorities(path)?, path),
        None => system_authorities(),
    }
}

/// The certificates in this file, of which there is one at least. Blocking: reads them.
///
/// # Errors
/// There are none to be had; names the file.
pub fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found {
        Ok(found) if found.is_empty() => Err(format!("{}: no certificate in it", path.display())),
        found => found.map_err(|error| format!("{}: {error}", path.display())),
    }
}

/// Trust in these, which are of this file.
///
/// # Errors
/// One cannot be trusted; names the file.
pub fn trusting(authorities: Vec<CertificateDer<'static>>, path: &Path) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in authorities {
        store.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(store)
}

fn system_authorities() -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        return Err("the system trusts no certificate authority: name a ca file".to_owned());
    }
    Ok(store)
}

/// Takes any certificate, as `verify = false` asks for; the handshake's signature is still checked.
#[derive(Debug)]
struct Unverified {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let schemes = self.provider.signature_verification_algorithms;
        schemes.supported_schemes()
    }
}
