//! What came to a process while it ran and its successor needs before it is ready: plugin versions, certificates,
//! keys of session tickets. A part that the other does not know is left out.

use std::{collections::BTreeMap, fmt, ops::Deref, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// All of it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Belongings {
    /// By the plugin's name.
    pub plugins: BTreeMap<String, PluginVersions>,
    /// Those that came by the admin interface.
    pub certificates: Vec<PushedCertificate>,
    /// By the listener's name.
    pub tickets: BTreeMap<String, TicketSecrets>,
}

/// The versions of one plugin, each known by its sha256.
#[derive(Debug, Serialize, Deserialize)]
pub struct PluginVersions {
    /// Limits and grants that they were made under, by key.
    pub terms: BTreeMap<String, String>,
    /// What its file held.
    pub file: String,
    /// The one that decides.
    pub current: String,
    /// Those that are listed, the latest loaded first.
    pub all: Vec<String>,
    /// Those that decided before, the latest last.
    pub former: Vec<String>,
    /// What each of them is.
    pub components: BTreeMap<String, Octets>,
}

/// A certificate in place of the one in a file.
#[derive(Debug, Serialize, Deserialize)]
pub struct PushedCertificate {
    /// Its name in the configuration.
    pub name: String,
    /// Fingerprint of what the file held.
    pub file: String,
    /// The chain and its key.
    pub pem: Octets,
}

/// What the keys of session tickets are derived from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TicketSecrets {
    /// By what clients were verified.
    pub context: String,
    /// When the first was made, in seconds since 1970.
    pub made: u64,
    /// The latest first.
    pub secrets: Vec<Octets>,
}

/// Octets that no log shows; in base64 on the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct Octets(Arc<[u8]>);

impl From<&[u8]> for Octets {
    fn from(octets: &[u8]) -> Self {
        Self(octets.into())
    }
}

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets", self.len())
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The fault of base64 would show an octet.
        let octets = STANDARD.decode(text).map_err(|_| D::Error::custom("malformed base64"))?;
        Ok(Self(octets.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_arrive_and_are_not_shown() {
        let pem = Octets::from(&b"a private key"[..]);
        let pushed = PushedCertificate { name: "shop".to_owned(), file: "ab".to_owned(), pem: pem.clone() };
        let kept = Belongings { certificates: vec![pushed], ..Belongings::default() };
        assert!(format!("{kept:?}").contains("13 octets") && !format!("{kept:?}").contains("private"));
        let told = serde_json::to_string(&kept).unwrap();
        let heard: Belongings = serde_json::from_str(&told).unwrap();
        assert_eq!(heard.certificates[0].pem, pem);
    }

    #[test]
    fn what_the_other_does_not_know_is_left_out() {
        let heard: Belongings = serde_json::from_str(r#"{"dreams": [1], "certificates": []}"#).unwrap();
        assert!(heard.plugins.is_empty() && heard.tickets.is_empty());
        assert!(serde_json::from_str::<Octets>("\"no base64!\"").is_err());
    }
}
