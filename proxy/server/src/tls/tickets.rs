//! Session tickets: under keys from a file, which several instances may share, or under random ones, which change with
//! time and go on in a process that takes the place of this one.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
    rand,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::server::ProducesTickets;

use crate::upgrade::{Octets, TicketSecrets};

/// How long a client may come back with a ticket.
pub const LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// Octets of a key in the file.
const OCTETS: std::ops::RangeInclusive<usize> = 32..=80;
/// Keys in a file: one that encrypts, and enough that still decrypt.
const MOST: usize = 16;

/// How long a random key encrypts.
const TURN: Duration = Duration::from_secs(6 * 3600);
/// Random keys at a time: one that encrypts, and those whose tickets may be young enough.
const RING: usize = 3;
/// Octets that a random key is derived from.
const RANDOM: usize = 48;

const NAME: usize = 16;
const TIME: usize = 8;

/// Keys of session tickets: the first encrypts, all decrypt.
#[derive(Debug)]
pub struct TicketKeys {
    keys: Vec<Key>,
    now: fn() -> SystemTime,
}

struct Key {
    /// Stands before each ticket.
    name: [u8; NAME],
    key: LessSafeKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl TicketKeys {
    /// From a file with a key a line, in base64. Tickets of another context, such as other authorities of clients, are
    /// not taken: they would carry over what was verified there.
    ///
    /// # Errors
    /// Why the file cannot be used.
    pub fn load(path: &Path, context: &[u8]) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text, context, SystemTime::now).map_err(|why| format!("{}: {why}", path.display()))
    }

    fn parse(text: &str, context: &[u8], now: fn() -> SystemTime) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        let key = |(line, number): (&str, usize)| {
            let octets = STANDARD.decode(line).ok().filter(|octets| OCTETS.contains(&octets.len()));
            let octets = octets.ok_or(format!(
                "line {number} is no key: write 48 octets in base64, as `openssl rand -base64 48` does"
            ))?;
            Key::derive(&octets, context).ok_or(format!("line {number} cannot be used as a key"))
        };
        let keys: Vec<Key> = lines.map(key).collect::<Result<_, String>>()?;
        match keys.len() {
            0 => Err("there is no key in it: `openssl rand -base64 48` makes one".to_owned()),
            1..=MOST => Ok(Self { keys, now }),
            _ => Err(format!("there are more than {MOST} keys in it")),
        }
    }

    fn seconds(&self) -> u64 {
        seconds((self.now)())
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let Key { name, key } = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = [&self.seconds().to_be_bytes()[..], plain].concat();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name), &mut sealed).ok()?;
        Some([&name[..], &nonce[..], &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = &self.keys.iter().find(|key| key.name == *name)?.key;
        let mut opened = sealed.to_vec();
        let opened = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(name), &mut opened).ok()?;
        let (made, plain) = opened.split_first_chunk::<TIME>()?;
        let age = self.seconds().saturating_sub(u64::from_be_bytes(*made));
        (age <= LIFETIME.as_secs()).then(|| plain.to_vec())
    }
}

/// Random keys, a new one every few hours.
pub struct RandomKeys {
    context: Vec<u8>,
    now: fn() -> SystemTime,
    ring: ArcSwap<Ring>,
}

struct Ring {
    /// When the first was made, in seconds since 1970.
    made: u64,
    secrets: Vec<Octets>,
    keys: TicketKeys,
}

impl std::fmt::Debug for RandomKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RandomKeys")
    }
}

impl RandomKeys {
    /// `context` as with keys from a file. None where the system has no random octets.
    pub fn make(context: &[u8], now: fn() -> SystemTime) -> Option<Self> {
        let ring = Ring::new(vec![random()?], seconds(now()), context, now)?;
        Some(Self { context: context.to_vec(), now, ring: ArcSwap::from_pointee(ring) })
    }

    /// Those of another process, which go on as if they were made here. None where they are of no use.
    pub fn inherit(left: &TicketSecrets, now: fn() -> SystemTime) -> Option<Self> {
        let secrets = Some(&left.secrets).filter(|secrets| secrets.iter().all(|secret| secret.len() == RANDOM))?;
        let secrets: Vec<Octets> = secrets.iter().take(RING).cloned().collect();
        let context = left.context.as_bytes();
        let ring = Ring::new(secrets, left.made.min(seconds(now())), context, now)?;
        Some(Self { context: context.to_vec(), now, ring: ArcSwap::from_pointee(ring) })
    }

    /// For the process that takes the place of this one.
    pub fn secrets(&self, context: &str) -> TicketSecrets {
        let ring = self.ring.load();
        TicketSecrets { context: context.to_owned(), made: ring.made, secrets: ring.secrets.clone() }
    }

    /// What counts now.
    fn turn(&self) -> Guard<Arc<Ring>> {
        let ring = self.ring.load();
        let now = seconds((self.now)());
        if now.saturating_sub(ring.made) < TURN.as_secs() {
            return ring;
        }
        let Some(secret) = random() else { return ring };
        let secrets = [secret].into_iter().chain(ring.secrets.iter().cloned()).take(RING).collect();
        let Some(next) = Ring::new(secrets, now, &self.context, self.now) else { return ring };
        // Where another worker was quicker, its keys count.
        self.ring.compare_and_swap(&ring, Arc::new(next));
        self.ring.load()
    }
}

impl ProducesTickets for RandomKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.ring.load().keys.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.turn().keys.encrypt(plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.turn().keys.decrypt(ticket)
    }
}

