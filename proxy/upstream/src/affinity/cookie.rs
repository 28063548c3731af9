//! Affinity by a mark that the client keeps in a cookie: sealed, so that a client can neither read nor
//! forge which endpoint it names, and dated, so that it ends by itself whatever the client keeps.
//!
//! The key of an owner is derived from the secret and the owner's name, and the scope is authenticated
//! beside the mark: what was sealed for one owner or scope means nothing to another.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use weir_config::{AffinityKind, MarkCookie, MarkMode};

use super::{
    FOREVER, Owner,
    secret::{expand, process_secret, random},
};
use crate::endpoint::Endpoint;

/// Fewest bytes of a secret.
const SHORTEST_SECRET: usize = 32;
/// Family, address, port, scope, first and last seen.
const PLAIN_LEN: usize = 1 + 16 + 2 + 4 + 8 + 8;
/// Nonce, ciphertext and tag in base64.
const MARK_LEN: usize = ((NONCE_LEN + PLAIN_LEN + 16) * 4).div_ceil(3);
/// Between a mark and the application's value; no character of a mark.
const SEPARATOR: u8 = b'~';
/// Browsers keep a cookie for 400 days at most (RFC 6265bis section 5.5).
const LONGEST_COOKIE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// The cookie kind of affinity, for one owner.
#[derive(Debug)]
pub struct CookieAffinity {
    name: Box<str>,
    mode: MarkMode,
    idle: Duration,
    max: Duration,
    key: LessSafeKey,
}

/// What a valid mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CookieSession {
    /// Address of the session's endpoint; it may be gone by now.
    pub endpoint: SocketAddr,
    /// When the session began, to the second.
    pub first: SystemTime,
    /// When the mark was sealed, to the second.
    pub last: SystemTime,
    /// More than a quarter of the idle time has passed: seal it again.
    pub refresh: bool,
}

impl CookieAffinity {
    /// With an explicit secret.
    ///
    /// # Errors
    /// The secret gives no key.
    pub fn with_secret(
        owner: Owner<'_>,
        config: &weir_config::Affinity,
        cookie: &MarkCookie,
        secret: &[u8],
    ) -> Result<Self, String> {
        Ok(Self {
            name: cookie.name.as_str().into(),
            mode: cookie.mode.clone(),
            idle: config.idle.unwrap_or(FOREVER),
            max: config.max.unwrap_or(FOREVER),
            key: derive(secret, owner)?,
        })
    }

    /// With the secret of the configuration, or else that of the process.
    ///
    /// A secret that cannot be read leaves marks that hold for this process only, with a warning:
    /// [`read_secret`] tells beforehand.
    #[expect(clippy::expect_used, reason = "the process's secret is as long as a key")]
    pub(super) fn build(owner: Owner<'_>, config: &weir_config::Affinity, cookie: &MarkCookie) -> Self {
        let with = |secret: &[u8]| Self::with_secret(owner, config, cookie, secret);
        let configured = cookie.secret.as_deref().map(|path| read_secret(path).and_then(|secret| with(&secret)));
        match configured {
            Some(Ok(affinity)) => return affinity,
            Some(Err(why)) => tracing::warn!(?owner, why, "affinity secret unusable"),
            None => {}
        }
        with(process_secret()).expect("a secret that gives keys")
    }

    /// The cookie's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the mark stands before the value of the application's own cookie.
    pub fn is_prefix(&self) -> bool {
        self.mode == MarkMode::Prefix
    }

    /// What a mark says; none when it was not sealed here under this scope or the session has ended.
    pub fn open(&self, mark: &str, scope: &str, now: SystemTime) -> Option<CookieSession> {
        let mut sealed = BASE64_URL_SAFE_NO_PAD.decode(mark).ok()?;
        let (nonce, rest) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.key.open_in_place(nonce, Aad::from(scope.as_bytes()), rest).ok()?;
        self.judge(Plain::read(plain)?, now)
    }

    fn judge(&self, plain: Plain, now: SystemTime) -> Option<CookieSession> {
        let idle = age(plain.last, now);
        let ended = idle >= self.idle || age(plain.first, now) >= self.max;
        (!ended).then_some(CookieSession {
            endpoint: plain.endpoint,
            first: plain.first,
            last: plain.last,
            refresh: idle > self.idle / 4,
        })
    }

    /// The mark that keeps a session which began at `first` at this endpoint.
    pub fn mark(&self, endpoint: &Endpoint, first: SystemTime, scope: &str, now: SystemTime) -> String {
        let plain = Plain { endpoint: endpoint.address(), first, last: now };
        sealed(&self.key, &plain.write(), scope)
    }

