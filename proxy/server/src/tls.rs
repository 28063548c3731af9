//! TLS towards clients: certificates by server name, ALPN, and what plugins may know of a session.

use std::{collections::HashMap, path::Path, sync::Arc};

use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;
use weir_config::Protocol;
use weir_plugin::TlsFacts;

/// TLS of one listener.
#[derive(Clone)]
pub struct ServerTls {
    /// Makes the handshakes.
    pub acceptor: TlsAcceptor,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

impl ServerTls {
    /// Read the certificates.
    ///
    /// # Errors
    /// Which file cannot be used and why: missing, not PEM, or a key that is not the certificate's.
    pub fn load(config: &weir_config::ListenerTls, protocol: Protocol) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut certificates = Certificates::default();
        for certificate in &config.certificates {
            certificates.add(certified_key(certificate, &provider)?);
        }
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let mut server = builder.with_no_client_auth().with_cert_resolver(Arc::new(certificates));
        server.alpn_protocols = match (protocol, config.http2) {
            (Protocol::Http, true) => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            (Protocol::Http, false) => vec![b"http/1.1".to_vec()],
            _ => config.alpn.iter().map(|name| name.clone().into_bytes()).collect(),
        };
        server.send_tls13_tickets = 1;
        server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(server)) })
    }
}

/// What plugins may know of a session.
pub fn facts(connection: &ServerConnection) -> TlsFacts {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    TlsFacts {
        version: version.to_owned(),
        sni: connection.server_name().map(str::to_owned),
        alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
    }
}

fn certified_key(
    certificate: &weir_config::Certificate,
    provider: &rustls::crypto::CryptoProvider,
) -> Result<CertifiedKey, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&certificate.cert)
        .and_then(Iterator::collect)
        .map_err(|e| unusable(&certificate.cert, &e));
    let chain = chain?;
    if chain.is_empty() {
        return Err(unusable(&certificate.cert, &"holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&certificate.key).map_err(|error| unusable(&certificate.key, &error))?;
    let (cert_path, key_path) = (certificate.cert.display(), certificate.key.display());
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => format!("{key_path} is not the private key of {cert_path}"),
        error => format!("{cert_path} with {key_path}: {error}"),
    })
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("{}: {why}", path.display())
}

/// Certificates by the names they are made out to.
#[derive(Debug, Default)]
struct Certificates {
    exact: HashMap<String, Arc<CertifiedKey>>,
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    fn add(&mut self, key: CertifiedKey) {
        let key = Arc::new(key);
        for name in names(&key) {
            let (names, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent.to_owned()),
                None => (&mut self.exact, name),
            };
            names.entry(name).or_insert_with(|| Arc::clone(&key));
        }
        self.first.get_or_insert(key);
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let parent = name.split_once('.').map_or("", |(_, parent)| parent);
        self.exact.get(&name).or_else(|| self.wildcard.get(parent))
    }
}

fn names(key: &CertifiedKey) -> Vec<String> {
    let leaf = key.cert.first().and_then(|leaf| webpki::EndEntityCert::try_from(leaf).ok());
    leaf.map(|leaf| leaf.valid_dns_names().map(str::to_ascii_lowercase).collect()).unwrap_or_default()
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.server_name().and_then(|name| self.find(name)).or(self.first.as_ref()).cloned()
    }
}
