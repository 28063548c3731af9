//! An authority of the test's own, and what clients and endpoints need of it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SanType, SignatureAlgorithm,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SignatureScheme,
    client::{Resumption, Tls12Resumption},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

/// A certificate authority.
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A time that is told from now.
#[derive(Clone, Copy)]
pub enum TimeFromNow {
    Ago(Duration),
    In(Duration),
}

impl TimeFromNow {
    fn time(self) -> SystemTime {
        match self {
            TimeFromNow::Ago(span) => SystemTime::now() - span,
            TimeFromNow::In(span) => SystemTime::now() + span,
        }
    }
}

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub struct Certificate {
    pub cert: String,
    pub key: String,
}

impl Ca {
    pub fn new() -> Ca {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "weir.test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ca { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// For `ca = "ca.pem"`.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for names and addresses.
    pub fn issue(&self, names: &[&str]) -> Certificate {
        self.issue_with(names, &rcgen::PKCS_ECDSA_P256_SHA256, |_| {})
    }

    /// The same with an RSA key.
    pub fn issue_rsa(&self, names: &[&str]) -> Certificate {
        self.issue_with(names, &rcgen::PKCS_RSA_SHA256, |_| {})
    }

    /// Valid between two times, told from now.
    pub fn issue_valid(&self, names: &[&str], from: TimeFromNow, until: TimeFromNow) -> Certificate {
        self.issue_with(names, &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
            (params.not_before, params.not_after) = (from.time().into(), until.time().into());
        })
    }

    /// With a key of this kind, and more to say.
    pub fn issue_with(
        &self,
        names: &[&str],
        key: &'static SignatureAlgorithm,
        more: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let key = KeyPair::generate_for(key).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        more(&mut params);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Certificate { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// A certificate of a client: a subject, alternative names, and a serial number.
    pub fn issue_client(&self, subject: &[(DnType, &str)], names: Vec<SanType>, serial: u8) -> Certificate {
        self.issue_with(&[], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
            params.distinguished_name = DistinguishedName::new();
            subject.iter().for_each(|(kind, value)| params.distinguished_name.push(kind.clone(), *value));
            params.subject_alt_names = names;
            params.serial_number = Some(vec![serial].into());
        })
    }

    /// A list of these serial numbers as revoked, in PEM.
    pub fn revoke(&self, serials: &[u8]) -> String {
        let now = SystemTime::now().into();
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: vec![*serial].into(),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: now,
            next_update: TimeFromNow::In(Duration::from_secs(86_400)).time().into(),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// Its private key, in PEM.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Trusts this authority alone, and offers these protocols by ALPN.
    pub fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        self.configure(alpn, None)
    }

    /// The same with TLS 1.2 alone.
    pub fn old_client(&self) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
        Arc::new(builder.with_root_certificates(self.roots()).with_no_client_auth())
    }

    /// The same with a certificate to show.
    pub fn client_with(&self, alpn: &[&str], certificate: &Certificate) -> Arc<ClientConfig> {
        self.configure(alpn, Some(certificate))
    }

    /// One that can verify signatures by RSA alone.
    pub fn rsa_client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        let known = &mut provider.signature_verification_algorithms;
        let rsa = |scheme: &SignatureScheme| *scheme == SignatureScheme::RSA_PSS_SHA256;
        known.mapping = known.mapping.iter().filter(|(scheme, _)| rsa(scheme)).copied().collect::<Vec<_>>().leak();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(self.roots()).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// One with TLS 1.2 alone, and a certificate to show.
    pub fn old_client_with(&self, certificate: &Certificate, resumption: Tls12Resumption) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
        let (chain, key) = certificate.parts();
        let mut config = builder.with_root_certificates(self.roots()).with_client_auth_cert(chain, key).unwrap();
        config.resumption = Resumption::default().tls12_resumption(resumption);
        Arc::new(config)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    fn configure(&self, alpn: &[&str], certificate: Option<&Certificate>) -> Arc<ClientConfig> {
        let roots = self.roots();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match certificate.map(Certificate::parts) {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl Certificate {
    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.cert.as_bytes()).collect::<Result<_, _>>().unwrap();
        (chain, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap())
    }

    pub fn server(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        self.serve(alpn, None)
    }

    /// For clients that show a certificate of this authority.
    pub fn server_for(&self, alpn: &[&str], clients: &Ca) -> Arc<ServerConfig> {
        self.serve(alpn, Some(clients))
    }

    fn serve(&self, alpn: &[&str], clients: Option<&Ca>) -> Arc<ServerConfig> {
        let (chain, key) = self.parts();
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            Some(ca) => {
                let roots = Arc::new(ca.roots());
                builder.with_client_cert_verifier(
                    WebPkiClientVerifier::builder_with_provider(roots, provider()).build().unwrap(),
                )
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