    /// The whole `Set-Cookie` value of a cookie of ours with the mark.
    ///
    /// Without `Secure`, which only the listener knows about: append `; Secure` under TLS.
    pub fn seal(&self, endpoint: &Endpoint, first: SystemTime, scope: &str, now: SystemTime) -> String {
        let mark = self.mark(endpoint, first, scope, now);
        let path = match &self.mode {
            MarkMode::Insert { path } => path,
            MarkMode::Prefix => "/",
        };
        let left = self.max.saturating_sub(age(first, now)).min(self.idle).min(LONGEST_COOKIE);
        format!("{}={mark}; Path={path}; Max-Age={}; HttpOnly; SameSite=Lax", self.name, left.as_secs())
    }
}

/// A mark before the value of the application's cookie.
pub fn prefixed(mark: &str, value: &[u8]) -> Vec<u8> {
    [mark.as_bytes(), &[SEPARATOR], value].concat()
}

/// Takes apart what [`prefixed`] put together: what looks like a mark, and the application's value.
pub fn unprefixed(value: &[u8]) -> Option<(&str, &[u8])> {
    let (mark, rest) = value.split_at_checked(MARK_LEN)?;
    let marks = mark.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    let value = rest.strip_prefix(&[SEPARATOR]).filter(|_| marks)?;
    Some((str::from_utf8(mark).ok()?, value))
}

fn age(moment: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(moment).unwrap_or_default()
}

/// Whether the secret of a configuration, where it names one, can be used.
pub(super) fn check_secret(config: &weir_config::Affinity) -> Result<(), String> {
    match &config.kind {
        AffinityKind::Cookie(MarkCookie { secret: Some(path), .. }) => read_secret(path).map(drop),
        _ => Ok(()),
    }
}

fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    let secret = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if secret.len() < SHORTEST_SECRET {
        let (path, len) = (path.display(), secret.len());
        return Err(format!("{path}: {len} bytes, at least {SHORTEST_SECRET} are needed"));
    }
    Ok(secret)
}

fn derive(secret: &[u8], owner: Owner<'_>) -> Result<LessSafeKey, String> {
    let fault = |_| "the secret gives no key".to_owned();
    let mut bytes = vec![0; AES_256_GCM_SIV.key_len()];
    let info: [&[u8]; 2] = match owner {
        Owner::Cluster(name) => [b"weir affinity cookie 1", name.as_bytes()],
        Owner::Tenant(name) => [b"weir affinity tenant 1", name.as_bytes()],
    };
    expand(secret, &info, &mut bytes).map_err(fault)?;
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &bytes).map_err(fault)?))
}

/// Nonce, ciphertext and tag in base64. The algorithm bears repeated nonces, so random ones do.
#[expect(clippy::expect_used, reason = "sealing fails for gigabytes only")]
fn sealed(key: &LessSafeKey, plain: &[u8], scope: &str) -> String {
    let mut nonce = [0; NONCE_LEN];
    random(&mut nonce);
    let mut sealed = plain.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(scope.as_bytes()), &mut sealed)
        .expect("a few bytes");
    sealed.splice(..0, nonce);
    BASE64_URL_SAFE_NO_PAD.encode(sealed)
}

/// What is sealed.
#[derive(Debug, PartialEq, Eq)]
struct Plain {
    endpoint: SocketAddr,
    first: SystemTime,
    last: SystemTime,
}

impl Plain {
    fn write(&self) -> Vec<u8> {
        let (family, address, scope) = match self.endpoint {
            SocketAddr::V4(v4) => (4, v4.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(v6) => (6, *v6.ip(), v6.scope_id()),
        };
        let mut bytes = Vec::with_capacity(PLAIN_LEN + AES_256_GCM_SIV.tag_len());
        bytes.push(family);
        bytes.extend(address.octets());
        bytes.extend(self.endpoint.port().to_be_bytes());
        bytes.extend(scope.to_be_bytes());
        bytes.extend(seconds(self.first).to_be_bytes());
        bytes.extend(seconds(self.last).to_be_bytes());
        bytes
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        let [family] = take(&mut bytes)?;
        let address = Ipv6Addr::from(take::<16>(&mut bytes)?);
        let port = u16::from_be_bytes(take(&mut bytes)?);
        let scope = u32::from_be_bytes(take(&mut bytes)?);
        let endpoint = match (family, address.to_canonical()) {
            (4, IpAddr::V4(v4)) => SocketAddrV4::new(v4, port).into(),
            (6, _) => SocketAddrV6::new(address, port, 0, scope).into(),
            _ => return None,
        };
        let first = moment(u64::from_be_bytes(take(&mut bytes)?))?;
        let last = moment(u64::from_be_bytes(take(&mut bytes)?))?;
        bytes.is_empty().then_some(Self { endpoint, first, last })
    }
}

fn take<const LEN: usize>(bytes: &mut &[u8]) -> Option<[u8; LEN]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

fn seconds(moment: SystemTime) -> u64 {
    age(UNIX_EPOCH, moment).as_secs()
}

fn moment(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
