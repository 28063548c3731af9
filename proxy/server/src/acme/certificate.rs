//! A certificate that renews itself: who issues it, what is kept of it, and what has become of it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use arc_swap::ArcSwapOption;
use rustls::crypto::aws_lc_rs;
use weir_config::{Acme, Config};
use weir_upstream::Rng;

use super::{
    progress::Progress,
    storage::{Kept, Storage, name_of},
};
use crate::{
    access_log::rfc3339,
    tls::{Certificate, Issued},
};

/// A certificate of some names, from one authority.
#[derive(Debug)]
pub struct Managed {
    pub(super) authority: Arc<Acme>,
    pub(super) storage: Storage,
    issued: Arc<Issued>,
    progress: Mutex<Progress>,
}

/// Every certificate that a configuration wants of authorities; those of before go on where nothing changes
/// for them. At the start there are none, and what former processes failed at counts. Blocking: reads what was
/// kept on disk.
pub fn managed(config: &Config, before: Option<&[Arc<Managed>]>) -> Vec<Arc<Managed>> {
    let mut all: Vec<Arc<Managed>> = Vec::new();
    let mut rng = Rng::seeded();
    for wanted in config.listeners.iter().filter_map(|listener| listener.tls.as_ref()).flat_map(|tls| &tls.acme) {
        let authority = config.acme.iter().find(|acme| acme.name == wanted.authority);
        let Some(authority) = authority.filter(|_| !all.iter().any(|one| one.is(&wanted.authority, &wanted.names)))
        else {
            continue;
        };
        let same = |one: &&Arc<Managed>| *one.authority == *authority && one.issued.names == wanted.names;
        all.push(match before.unwrap_or_default().iter().find(same) {
            Some(same) => Arc::clone(same),
            None => {
                let certificate = Managed::load(authority, &wanted.names, &mut rng);
                if before.is_none() {
                    certificate.resume();
                }
                Arc::new(certificate)
            }
        });
    }
    all
}

impl Managed {
    /// With what was kept of it.
    fn load(authority: &Acme, names: &[String], rng: &mut Rng) -> Self {
        let storage = Storage::of(authority);
        let current = ArcSwapOption::empty();
        let mut progress = Progress::none(SystemTime::now());
        match kept(&storage, names) {
            Ok(Some((certificate, since))) => {
                progress = Progress::kept(certificate.validity, since, authority.renew_before, rng.fraction());
                current.store(Some(Arc::new(certificate)));
            }
            Ok(None) => {}
            Err(why) => tracing::warn!(
                acme = &*authority.name,
                path = %storage.path(names).display(),
                why,
                "a certificate that was kept cannot be used, another one is ordered"
            ),
        }
        let issued = Issued { authority: Arc::clone(&authority.name), names: names.to_vec(), current };
        let (authority, issued) = (Arc::new(authority.clone()), Arc::new(issued));
        Self { authority, storage, issued, progress: Mutex::new(progress) }
    }

    /// Go on from where a former process failed. What was noted and cannot be read is of no interest.
    fn resume(&self) {
        let noted = self.storage.setback(self.names()).ok().flatten();
        let Some(setback) = noted.and_then(|noted| serde_json::from_str(&noted.text).ok()) else { return };
        let mut progress = self.lock();
        progress.resume(setback);
        let (acme, names, next) = (self.authority(), self.names().join(", "), rfc3339(progress.next));
        let (failures, why) = (progress.failures, progress.why.as_deref());
        tracing::warn!(acme, names, why, failures, next, "certificate was not obtained, it is tried again");
    }

    /// Note what failures have come to, or that they are over. Blocking.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn note(&self) -> std::io::Result<()> {
        let setback = self.progress().setback().map(|setback| serde_json::to_string(&setback)).transpose()?;
        self.storage.keep_setback(self.names(), setback.as_deref())
    }

    /// Whether it is this authority's, for these names.
    pub fn is(&self, authority: &str, names: &[String]) -> bool {
        *self.authority.name == *authority && self.issued.names == names
    }

    /// The name of its authority.
    pub fn authority(&self) -> &str {
        &self.authority.name
    }

    /// What people know it by.
    pub fn name(&self) -> String {
        name_of(&self.issued.names)
    }

    /// What it is made out to.
    pub fn names(&self) -> &[String] {
        &self.issued.names
    }

    /// What listeners show of it.
    pub fn issued(&self) -> &Arc<Issued> {
        &self.issued
    }

    /// What has become of it so far.
    pub fn progress(&self) -> Progress {
        self.lock().clone()
    }

    /// Have it ordered now.
    ///
    /// # Errors
    /// Until when its authority has asked to be left alone.
    pub fn hurry(&self, now: SystemTime) -> Result<(), SystemTime> {
        self.lock().hurry(now)
    }

    /// Show another one from now on.
    ///
    /// # Errors
    /// Why it cannot be used: then the former one stays.
    pub(super) fn take_up(&self, pem: &str, rng: &mut Rng) -> Result<(), String> {
        let certificate = read(&self.storage, pem, self.names())?;
        let validity = certificate.validity;
        self.issued.current.store(Some(Arc::new(certificate)));
        self.lock().succeed(validity, SystemTime::now(), self.authority.renew_before, rng.fraction());
        Ok(())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kept(storage: &Storage, names: &[String]) -> Result<Option<(Certificate, SystemTime)>, String> {
    let Some(Kept { text, since }) = storage.certificate(names).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    Ok(Some((read(storage, &text, names)?, since)))
}

/// A key with its chain, which has to be made out to these names.
fn read(storage: &Storage, pem: &str, names: &[String]) -> Result<Certificate, String> {
    let path = storage.path(names).display().to_string();
    let provider = aws_lc_rs::default_provider();
    let certificate = Certificate::parse(&path, pem.as_bytes(), pem.as_bytes(), &provider);
    let certificate = certificate.map_err(|fault| fault.to_string())?;
    match names.iter().find(|name| !certificate.names.contains(name)) {
        Some(missing) => Err(format!("it is not made out to {missing}")),
        None => Ok(certificate),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn pem(names: &[&str]) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 4, 1));
        format!("{}{}", key.serialize_pem(), params.self_signed(&key).unwrap().pem())
    }

    #[test]
    fn a_key_with_its_chain_is_read_whole_or_refused() {
        let names = ["a.test".to_owned(), "b.test".to_owned()];
        let storage = Storage::of(&crate::acme::tests::authority(Path::new("/keep"), "https://ca.test/dir"));
        let whole = read(&storage, &pem(&["B.test", "a.test"]), &names).unwrap();
        assert_eq!((whole.key.cert.len(), &*whole.name), (1, &*storage.path(&names).display().to_string()));
        assert_eq!(whole.validity.until.duration_since(whole.validity.from).unwrap().as_secs(), 90 * 86_400);
        let other = pem(&["a.test", "b.test"]);
        let split = other.find("-----BEGIN CERTIFICATE").unwrap();
        let swapped = format!("{}{}", &pem(&["a.test"])[..split], &other[split..]);
        for (text, why) in [
            (pem(&["a.test"]), "not made out to b.test"),
            (other[..split].to_owned(), "no certificate"),
            (other[split..].to_owned(), "private key"),
            (swapped, "not the certificate's"),
            (other[..other.len() - 40].to_owned(), "certificate"),
        ] {
            let refused = read(&storage, &text, &names).unwrap_err();
            assert!(refused.contains(why), "{why}: {refused}");
        }
    }
}
