//! A certificate chain with its key, and what is known of it.

use std::{
    fmt,
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    SignatureAlgorithm,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use weir_config::Unusable;
use x509_cert::{
    TbsCertificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
    time::Time,
};

use super::ocsp::Staple;
use crate::access_log::rfc3339;

/// A certificate chain with its key.
#[derive(Debug)]
pub struct Certificate {
    /// What people know it by: its name, or the path of its file.
    pub name: Arc<str>,
    /// What clients get.
    pub key: Arc<CertifiedKey>,
    /// The same with an answer that it is not revoked.
    pub stapled: Option<Stapled>,
    /// The hosts it is for, in lower case; some begin with `*.`.
    pub names: Box<[String]>,
    /// Its number among those of its authority.
    pub serial: Box<[u8]>,
    /// When it is valid.
    pub validity: Validity,
    /// SHA-256 of the leaf, in hexadecimal.
    pub fingerprint: Arc<str>,
}

/// A certificate with an answer of its authority.
#[derive(Debug)]
pub struct Stapled {
    /// What clients get for as long as the answer is fresh.
    pub key: Arc<CertifiedKey>,
    /// The answer.
    pub staple: Staple,
}

impl Certificate {
    /// From its files.
    ///
    /// # Errors
    /// Which file cannot be used and why.
    pub fn read(config: &weir_config::Certificate, provider: &CryptoProvider) -> Result<Self, Unusable> {
        let (cert, key) = (read("cert", &config.cert)?, read("key", &config.key)?);
        let (cert_path, key_path) = (config.cert.display(), config.key.display());
        let name = config.name.as_deref().map_or_else(|| cert_path.to_string(), str::to_owned);
        let certificate = Self::parse(&name, &cert, &key, provider).map_err(|fault| match fault {
            Fault::Certificate(why) => Unusable::new("cert", format!("{cert_path}: {why}")),
            Fault::Key(why) => Unusable::new("key", format!("{key_path}: {why}")),
            Fault::Strangers => Unusable::new("key", format!("{key_path} is not the private key of {cert_path}")),
            Fault::Pair(why) => Unusable::new("cert", format!("{cert_path} with {key_path}: {why}")),
        })?;
        match &config.ocsp {
            None => Ok(certificate),
            Some(ocsp) => {
                let staple = Staple::parse(read("ocsp", ocsp)?, &certificate.serial);
                let unusable = |why| Unusable::new("ocsp", format!("{}: {why}", ocsp.display()));
                Ok(certificate.stapled(staple.map_err(unusable)?))
            }
        }
    }

    fn stapled(self, staple: Staple) -> Self {
        let mut key = CertifiedKey::clone(&self.key);
        key.ocsp = Some(staple.octets.clone());
        Self { stapled: Some(Stapled { key: Arc::new(key), staple }), ..self }
    }

    /// From a chain, leaf first, and a key, both PEM.
    ///
    /// # Errors
    /// What cannot be used and why.
    pub fn parse(name: &str, cert: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<Self, Fault> {
        let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(cert).collect();
        let chain = chain.map_err(|error| Fault::Certificate(error.to_string()))?;
        let leaf = chain.first().cloned().ok_or_else(|| Fault::Certificate("holds no certificate".to_owned()))?;
        let parsed = x509_cert::Certificate::from_der(&leaf).map_err(|error| Fault::Certificate(error.to_string()))?;
        let parsed = parsed.tbs_certificate();
        let key = private_key(key)?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => Fault::Strangers,
            rustls::Error::General(why) if why.contains("private key") => {
                Fault::Key("cannot be used: a key is ECDSA, Ed25519, or RSA of 2048 to 8192 bits".to_owned())
            }
            error => Fault::Pair(error.to_string()),
        })?;
        Ok(Self {
            name: name.into(),
            key: Arc::new(key),
            stapled: None,
            serial: parsed.serial_number().as_bytes().into(),
            names: names(parsed),
            validity: Validity::of(parsed),
            fingerprint: fingerprint(&leaf).into(),
        })
    }

    /// What a client gets now.
    pub fn shown(&self) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some(stapled) if stapled.staple.is_fresh(SystemTime::now()) => &stapled.key,
            _ => &self.key,
        }
    }

    /// Whether it is for this host, which has no port.
    pub fn is_for(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let parent = host.split_once('.').map_or("", |(_, parent)| parent);
        let wildcard = |name: &str| name.strip_prefix("*.").is_some_and(|below| below == parent);
        self.names.iter().any(|name| *name == host || wildcard(name))
    }

    /// Whether its key is of RSA, which costs the server most.
    pub fn is_rsa(&self) -> bool {
        self.key.key.algorithm() == SignatureAlgorithm::RSA
    }

    /// As a word for people.
    pub fn algorithm(&self) -> &'static str {
        match self.key.key.algorithm() {
            SignatureAlgorithm::RSA => "RSA",
            SignatureAlgorithm::ECDSA => "ECDSA",
            SignatureAlgorithm::ED25519 => "Ed25519",
            _ => "other",
        }
    }
}

