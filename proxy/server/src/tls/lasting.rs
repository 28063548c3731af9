//! Sessions that go on no longer than what their client has shown: where clients show certificates, each handshake has
//! one of these in place of what all would share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::{
        ProducesTickets, StoresServerSessions,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::{
    certificate::Validity,
    tickets::{LIFETIME, seconds},
};

/// Octets of a time.
const TIME: usize = 8;

/// The session that one handshake begins, or goes on with.
#[derive(Debug)]
pub struct Lasting {
    verifier: Arc<dyn ClientCertVerifier>,
    tickets: Arc<dyn ProducesTickets>,
    kept: Arc<dyn StoresServerSessions>,
    now: fn() -> SystemTime,
    /// When it was begun by a full handshake, in seconds since 1970.
    began: AtomicU64,
    /// When the first of the client's certificates ends.
    until: AtomicU64,
}

impl Lasting {
    /// That begins now.
    pub fn new(
        verifier: Arc<dyn ClientCertVerifier>,
        tickets: Arc<dyn ProducesTickets>,
        kept: Arc<dyn StoresServerSessions>,
        now: fn() -> SystemTime,
    ) -> Self {
        let (began, until) = (AtomicU64::new(seconds(now())), AtomicU64::new(u64::MAX));
        Self { verifier, tickets, kept, now, began, until }
    }

    fn last(&self, began: u64, until: u64) {
        self.began.store(began, Relaxed);
        self.until.store(until, Relaxed);
    }

    /// Seconds that are left of it; none once it is over.
    fn left(&self) -> Option<u64> {
        self.left_of(self.began.load(Relaxed), self.until.load(Relaxed))
    }

    fn left_of(&self, began: u64, until: u64) -> Option<u64> {
        let now = seconds((self.now)());
        let age = now.saturating_sub(began);
        Some(until.checked_sub(now)?.min(LIFETIME.as_secs().checked_sub(age)?))
    }

    /// With its times before it; none once it is over.
    fn seal(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.left()?;
        let times = [&self.began, &self.until].map(|time| time.load(Relaxed).to_be_bytes());
        Some([&times.concat(), session].concat())
    }

    /// Go on with one that was sealed; none once it is over.
    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (began, rest) = sealed.split_first_chunk::<TIME>()?;
        let (until, session) = rest.split_first_chunk::<TIME>()?;
        let (began, until) = (u64::from_be_bytes(*began), u64::from_be_bytes(*until));
        self.left_of(began, until)?;
        self.last(began, until);
        Some(session.to_vec())
    }
}

impl ProducesTickets for Lasting {
    fn enabled(&self) -> bool {
        self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        let left = self.left().and_then(|left| u32::try_from(left).ok()).unwrap_or_default();
        self.tickets.lifetime().min(left)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.encrypt(&self.seal(plain)?)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(&self.tickets.decrypt(ticket)?)
    }
}

/// For clients of TLS 1.2 that take no tickets.
impl StoresServerSessions for Lasting {
    fn put(&self, id: Vec<u8>, session: Vec<u8>) -> bool {
        self.seal(&session).is_some_and(|sealed| self.kept.put(id, sealed))
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.open(&self.kept.get(id)?)
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.open(&self.kept.take(id)?)
    }

    fn can_cache(&self) -> bool {
        self.kept.can_cache()
    }
}

impl ClientCertVerifier for Lasting {
    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(leaf, others, now)?;
        self.last(seconds((self.now)()), end_of(leaf, others));
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// When the first of a client's certificates ends. One that cannot be read lasts for no further handshake.
fn end_of(leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> u64 {
    let end = |one: &CertificateDer<'_>| Validity::read(one).map_or(0, |validity| seconds(validity.until));
    others.iter().map(end).fold(end(leaf), u64::min)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};

    use super::*;
    use crate::tls::tickets::RandomKeys;

    const HOUR: u64 = 3600;

    /// What all handshakes share.
    struct Shared(Arc<dyn ProducesTickets>, Arc<dyn StoresServerSessions>);

    impl Shared {
        fn new() -> Self {
            let keys = RandomKeys::make(b"", || UNIX_EPOCH).unwrap();
            Self(Arc::new(keys), ServerSessionMemoryCache::new(8))
        }

        fn at(&self, now: fn() -> SystemTime) -> Lasting {
            let (tickets, kept) = (Arc::clone(&self.0), Arc::clone(&self.1));
            Lasting::new(WebPkiClientVerifier::no_client_auth(), tickets, kept, now)
        }
    }

    #[test]
    fn a_session_ends_with_the_certificate() {
        let shared = Shared::new();
        let first = shared.at(|| UNIX_EPOCH);
        first.last(0, HOUR);
        let ticket = first.encrypt(b"a session").unwrap();
        assert!(first.put(vec![1], b"a session".to_vec()));
        assert_eq!(first.lifetime(), 3600);
        let before = shared.at(|| UNIX_EPOCH + Duration::from_secs(HOUR));
        assert_eq!((before.decrypt(&ticket), before.get(&[1])), (Some(b"a session".to_vec()), first.get(&[1])));
        assert_eq!(before.lifetime(), 0);
        let after = shared.at(|| UNIX_EPOCH + Duration::from_secs(HOUR + 1));
        assert_eq!((after.decrypt(&ticket), after.get(&[1]), after.take(&[1])), (None, None, None));
        assert_eq!(u64::from(after.lifetime()), LIFETIME.as_secs(), "one that is over says nothing of the next");
        after.last(0, HOUR);
        assert_eq!(after.encrypt(b"a session"), None);
        assert!(!after.put(vec![2], b"a session".to_vec()));
    }

    #[test]
    fn a_chain_ends_with_the_first_of_it() {
        let until = |hours: u64| {
            let mut params = rcgen::CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
            params.not_after = (UNIX_EPOCH + Duration::from_secs(hours * HOUR)).into();
            params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
        };
        let [soon, late, last] = [1, 2, 3].map(until);
        assert_eq!(end_of(&late, &[]), 2 * HOUR);
        assert_eq!(end_of(&late, &[last.clone(), soon.clone()]), HOUR);
        assert_eq!(end_of(&soon, &[last, late]), HOUR);
        assert_eq!(end_of(&soon, &[CertificateDer::from(vec![1])]), 0);
    }

    #[test]
    fn tickets_that_follow_on_each_other_last_as_long_as_the_first() {
        let shared = Shared::new();
        let mut ticket = shared.at(|| UNIX_EPOCH).encrypt(b"a session").unwrap();
        for now in [|| UNIX_EPOCH + Duration::from_secs(6 * HOUR), || UNIX_EPOCH + Duration::from_secs(12 * HOUR)] {
            let next = shared.at(now);
            assert!(next.decrypt(&ticket).is_some());
            ticket = next.encrypt(b"a session").unwrap();
        }
        let next = shared.at(|| UNIX_EPOCH + Duration::from_secs(12 * HOUR + 1));
        assert_eq!(next.decrypt(&ticket), None);
    }
}
