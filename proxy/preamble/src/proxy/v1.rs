//! Version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Addresses, Fault, Header, Tlvs, Transport, Version, canonical};

pub(super) const START: &[u8] = b"PROXY ";
/// With its line end.
const LONGEST: usize = 107;

pub(super) fn read(input: &[u8]) -> Result<Option<(Header, usize)>, Fault> {
    let seen = input.get(..LONGEST).unwrap_or(input);
    let Some(end) = seen.iter().position(|octet| *octet == b'\r' || *octet == b'\n') else {
        return if seen.len() < LONGEST - 1 { Ok(None) } else { Err(Fault::TooLong) };
    };
    match (seen.get(end), seen.get(end + 1)) {
        (Some(b'\r'), Some(b'\n')) => {}
        (Some(b'\r'), None) if end + 1 < LONGEST => return Ok(None),
        (Some(b'\r'), None) => return Err(Fault::TooLong),
        _ => return Err(Fault::Malformed("line end")),
    }
    let line = seen.get(START.len()..end).and_then(|line| std::str::from_utf8(line).ok());
    let addresses = parse(line.ok_or(Fault::Malformed("not text"))?)?;
    let header = Header { version: Version::V1, local: false, addresses, tlvs: Tlvs::default() };
    Ok(Some((header, end + 2)))
}

fn parse(line: &str) -> Result<Option<Addresses>, Fault> {
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    // What an unknown family says of addresses is to be ignored.
    if family == "UNKNOWN" {
        return Ok(None);
    }
    let address: fn(&str) -> Option<IpAddr> = match family {
        "TCP4" => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return Err(Fault::Malformed("unknown family")),
    };
    let [source, destination] = [words.next(), words.next()].map(|word| word.and_then(address));
    let [from, to] = [words.next(), words.next()].map(|word| word.and_then(port));
    let (Some(source), Some(destination)) = (source, destination) else {
        return Err(Fault::Malformed("address"));
    };
    let (Some(from), Some(to), None) = (from, to, words.next()) else {
        return Err(Fault::Malformed("port"));
    };
    Ok(Some(Addresses {
        transport: Transport::Stream,
        source: canonical(source, from),
        destination: canonical(destination, to),
    }))
}

/// Digits alone, without zeros before them.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

pub(super) fn write(addresses: Option<&Addresses>) -> String {
    let Some(Addresses { transport: Transport::Stream, source, destination }) = addresses else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let (from, to) = (source.port(), destination.port());
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => format!("PROXY TCP4 {source} {destination} {from} {to}\r\n"),
        (source, destination) => format!("PROXY TCP6 {} {} {from} {to}\r\n", v6(source), v6(destination)),
    }
}

/// Both addresses have to be of one family.
pub(super) fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}
