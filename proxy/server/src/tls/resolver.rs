//! Which certificate a client gets: by the server name it asks for, and by the signatures it can verify.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::Certificate;

/// The certificates of a listener. They may be replaced at any time; handshakes see the former ones or the next.
#[derive(Debug)]
pub struct Resolver {
    current: ArcSwap<Certificates>,
}

impl Resolver {
    /// Of these.
    pub fn new(certificates: Certificates) -> Self {
        Self { current: ArcSwap::from_pointee(certificates) }
    }

    /// As they are now.
    pub fn certificates(&self) -> Arc<Certificates> {
        self.current.load_full()
    }

    /// Take up others for handshakes to come.
    pub fn replace(&self, certificates: Certificates) {
        self.current.store(Arc::new(certificates));
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.current.load();
        let chosen = certificates.choose(hello.server_name(), hello.signature_schemes())?;
        Some(Arc::clone(&chosen.key))
    }
}

type ByName = HashMap<String, Vec<Arc<Certificate>>>;

/// Certificates by the names they are for.
#[derive(Debug, Default)]
pub struct Certificates {
    all: Vec<Arc<Certificate>>,
    exact: ByName,
    /// By what follows `*.`: a wildcard stands for one label.
    wildcard: ByName,
    /// For names that fit none.
    default: Vec<Arc<Certificate>>,
}

impl Certificates {
    /// The first one, with those for the same names, is for names that fit none.
    pub fn new(all: Vec<Arc<Certificate>>) -> Self {
        let (mut exact, mut wildcard) = (ByName::new(), ByName::new());
        for certificate in &all {
            for name in &certificate.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcard, parent),
                    None => (&mut exact, &**name),
                };
                names.entry(name.to_owned()).or_default().push(Arc::clone(certificate));
            }
        }
        let twin = |one: &&Arc<Certificate>| all.first().is_some_and(|first| first.names == one.names);
        let mut default: Vec<_> = all.iter().filter(twin).cloned().collect();
        // A signature by RSA costs the server ten times as much as another.
        let cheap_first = |certificates: &mut Vec<Arc<Certificate>>| certificates.sort_by_key(|one| one.is_rsa());
        exact.values_mut().chain(wildcard.values_mut()).chain([&mut default]).for_each(cheap_first);
        Self { all, exact, wildcard, default }
    }

    /// All of them, in the order of the file.
    pub fn all(&self) -> &[Arc<Certificate>] {
        &self.all
    }

    /// The first that is for this name and that the client can verify. One that it cannot is given where there is no
    /// other, so that the handshake fails for this reason.
    pub fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<Certificate>> {
        let verifiable = |one: &&Arc<Certificate>| one.key.key.choose_scheme(schemes).is_some();
        self.named(name).find(verifiable).or_else(|| self.named(name).next())
    }

    /// Those for a name, the best first.
    pub fn named(&self, name: Option<&str>) -> impl Iterator<Item = &Arc<Certificate>> {
        let name = name.map(str::to_ascii_lowercase);
        let exact = name.as_ref().and_then(|name| self.exact.get(name));
        let parent = name.as_ref().and_then(|name| name.split_once('.'));
        let wildcard = parent.and_then(|(_, parent)| self.wildcard.get(parent));
        let any = exact.is_some() || wildcard.is_some();
        let default = (!any).then_some(&self.default);
        exact.into_iter().chain(wildcard).chain(default).flatten()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};

    use super::*;

    fn certificate(name: &str, names: &[&str], algorithm: &'static SignatureAlgorithm) -> Arc<Certificate> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let cert = CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Arc::new(Certificate::parse(name, cert.as_bytes(), key.serialize_pem().as_bytes(), &provider).unwrap())
    }

    /// One with an elliptic key.
    pub fn ec(name: &str, names: &[&str]) -> Arc<Certificate> {
        certificate(name, names, &PKCS_ECDSA_P256_SHA256)
    }

    const EC: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];
    const RSA: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256];
    const BOTH: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256];

    #[test]
    fn a_name_is_nearer_than_a_wildcard_and_that_than_the_first() {
        let all =
            vec![ec("first", &["first.test"]), ec("wild", &["*.a.test"]), ec("exact", &["x.a.test", "127.0.0.1"])];
        let certificates = Certificates::new(all);
        for (name, expected) in [
            (Some("x.a.test"), "exact"),
            (Some("X.A.test"), "exact"),
            (Some("y.a.test"), "wild"),
            (Some("y.x.a.test"), "first"),
            (Some("a.test"), "first"),
            (Some("other.test"), "first"),
            (Some("test"), "first"),
            (None, "first"),
        ] {
            assert_eq!(&*certificates.choose(name, EC).unwrap().name, expected, "{name:?}");
        }
        assert!(Certificates::default().choose(Some("a"), EC).is_none());
    }

    #[test]
    fn of_two_keys_the_client_gets_the_cheaper_that_it_can_verify() {
        let names = &["a.test", "*.b.test"];
        let all = vec![certificate("rsa", names, &PKCS_RSA_SHA256), ec("ec", names), ec("alone", &["c.test"])];
        let certificates = Certificates::new(all);
        for name in [Some("a.test"), Some("x.b.test"), Some("other.test"), None] {
            let chosen = |schemes| &*certificates.choose(name, schemes).unwrap().name;
            assert_eq!((chosen(RSA), chosen(EC), chosen(BOTH)), ("rsa", "ec", "ec"), "{name:?}");
        }
        assert_eq!(&*certificates.choose(Some("c.test"), RSA).unwrap().name, "alone");
    }
}
