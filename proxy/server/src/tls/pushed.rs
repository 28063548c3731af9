//! Certificates that came by the admin interface, in place of those in files.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use rustls::crypto::aws_lc_rs;

use super::Certificate;
use crate::upgrade::{Octets, PushedCertificate};

/// By the names of certificates.
#[derive(Debug, Clone, Default)]
pub struct Pushed {
    by_name: HashMap<Arc<str>, Replacement>,
}

#[derive(Debug, Clone)]
struct Replacement {
    certificate: Arc<Certificate>,
    /// Fingerprint of what the file held: once it holds something else, that counts.
    file: Arc<str>,
    /// It and its key as they came.
    pem: Octets,
}

impl Pushed {
    /// What was pushed to another process.
    ///
    /// # Errors
    /// Every certificate that cannot be used, for people.
    pub fn inherit(left: &[PushedCertificate]) -> Result<Self, Vec<String>> {
        let (mut by_name, mut faults) = (HashMap::new(), Vec::new());
        for PushedCertificate { name, file, pem } in left {
            match Certificate::parse(name, pem, pem, &aws_lc_rs::default_provider()) {
                Ok(certificate) => {
                    let certificate = Arc::new(certificate);
                    let replacement = Replacement { certificate, file: file.as_str().into(), pem: pem.clone() };
                    by_name.insert(name.as_str().into(), replacement);
                }
                Err(fault) => faults.push(format!("certificate {name}, as it was pushed: {fault}")),
            }
        }
        if faults.is_empty() { Ok(Self { by_name }) } else { Err(faults) }
    }

    /// For the process that takes the place of this one.
    pub fn belongings(&self) -> Vec<PushedCertificate> {
        let one = |(name, replacement): (&Arc<str>, &Replacement)| PushedCertificate {
            name: name.to_string(),
            file: replacement.file.to_string(),
            pem: replacement.pem.clone(),
        };
        self.by_name.iter().map(one).collect()
    }

    /// Let a certificate take the place of another of its name; `pem` is the same with its key.
    pub fn insert(&mut self, certificate: Arc<Certificate>, former: &Certificate, pem: Octets) {
        let name = Arc::clone(&certificate.name);
        let file = self.by_name.get(&name).map_or(&former.fingerprint, |earlier| &earlier.file);
        let replacement = Replacement { certificate, file: Arc::clone(file), pem };
        self.by_name.insert(name, replacement);
    }

    /// What counts where a file holds this one.
    pub fn in_place_of(&self, held: Certificate) -> Arc<Certificate> {
        match self.by_name.get(&held.name) {
            Some(replacement) if replacement.file == held.fingerprint => Arc::clone(&replacement.certificate),
            _ => Arc::new(held),
        }
    }

    /// Forget what is not served any more.
    pub fn keep(&mut self, served: &HashSet<Arc<str>>) {
        self.by_name.retain(|_, replacement| served.contains(&replacement.certificate.fingerprint));
    }
}
