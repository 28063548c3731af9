//! What version 2 tells beside the addresses, each behind its type and length.

use super::{Fault, checksum::crc32c};
use crate::{name::host_name, octets::Octets};

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CHECKSUM: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_COMMON_NAME: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;
const SSL_SIGNATURE: u8 = 0x24;
const SSL_KEY: u8 = 0x25;
const NAMESPACE: u8 = 0x30;

const LONGEST_ID: usize = 128;

/// What is known of the client's side. Types that are not listed here are passed over, and so is
/// padding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tlvs {
    /// Protocol agreed on by ALPN.
    pub alpn: Option<Vec<u8>>,
    /// Host the client asked for, such as its server name in TLS: in lower case and without a dot at its end.
    pub authority: Option<String>,
    /// Names the connection; at most 128 octets.
    pub unique_id: Option<Vec<u8>>,
    /// Present when the client's side is, or may be, TLS.
    pub ssl: Option<Ssl>,
    /// Network namespace.
    pub namespace: Option<String>,
}

/// TLS of the client's side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ssl {
    /// Bits: 1 for TLS, 2 for a certificate on this connection, 4 for one in this session.
    pub client: u8,
    /// 0 when the client's certificate was verified.
    pub verify: u32,
    /// Such as `TLSv1.3`.
    pub version: Option<String>,
    /// Common name of the client's certificate.
    pub common_name: Option<String>,
    /// Cipher suite.
    pub cipher: Option<String>,
    /// Algorithm the certificate was signed with.
    pub signature: Option<String>,
    /// Algorithm of the certificate's key.
    pub key: Option<String>,
}

impl Ssl {
    /// Whether the client's side is TLS at all.
    pub fn is_tls(&self) -> bool {
        self.client & 1 == 1
    }

    /// TLS, and no certificate of the client.
    pub fn anonymous(version: &str) -> Self {
        Self { client: 1, verify: 1, version: Some(version.to_owned()), ..Self::default() }
    }

    /// TLS with a client whose certificate was verified.
    pub fn verified(version: &str, common_name: Option<&str>) -> Self {
        let (version, common_name) = (Some(version.to_owned()), common_name.map(str::to_owned));
        Self { client: 7, verify: 0, version, common_name, ..Self::default() }
    }
}

impl Tlvs {
    /// Those in `rest`, which is the end of `whole`.
    pub(super) fn read(mut rest: Octets<'_>, whole: &[u8]) -> Result<Self, Fault> {
        let mut tlvs = Self::default();
        let (mut checked, mut authority) = (None, None);
        while !rest.is_empty() {
            let (kind, value) = next(&mut rest)?;
            let value_at = whole.len() - rest.0.len() - value.len();
            match kind {
                ALPN => once(&mut tlvs.alpn, value.to_vec())?,
                AUTHORITY => once(&mut authority, text(value)?)?,
                UNIQUE_ID if value.len() > LONGEST_ID => return Err(Fault::Malformed("unique id too long")),
                UNIQUE_ID => once(&mut tlvs.unique_id, value.to_vec())?,
                SSL => once(&mut tlvs.ssl, Ssl::read(value)?)?,
                NAMESPACE => once(&mut tlvs.namespace, text(value)?)?,
                CHECKSUM => once(&mut checked, check(whole, value_at, value)?)?,
                _ => {}
            }
        }
        // Other protocols than TLS may put here what is no host's name, which is no fault of the header.
        tlvs.authority = authority.and_then(|authority| host_name(authority.as_bytes()));
        Ok(tlvs)
    }

    /// Appends them until `body` would be longer than `most`.
    pub(super) fn write(&self, body: &mut Vec<u8>, most: usize) {
        let ssl = self.ssl.as_ref().map(Ssl::write);
        let all = [
            (ALPN, self.alpn.as_deref()),
            (AUTHORITY, self.authority.as_ref().map(String::as_bytes)),
            (UNIQUE_ID, self.unique_id.as_deref().filter(|id| id.len() <= LONGEST_ID)),
            (SSL, ssl.as_deref()),
            (NAMESPACE, self.namespace.as_ref().map(String::as_bytes)),
        ];
        for (kind, value) in all {
            if let Some(value) = value
                && body.len() + 3 + value.len() <= most
            {
                append(body, kind, value);
            }
        }
    }
}

impl Ssl {
    fn read(value: &[u8]) -> Result<Self, Fault> {
        let mut rest = Octets(value);
        let (Some(client), Some(verify)) = (rest.u8(), rest.u32()) else {
            return Err(Fault::Malformed("SSL TLV too short"));
        };
        let mut ssl = Self { client, verify, ..Self::default() };
        while !rest.is_empty() {
            let (kind, value) = next(&mut rest)?;
            let place = match kind {
                SSL_VERSION => &mut ssl.version,
                SSL_COMMON_NAME => &mut ssl.common_name,
                SSL_CIPHER => &mut ssl.cipher,
                SSL_SIGNATURE => &mut ssl.signature,
                SSL_KEY => &mut ssl.key,
                _ => continue,
            };
            once(place, text(value)?)?;
        }
        Ok(ssl)
    }

    fn write(&self) -> Vec<u8> {
        let mut out = vec![self.client];
        out.extend_from_slice(&self.verify.to_be_bytes());
        let all = [
            (SSL_VERSION, &self.version),
            (SSL_COMMON_NAME, &self.common_name),
            (SSL_CIPHER, &self.cipher),
            (SSL_SIGNATURE, &self.signature),
            (SSL_KEY, &self.key),
        ];
        for (kind, value) in all {
            if let Some(value) = value {
                append(&mut out, kind, value.as_bytes());
            }
        }
        out
    }
}

fn next<'a>(rest: &mut Octets<'a>) -> Result<(u8, &'a [u8]), Fault> {
    rest.u8().zip(rest.vector16()).ok_or(Fault::Malformed("TLV cut short"))
}

/// What is said twice is not believed: two readers might believe different halves.
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Fault> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::Malformed("TLV given twice")),
    }
}

fn text(value: &[u8]) -> Result<String, Fault> {
    std::str::from_utf8(value).map(str::to_owned).map_err(|_| Fault::Malformed("not UTF-8"))
}

/// The checksum is of the whole header with zeros in the place of the checksum.
fn check(whole: &[u8], at: usize, value: &[u8]) -> Result<(), Fault> {
    let told: [u8; 4] = value.try_into().map_err(|_| Fault::Malformed("checksum of another length"))?;
    let (before, rest) = whole.split_at_checked(at).unwrap_or((whole, &[]));
    let after = rest.get(told.len()..).unwrap_or_default();
    let zeros = [0; 4];
    let found = crc32c(before.iter().chain(&zeros).chain(after));
    if found == u32::from_be_bytes(told) { Ok(()) } else { Err(Fault::Checksum) }
}

fn append(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    if let Ok(length) = u16::try_from(value.len()) {
        out.push(kind);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(value);
    }
}
