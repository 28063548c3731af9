//! Certificates that renew themselves (RFC 8555): what is asked of authorities, kept on disk, answered
//! to them and shown to clients.
//!
//! Orders are placed on the control runtime, one after the other for each authority. Workers only read:
//! the certificate that is current, and while an authority looks, what it wants to see.

mod certificate;
mod challenges;
mod client;
mod order;
mod progress;
mod renewal;
mod storage;

use weir_config::Acme;

pub use self::{
    certificate::{Managed, managed},
    challenges::Challenges,
    progress::{Progress, State},
    renewal::run,
};

/// Whether the files that an authority needs can be used. Blocking: reads them.
///
/// # Errors
/// Which one cannot, and why.
pub fn check(config: &Acme) -> Result<(), String> {
    let named = |why| format!("acme {}: {why}", config.name);
    client::Client::build(config.ca.as_deref()).map_err(named)?;
    config.eab.as_ref().map(order::external).transpose().map_err(named)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use weir_config::{Challenge, Eab, KeyType};

    use super::*;

    pub(super) fn authority(folder: &Path, directory: &str) -> Acme {
        Acme {
            name: "le".into(),
            directory: directory.to_owned(),
            contact: Vec::new(),
            storage: folder.to_owned(),
            challenge: Challenge::Http,
            ca: None,
            key_type: KeyType::EcdsaP256,
            renew_before: None,
            eab: None,
        }
    }

    #[test]
    fn files_of_an_authority_are_looked_at_before_they_are_needed() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("eab.key");
        let ca = folder.path().join("ca.pem");
        let with = |ca: Option<&Path>, key: Option<&Path>| Acme {
            ca: ca.map(Path::to_owned),
            eab: key.map(|key| Eab { key_id: "kid-1".to_owned(), key: key.to_owned() }),
            ..authority(folder.path(), "https://ca.test/dir")
        };
        std::fs::write(&ca, "nothing").unwrap();
        let refused = check(&with(Some(&ca), None)).unwrap_err();
        assert!(refused.starts_with("acme le: ") && refused.contains("ca.pem"), "{refused}");
        let issuer = rcgen::generate_simple_self_signed(vec!["ca.test".to_owned()]).unwrap();
        std::fs::write(&ca, issuer.cert.pem()).unwrap();
        check(&with(Some(&ca), None)).unwrap();
        for (text, fits) in [("zWND-ZM_\n", true), ("zWNDZM4=", true), ("no base64!", false)] {
            std::fs::write(&key, text).unwrap();
            assert_eq!(check(&with(Some(&ca), Some(&key))).is_ok(), fits, "{text}");
        }
    }
}
