//! Certificates that came by the admin interface, in place of those in files.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::Certificate;

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
}

impl Pushed {
    /// Let a certificate take the place of another of its name.
    pub fn insert(&mut self, certificate: Arc<Certificate>, former: &Certificate) {
        let name = Arc::clone(&certificate.name);
        let file = self.by_name.get(&name).map_or(&former.fingerprint, |earlier| &earlier.file);
        let replacement = Replacement { certificate, file: Arc::clone(file) };
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
