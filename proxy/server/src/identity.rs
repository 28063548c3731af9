//! Telling endpoints who a client has proved to be, in header fields that no client can write.

use http::{HeaderMap, HeaderName, HeaderValue};
use weir_config::{ClientAuth, ClientFact, Config};
use weir_plugin::ClientCertificate;

use crate::fields;

/// The fields of one listener.
#[derive(Debug)]
pub struct Identity {
    fields: Vec<(ClientFact, HeaderName)>,
}

impl Identity {
    /// As configured; none where nothing is told.
    pub fn of(config: &ClientAuth) -> Option<Self> {
        let field = |(fact, name): &(ClientFact, String)| Some((*fact, name.parse().ok()?));
        let fields: Vec<_> = config.headers.iter().filter_map(field).collect();
        (!fields.is_empty()).then_some(Self { fields })
    }

    /// Write what a certificate says.
    pub fn set(&self, headers: &mut HeaderMap, certificate: &ClientCertificate) {
        for (fact, name) in &self.fields {
            let value = match fact {
                ClientFact::Subject => HeaderValue::from_str(&certificate.subject),
                ClientFact::CommonName => HeaderValue::from_str(certificate.common_name.as_deref().unwrap_or("")),
                ClientFact::Issuer => HeaderValue::from_str(&certificate.issuer),
                ClientFact::Serial => HeaderValue::from_str(&certificate.serial),
                ClientFact::Names => HeaderValue::try_from(certificate.names.join(",")),
                ClientFact::Fingerprint => HeaderValue::from_str(&certificate.fingerprint),
            };
            if let Ok(value) = value {
                headers.insert(name, value);
            }
        }
    }
}

/// Fields that are not the sender's to write. Those of all listeners' identities are never passed on, by whatever
/// listener they came, since endpoints believe them.
#[derive(Debug)]
pub struct Reserved {
    names: Vec<HeaderName>,
}

impl Reserved {
    /// None where no listener tells anything.
    pub fn of(config: &Config) -> Option<Self> {
        let auth = config.listeners.iter().filter_map(|listener| listener.tls.as_ref()?.client_auth.as_ref());
        let identities = auth.filter_map(Identity::of);
        let names: Vec<_> = identities.flat_map(|identity| identity.fields).map(|(_, name)| name).collect();
        (!names.is_empty()).then_some(Self { names })
    }

    /// Remove them.
    pub fn remove(&self, headers: &mut HeaderMap) {
        fields::remove(headers, &self.names);
    }
}

impl FromIterator<HeaderName> for Reserved {
    fn from_iter<I: IntoIterator<Item = HeaderName>>(names: I) -> Self {
        Self { names: names.into_iter().collect() }
    }
}