/// What is wrong with a certificate or its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The chain cannot be used.
    Certificate(String),
    /// The key cannot be used.
    Key(String),
    /// The key is another certificate's.
    Strangers,
    /// Both together cannot be used.
    Pair(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(why) => write!(f, "certificate: {why}"),
            Self::Key(why) => write!(f, "private key: {why}"),
            Self::Strangers => f.write_str("the private key is not the certificate's"),
            Self::Pair(why) => f.write_str(why),
        }
    }
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, Unusable> {
    std::fs::read(path).map_err(|error| Unusable::new(key, format!("{}: {error}", path.display())))
}

/// SHA-256 in hexadecimal.
pub fn fingerprint(der: &[u8]) -> String {
    hexadecimal(digest(&SHA256, der).as_ref())
}

/// Two digits an octet.
pub fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn names(certificate: &TbsCertificate) -> Box<[String]> {
    let alternatives = certificate.get_extension::<SubjectAltName>().ok().flatten();
    let names = alternatives.into_iter().flat_map(|(_, names)| names.0);
    names
        .filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
            GeneralName::IpAddress(octets) => address(octets.as_bytes()).map(|address| address.to_string()),
            _ => None,
        })
        .collect()
}

/// As it stands in a certificate.
pub fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4().or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from: SystemTime,
    /// Not after.
    pub until: SystemTime,
}

impl Validity {
    /// Of a certificate in DER; none where it is none.
    pub fn read(certificate: &[u8]) -> Option<Self> {
        let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
        Some(Self::of(parsed.tbs_certificate()))
    }

    fn of(certificate: &TbsCertificate) -> Self {
        let (from, until) = (certificate.validity().not_before, certificate.validity().not_after);
        Self { from: Time::to_system_time(&from), until: Time::to_system_time(&until) }
    }

    /// Why it is not valid now, if it is not.
    pub fn fault(&self, now: SystemTime) -> Option<String> {
        if now > self.until {
            return Some(format!("expired on {}", day(self.until)));
        }
        (now < self.from).then(|| format!("is not valid before {}", second(self.from)))
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    let holds = |text: &str| pem.windows(text.len()).any(|part| part == text.as_bytes());
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        Fault::Key(match holds("BEGIN ENCRYPTED PRIVATE KEY") || holds("Proc-Type: 4,ENCRYPTED") {
            true => "the private key is encrypted with a passphrase, and Weir does not ask for one: decrypt it with \
                     openssl pkey -in KEY -out DECRYPTED, and let only Weir's user read the result"
                .to_owned(),
            false => format!("holds no private key that can be read: {error}"),
        })
    })
}

/// Seconds until a time, below zero once it is past.
pub fn left(now: SystemTime, until: SystemTime) -> i64 {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match until.duration_since(now) {
        Ok(left) => seconds(left),
        Err(past) => -seconds(past.duration()),
    }
}

/// `2026-01-31`
pub fn day(time: SystemTime) -> String {
    rfc3339(time).chars().take(10).collect()
}

/// `2026-01-31T12:00:05Z`
pub fn second(time: SystemTime) -> String {
    rfc3339(time).chars().take(19).chain(['Z']).collect()
}
