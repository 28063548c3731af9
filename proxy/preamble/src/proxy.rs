//! The PROXY protocol, versions 1 and 2: the addresses of a connection that was accepted elsewhere.
//!
//! Source: "The PROXY protocol, Versions 1 & 2", as haproxy publishes it. Reading is strict, because
//! what stands here is believed: a header is right in every octet or the connection is refused.

mod checksum;
mod tlv;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

pub use tlv::{Ssl, Tlvs};

/// Longest header that is read, in either version.
pub const LONGEST: usize = 16 + v2::LONGEST_BODY;

/// Which form a header has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One line of text.
    V1,
    /// Binary, with TLVs.
    V2,
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its form.
    pub version: Version,
    /// The proxy speaks for itself, as in a health check. Version 1 cannot say so.
    pub local: bool,
    /// Whose connection it is; none is to take the connection's own addresses.
    pub addresses: Option<Addresses>,
    /// What else is known of the client's side; version 1 has none.
    pub tlvs: Tlvs,
}

/// Both ends of the client's connection, as read each of its own family: a sender whose sockets take both
/// families writes an IPv4 address as one of IPv6, and who asks whose address it is must find it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// How the client came.
    pub transport: Transport,
    /// The client.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

/// How a client came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Stream,
    /// UDP.
    Datagram,
}

/// Why octets are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// They begin with neither version's first octets.
    #[error("no PROXY header")]
    Absent,
    /// More than a header may have.
    #[error("PROXY header too long")]
    TooLong,
    /// They begin as a header and go on wrongly.
    #[error("malformed PROXY header: {0}")]
    Malformed(&'static str),
    /// The checksum is of other octets.
    #[error("wrong checksum in PROXY header")]
    Checksum,
}

/// The header at the start of `input` and its length; none when more octets are needed to tell.
///
/// # Errors
/// No further octets can make it a header.
pub fn read(input: &[u8]) -> Result<Option<(Header, usize)>, Fault> {
    if agree(input, v1::START) {
        return v1::read(input);
    }
    if agree(input, v2::SIGNATURE) {
        return v2::read(input);
    }
    Err(Fault::Absent)
}

/// Whether they say the same as far as both go.
fn agree(input: &[u8], start: &[u8]) -> bool {
    input.iter().zip(start).all(|(one, other)| one == other)
}

/// An IPv4 address in the clothes of IPv6 is an IPv4 address.
fn canonical(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

impl Header {
    /// For a connection of our own, such as a health check.
    pub fn local(version: Version) -> Self {
        Self { version, local: true, addresses: None, tlvs: Tlvs::default() }
    }

    /// For a client's connection.
    pub fn of(version: Version, addresses: Addresses, tlvs: Tlvs) -> Self {
        Self { version, local: false, addresses: Some(addresses), tlvs }
    }

    /// As it is sent. TLVs that do not fit are left out.
    pub fn octets(&self) -> Vec<u8> {
        match self.version {
            Version::V1 => v1::write(self.addresses.as_ref()).into_bytes(),
            Version::V2 => v2::write(self),
        }
    }
}
