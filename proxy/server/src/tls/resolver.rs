//! Which certificate a client gets: by the server name it asks for, and by the signatures it can verify.

use std::{collections::HashMap, sync::Arc};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::Certificate;

/// A certificate that an authority issues, as the listeners share it that want it.
#[derive(Debug)]
pub struct Issued {
    /// The authority's name.
    pub authority: Arc<str>,
    /// The hosts it is for, in lower case.
    pub names: Vec<String>,
    /// The one there is now.
    pub current: ArcSwapOption<Certificate>,
}

/// The certificates of a listener. They may be replaced at any time; handshakes see the former ones or the next.
#[derive(Debug)]
pub struct Resolver {
    current: ArcSwap<Certificates>,
    issued: Vec<Arc<Issued>>,
    issued_by_name: HashMap<String, Vec<Arc<Issued>>>,
}

impl Resolver {
    /// Of these, and those that authorities issue.
    pub fn new(certificates: Certificates, issued: Vec<Arc<Issued>>) -> Self {
        let mut issued_by_name: HashMap<_, Vec<_>> = HashMap::new();
        for one in &issued {
            for name in &one.names {
                issued_by_name.entry(name.clone()).or_default().push(Arc::clone(one));
            }
        }
        Self { current: ArcSwap::from_pointee(certificates), issued, issued_by_name }
    }

    /// The one for this name. A name that an authority certifies gets no other that is not made out to it.
    pub fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<Certificate>> {
        let certificates = self.current.load();
        if self.issued.is_empty() {
            return certificates.choose(name, schemes).cloned();
        }
        let name = name.map(str::to_ascii_lowercase);
        let Some(issued) = name.as_ref().and_then(|name| self.issued_by_name.get(name)) else {
            let chosen = certificates.choose(name.as_deref(), schemes).cloned();
            return chosen.or_else(|| self.issued.iter().find_map(|one| one.current.load_full()));
        };
        let present: Vec<_> = issued.iter().filter_map(|one| one.current.load_full()).collect();
        best(present.iter(), schemes).or_else(|| best(certificates.fitting(name.as_deref()), schemes)).cloned()
    }

    /// All there are now.
    pub fn all(&self) -> Vec<Arc<Certificate>> {
        let issued = self.issued.iter().filter_map(|one| one.current.load_full());
        self.current.load().all().iter().cloned().chain(issued).collect()
    }

    /// Those that no authority renews, as they are now.
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
        let chosen = self.choose(hello.server_name(), hello.signature_schemes())?;
        Some(Arc::clone(chosen.shown()))
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
        best(self.named(name), schemes)
    }

    /// Those for a name, the best first.
    pub fn named(&self, name: Option<&str>) -> impl Iterator<Item = &Arc<Certificate>> + Clone {
        let fitting = self.fitting(name);
        let default = fitting.clone().next().is_none().then_some(&self.default);
        fitting.chain(default.into_iter().flatten())
    }

    /// Those that are made out to a name, the best first.
    fn fitting(&self, name: Option<&str>) -> impl Iterator<Item = &Arc<Certificate>> + Clone {
        let name = name.map(str::to_ascii_lowercase);
        let exact = name.as_ref().and_then(|name| self.exact.get(name));
        let parent = name.as_ref().and_then(|name| name.split_once('.'));
        let wildcard = parent.and_then(|(_, parent)| self.wildcard.get(parent));
        exact.into_iter().chain(wildcard).flatten()
    }
}

/// The first that a client can verify, else the first.
fn best<'a>(
    mut certificates: impl Iterator<Item = &'a Arc<Certificate>> + Clone,
    schemes: &[SignatureScheme],
) -> Option<&'a Arc<Certificate>> {
    let verifiable = |one: &&Arc<Certificate>| one.key.key.choose_scheme(schemes).is_some();
    certificates.clone().find(verifiable).or_else(|| certificates.next())
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
        let named = |name| certificates.named(Some(name)).next().unwrap();
        assert!(named("x.a.test").is_for("127.0.0.1") && named("x.a.test").is_for("X.a.test"));
        assert!(named("y.a.test").is_for("z.a.test") && !named("y.a.test").is_for("a.test"));
        assert!(Certificates::default().choose(Some("a"), EC).is_none());
    }

    fn issued(names: &[&str]) -> Arc<Issued> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Arc::new(Issued { authority: "le".into(), names, current: ArcSwapOption::empty() })
    }

    #[test]
    fn a_name_of_an_authority_waits_for_its_certificate() {
        let (one, other) = (issued(&["a.test", "b.test"]), issued(&["x.c.test"]));
        let files = Certificates::new(vec![ec("first", &["first.test"]), ec("wild", &["*.c.test"])]);
        let resolver = Resolver::new(files, vec![Arc::clone(&one), Arc::clone(&other)]);
        let chosen = |name| resolver.choose(name, EC).map(|one| one.name.to_string());
        assert_eq!((chosen(Some("a.test")), chosen(Some("A.test"))), (None, None), "no other is made out to it");
        assert_eq!(chosen(Some("x.c.test")).as_deref(), Some("wild"), "that is made out to it");
        assert_eq!((chosen(Some("d.test")).as_deref(), chosen(None).as_deref()), (Some("first"), Some("first")));
        one.current.store(Some(ec("issued", &["a.test", "b.test"])));
        other.current.store(Some(ec("nearer", &["x.c.test"])));
        assert_eq!(
            (chosen(Some("A.test")).as_deref(), chosen(Some("b.test")).as_deref()),
            (Some("issued"), Some("issued"))
        );
        assert_eq!((chosen(Some("x.c.test")).as_deref(), chosen(None).as_deref()), (Some("nearer"), Some("first")));
        assert_eq!(resolver.all().len(), 4);
    }

    #[test]
    fn without_files_the_first_that_is_issued_is_for_names_that_fit_none() {
        let (one, other) = (issued(&["a.test"]), issued(&["b.test"]));
        let resolver = Resolver::new(Certificates::default(), vec![Arc::clone(&one), Arc::clone(&other)]);
        assert!(resolver.choose(None, EC).is_none() && resolver.choose(Some("c.test"), EC).is_none());
        other.current.store(Some(ec("b", &["b.test"])));
        assert_eq!(&*resolver.choose(Some("c.test"), EC).unwrap().name, "b");
        assert!(resolver.choose(Some("a.test"), EC).is_none(), "that is somebody else's");
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