impl Ring {
    fn new(secrets: Vec<Octets>, made: u64, context: &[u8], now: fn() -> SystemTime) -> Option<Self> {
        let keys: Vec<Key> = secrets.iter().map(|secret| Key::derive(secret, context)).collect::<Option<_>>()?;
        (!keys.is_empty()).then_some(Self { made, secrets, keys: TicketKeys { keys, now } })
    }
}

fn random() -> Option<Octets> {
    let mut octets = [0; RANDOM];
    rand::fill(&mut octets).ok()?;
    Some(Octets::from(&octets[..]))
}

/// Since 1970.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Key {
    fn derive(octets: &[u8], context: &[u8]) -> Option<Self> {
        let secret = Salt::new(HKDF_SHA256, b"weir session tickets").extract(octets);
        let mut derived = [0; NAME + 32];
        secret.expand(&[context], Derived).ok()?.fill(&mut derived).ok()?;
        let (name, key) = derived.split_first_chunk::<NAME>()?;
        Some(Self { name: *name, key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key).ok()?) })
    }
}

/// A name and a key.
struct Derived;

impl KeyType for Derived {
    fn len(&self) -> usize {
        NAME + 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(octet: u8) -> String {
        STANDARD.encode([octet; 48])
    }

    fn keys(text: &str) -> TicketKeys {
        TicketKeys::parse(text, b"", || UNIX_EPOCH).unwrap()
    }

    #[test]
    fn the_first_encrypts_and_all_decrypt() {
        let (old, both) = (keys(&line(1)), keys(&format!("# the next\n{}\n\n{}\n", line(2), line(1))));
        let (first, second) = (old.encrypt(b"a session").unwrap(), both.encrypt(b"another").unwrap());
        assert_eq!(both.decrypt(&first).unwrap(), b"a session");
        assert_eq!(both.decrypt(&second).unwrap(), b"another");
        assert_eq!(keys(&line(2)).decrypt(&second).unwrap(), b"another");
        assert_eq!((old.decrypt(&second), keys(&line(3)).decrypt(&first)), (None, None));
        let elsewhere = TicketKeys::parse(&line(1), b"other authorities", || UNIX_EPOCH).unwrap();
        assert_eq!(elsewhere.decrypt(&first), None);
    }

    #[test]
    fn a_ticket_that_is_old_or_was_changed_is_none() {
        let fresh = keys(&line(1));
        let mut ticket = fresh.encrypt(b"a session").unwrap();
        let later = |now| TicketKeys::parse(&line(1), b"", now).unwrap().decrypt(&ticket);
        assert!(later(|| UNIX_EPOCH + LIFETIME).is_some());
        assert_eq!(later(|| UNIX_EPOCH + LIFETIME + Duration::from_secs(1)), None);
        for at in 0..ticket.len() {
            ticket[at] ^= 1;
            assert_eq!(fresh.decrypt(&ticket), None, "{at}");
            ticket[at] ^= 1;
            assert_eq!(fresh.decrypt(&ticket[..at]), None, "{at}");
        }
    }

    fn random_keys(left: &TicketSecrets, now: fn() -> SystemTime) -> RandomKeys {
        RandomKeys::inherit(left, now).unwrap()
    }

    #[test]
    fn random_keys_go_on_in_another_process() {
        let one = RandomKeys::make(b"all", || UNIX_EPOCH).unwrap();
        let ticket = one.encrypt(b"a session").unwrap();
        assert_eq!(random_keys(&one.secrets("all"), || UNIX_EPOCH).decrypt(&ticket).unwrap(), b"a session");
        assert_eq!(random_keys(&one.secrets("others"), || UNIX_EPOCH).decrypt(&ticket), None);
        assert_eq!(RandomKeys::make(b"all", || UNIX_EPOCH).unwrap().decrypt(&ticket), None);
        let none = TicketSecrets { secrets: Vec::new(), ..one.secrets("all") };
        assert!(RandomKeys::inherit(&none, || UNIX_EPOCH).is_none());
        let short = TicketSecrets { secrets: vec![Octets::from(&[0; 7][..])], ..one.secrets("all") };
        assert!(RandomKeys::inherit(&short, || UNIX_EPOCH).is_none());
    }

    #[test]
    fn random_keys_change_while_their_tickets_are_taken() {
        let mut secrets = RandomKeys::make(b"", || UNIX_EPOCH).unwrap().secrets("");
        let first = secrets.secrets.clone();
        let ticket =
            random_keys(&secrets, || UNIX_EPOCH + TURN - Duration::from_secs(1)).encrypt(b"a session").unwrap();
        for now in [|| UNIX_EPOCH + TURN, || UNIX_EPOCH + TURN * 2] {
            let keys = random_keys(&secrets, now);
            assert!(keys.decrypt(&ticket).is_some());
            secrets = keys.secrets("");
        }
        assert_eq!((secrets.secrets.len(), &secrets.secrets[2]), (3, &first[0]));
        let last = random_keys(&secrets, || UNIX_EPOCH + TURN * 3);
        assert_eq!(last.decrypt(&ticket), None);
        assert!(!last.secrets("").secrets.contains(&first[0]));
    }

    #[test]
    fn what_is_no_key_is_told() {
        let fault = |text: &str| TicketKeys::parse(text, b"", SystemTime::now).unwrap_err();
        assert!(fault("# nothing\n").contains("no key in it"));
        assert!(fault(&format!("{}\nabc\n", line(1))).contains("line 2 is no key"));
        assert!(fault(&STANDARD.encode([1; 31])).contains("line 1"));
        assert!(fault(&format!("{}\n", line(1)).repeat(17)).contains("more than 16"));
    }
}
