//! Version 2: a fixed start, then addresses and TLVs of a told length.

use std::net::{IpAddr, SocketAddr};

use super::{Addresses, Fault, Header, Tlvs, Transport, Version, canonical, v1::v6};
use crate::octets::Octets;

pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Most octets behind the fixed start. The format allows 64 KiB, which no sender needs.
pub(super) const LONGEST_BODY: usize = 16 * 1024;

const FIXED: usize = 16;

#[derive(Clone, Copy)]
enum Family {
    Unspecified,
    Inet,
    Inet6,
    Unix,
}

pub(super) fn read(input: &[u8]) -> Result<Option<(Header, usize)>, Fault> {
    let mut start = Octets(input.get(SIGNATURE.len()..).unwrap_or_default());
    let Some(command) = start.u8() else { return Ok(None) };
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ if command >> 4 != 2 => return Err(Fault::Malformed("version")),
        _ => return Err(Fault::Malformed("command")),
    };
    let Some(kind) = start.u8() else { return Ok(None) };
    let (family, transport) = kind_of(kind)?;
    let Some(length) = start.u16().map(usize::from) else { return Ok(None) };
    if length > LONGEST_BODY {
        return Err(Fault::TooLong);
    }
    let Some(body) = start.take(length) else { return Ok(None) };
    let end = FIXED + length;
    let whole = input.get(..end).unwrap_or_default();
    let (addresses, tlvs) = if local { (None, Tlvs::default()) } else { said(whole, body, family, transport)? };
    Ok(Some((Header { version: Version::V2, local, addresses, tlvs }, end)))
}

/// Family and transport, both of which have to be known ones.
fn kind_of(kind: u8) -> Result<(Family, Option<Transport>), Fault> {
    let family = match kind >> 4 {
        0 => Family::Unspecified,
        1 => Family::Inet,
        2 => Family::Inet6,
        3 => Family::Unix,
        _ => return Err(Fault::Malformed("address family")),
    };
    match kind & 0xf {
        0 => Ok((family, None)),
        1 => Ok((family, Some(Transport::Stream))),
        2 => Ok((family, Some(Transport::Datagram))),
        _ => Err(Fault::Malformed("transport")),
    }
}

/// Addresses we have no use for are passed over; with an unspecified family nothing that follows
/// means anything.
fn said(
    whole: &[u8],
    body: &[u8],
    family: Family,
    transport: Option<Transport>,
) -> Result<(Option<Addresses>, Tlvs), Fault> {
    let mut rest = Octets(body);
    let ends = match family {
        Family::Unspecified => return Ok((None, Tlvs::default())),
        Family::Inet => ends(&mut rest, |rest| rest.array::<4>().map(IpAddr::from)).map(Some),
        Family::Inet6 => ends(&mut rest, |rest| rest.array::<16>().map(IpAddr::from)).map(Some),
        Family::Unix => rest.take(216).map(|_| None),
    };
    let ends = ends.ok_or(Fault::Malformed("too short for its addresses"))?;
    let tlvs = Tlvs::read(rest, whole)?;
    let addresses = ends.zip(transport);
    let addresses = addresses.map(|([source, destination], transport)| Addresses { transport, source, destination });
    Ok((addresses, tlvs))
}

fn ends(rest: &mut Octets<'_>, ip: impl Fn(&mut Octets<'_>) -> Option<IpAddr>) -> Option<[SocketAddr; 2]> {
    let (source, destination) = (ip(rest)?, ip(rest)?);
    let (from, to) = (rest.u16()?, rest.u16()?);
    Some([canonical(source, from), canonical(destination, to)])
}

pub(super) fn write(header: &Header) -> Vec<u8> {
    let mut body = Vec::new();
    let kind = header.addresses.as_ref().map_or(0, |addresses| write_addresses(&mut body, addresses));
    if header.addresses.is_some() {
        header.tlvs.write(&mut body, LONGEST_BODY);
    }
    let command = if header.local { 0x20 } else { 0x21 };
    let length = u16::try_from(body.len()).unwrap_or_default();
    let mut out = Vec::with_capacity(FIXED + body.len());
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[command, kind]);
    out.extend_from_slice(&length.to_be_bytes());
    out.append(&mut body);
    out
}

fn write_addresses(body: &mut Vec<u8>, addresses: &Addresses) -> u8 {
    let (source, destination) = (addresses.source, addresses.destination);
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            body.extend_from_slice(&source.octets());
            body.extend_from_slice(&destination.octets());
            0x10
        }
        (source, destination) => {
            body.extend_from_slice(&v6(source).octets());
            body.extend_from_slice(&v6(destination).octets());
            0x20
        }
    };
    body.extend_from_slice(&source.port().to_be_bytes());
    body.extend_from_slice(&destination.port().to_be_bytes());
    family
        | match addresses.transport {
            Transport::Stream => 1,
            Transport::Datagram => 2,
        }
}
