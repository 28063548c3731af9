//! The ClientHello of TLS (RFC 8446 section 4.1.2), as far as routing needs it: the server name and
//! the protocols offered. It is looked at, never answered.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::{name::host_name, octets::Octets};

/// Most octets in which a hello has to be whole, the heads of its records included.
pub const LONGEST: usize = 16 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const ALPN: u16 = 16;
/// Of a record's content (RFC 8446 section 5.1).
const LONGEST_RECORD: usize = 1 << 14;

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// The server's name, in lower case and without a dot at its end.
    pub sni: Option<String>,
    /// Protocols offered, the client's favourite first. Any octets, as ALPN has it.
    pub alpn: Vec<Vec<u8>>,
}

/// Why octets are no hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// They are not TLS at all.
    #[error("not TLS")]
    NotTls,
    /// More than a hello may have.
    #[error("TLS ClientHello too long")]
    TooLong,
    /// They begin as TLS and go on wrongly.
    #[error("malformed TLS ClientHello: {0}")]
    Malformed(&'static str),
}

/// The hello at the start of `input`; none when more octets are needed to tell. It may be spread over
/// any number of records.
///
/// # Errors
/// No further octets can make it a hello.
pub fn read(input: &[u8]) -> Result<Option<Hello>, Fault> {
    let seen = input.get(..LONGEST).unwrap_or(input);
    match message(seen)? {
        Some(message) => parse(&message).map(Some),
        None if input.len() >= LONGEST => Err(Fault::TooLong),
        None => Ok(None),
    }
}

/// The body of the handshake message, joined from its records.
fn message(input: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Fault> {
    let mut records = Octets(input);
    let mut joined: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    loop {
        let (content, whole) = record(&mut records)?;
        if joined.is_empty() {
            joined = Cow::Borrowed(content);
        } else {
            joined.to_mut().extend_from_slice(content);
        }
        if let Some(length) = told(&joined)?
            && joined.len() >= length
        {
            return Ok(Some(cut(joined, length)));
        }
        if !whole {
            return Ok(None);
        }
    }
}

/// What of the next record is there, and whether that is all of it.
fn record<'a>(records: &mut Octets<'a>) -> Result<(&'a [u8], bool), Fault> {
    let Some(kind) = records.u8() else { return Ok((&[], false)) };
    if kind != HANDSHAKE {
        return Err(Fault::NotTls);
    }
    let Some(major) = records.u8() else { return Ok((&[], false)) };
    if major != 3 {
        return Err(Fault::NotTls);
    }
    let (Some(_minor), Some(length)) = (records.u8(), records.u16()) else { return Ok((&[], false)) };
    match usize::from(length) {
        0 => Err(Fault::Malformed("empty record")),
        length if length > LONGEST_RECORD => Err(Fault::Malformed("record too long")),
        length => match records.take(length) {
            Some(content) => Ok((content, true)),
            None => Ok((records.0, false)),
        },
    }
}

/// Length of the message with its head, once that can be told.
fn told(message: &[u8]) -> Result<Option<usize>, Fault> {
    let mut head = Octets(message);
    match head.u8() {
        None => return Ok(None),
        Some(CLIENT_HELLO) => {}
        Some(_) => return Err(Fault::Malformed("another message")),
    }
    let Some([high, middle, low]) = head.array() else { return Ok(None) };
    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
    if length > LONGEST { Err(Fault::TooLong) } else { Ok(Some(4 + length)) }
}

fn cut(message: Cow<'_, [u8]>, length: usize) -> Cow<'_, [u8]> {
    match message {
        Cow::Borrowed(octets) => Cow::Borrowed(octets.get(4..length).unwrap_or_default()),
        Cow::Owned(octets) => Cow::Owned(octets.get(4..length).unwrap_or_default().to_vec()),
    }
}

fn parse(body: &[u8]) -> Result<Hello, Fault> {
    let mut rest = Octets(body);
    skip(&mut rest).ok_or(Fault::Malformed("cut short"))?;
    let mut hello = Hello::default();
    if rest.is_empty() {
        return Ok(hello);
    }
    let extensions = rest.vector16().filter(|_| rest.is_empty());
    let mut extensions = Octets(extensions.ok_or(Fault::Malformed("extensions"))?);
    let (mut named, mut offered) = (false, false);
    while !extensions.is_empty() {
        let extension = extensions.u16().zip(extensions.vector16());
        let (kind, content) = extension.ok_or(Fault::Malformed("extension cut short"))?;
        match kind {
            SERVER_NAME if std::mem::replace(&mut named, true) => return Err(Fault::Malformed("two server names")),
            SERVER_NAME => hello.sni = Some(server_name(content).ok_or(Fault::Malformed("server name"))?),
            ALPN if std::mem::replace(&mut offered, true) => return Err(Fault::Malformed("two lists of protocols")),
            ALPN => hello.alpn = protocols(content).ok_or(Fault::Malformed("protocols"))?,
            _ => {}
        }
    }
    Ok(hello)
}

/// Version, random, session, cipher suites and compression methods.
fn skip(rest: &mut Octets<'_>) -> Option<()> {
    rest.take(2 + 32)?;
    rest.vector8().filter(|session| session.len() <= 32)?;
    rest.vector16().filter(|suites| !suites.is_empty() && suites.len() % 2 == 0)?;
    rest.vector8().filter(|methods| !methods.is_empty()).map(drop)
}

/// The one host name (RFC 6066 section 3); names of other kinds do not exist.
fn server_name(content: &[u8]) -> Option<String> {
    let mut content = Octets(content);
    let mut list = Octets(content.vector16().filter(|_| content.is_empty())?);
    let name = list.u8().filter(|kind| *kind == HOST_NAME).and_then(|_| list.vector16())?;
    list.is_empty().then(|| host_name(name))?
}

fn protocols(content: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut content = Octets(content);
    let mut list = Octets(content.vector16().filter(|_| content.is_empty())?);
    let mut protocols = Vec::new();
    while !list.is_empty() {
        protocols.push(list.vector8().filter(|name| !name.is_empty())?.to_vec());
    }
    Some(protocols)
}
