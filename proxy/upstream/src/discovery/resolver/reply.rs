//! What a name server says (RFC 1035, section 4.1), read as far as it was asked for it. A record of another
//! class or type, or one that makes no sense, is stepped over by its length: it does not spoil those beside it.

use std::{fmt::Write, net::IpAddr, ops::Range, time::Duration};

use simple_dns::{CLASS, PacketFlag, RCODE, TYPE, header_buffer};

use super::{Answer, Service, UNTOLD};

/// Length of the header that every message has.
const HEADER: usize = 12;
/// Length of what a question says behind its name: type and class.
const KIND: usize = 4;
/// Longest name with the lengths of its labels.
const LONGEST_NAME: usize = 255;
/// Most pointers in a name: there are no more labels than that to point to (RFC 1035, section 2.3.4).
const MOST_POINTERS: usize = 128;
/// Longest chain of aliases that is followed.
const LONGEST_CHAIN: usize = 16;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    Address(IpAddr),
    Service(Service),
}

/// Whether it is a reply to this question: with its number, and with the question in it (RFC 5452, section
/// 9.1), in which letters may have another case.
pub(super) fn fits(reply: &[u8], question: &[u8]) -> bool {
    let is_reply = has(reply, PacketFlag::RESPONSE) && header_buffer::questions(reply).is_ok_and(|count| count == 1);
    let (asked, told) = (question.get(HEADER..), reply.get(HEADER..question.len()));
    is_reply && reply.get(..2) == question.get(..2) && asked.zip(told).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
}

/// Whether there is more to the reply than fits a datagram. Its records may end anywhere then.
pub(super) fn is_truncated(reply: &[u8]) -> bool {
    has(reply, PacketFlag::TRUNCATION)
}

fn has(reply: &[u8], flag: PacketFlag) -> bool {
    header_buffer::has_flags(reply, flag).unwrap_or(false)
}

/// The records of the name in question, or of what it is an alias of, in a reply that fits; possibly none.
pub(super) fn read(reply: &[u8], question: &[u8]) -> Result<Answer<Data>, String> {
    match header_buffer::rcode(reply) {
        Ok(RCODE::NoError | RCODE::NameError) => {}
        Ok(code) => return Err(format!("{code:?}")),
        Err(_) => return Err(malformed("it has no header")),
    }
    let (owner, kind) = asked(question).ok_or_else(|| malformed("it is to no question"))?;
    let Section { records, is_whole } = section(reply, question.len(), kind)?;
    let answer = chain(owner, &records);
    match answer.records.is_empty() && !is_whole {
        // An answer of nothing would take away what is known.
        true => Err(malformed("a record of it makes no sense")),
        false => Ok(answer),
    }
}

fn malformed(why: &str) -> String {
    format!("malformed answer: {why}")
}

/// The name in question, and the type of record that is wanted of it.
fn asked(question: &[u8]) -> Option<(Name, u16)> {
    let mut kind = Reader { octets: question, at: question.len().checked_sub(KIND)? };
    Some((Name::read(question, HEADER)?, kind.u16()?))
}

/// Records of use, in their order.
struct Section {
    records: Vec<Record>,
    /// Whether all that ought to be of use are.
    is_whole: bool,
}

#[derive(Debug)]
struct Record {
    owner: Name,
    ttl: u32,
    said: Said,
}

#[derive(Debug)]
enum Said {
    Data(Data),
    Alias(Name),
}

/// The answers, which begin there: of the type that is wanted, and aliases.
fn section(reply: &[u8], begin: usize, wanted: u16) -> Result<Section, String> {
    let mut reader = Reader { octets: reply, at: begin };
    let mut section = Section { records: Vec::new(), is_whole: true };
    for _ in 0..header_buffer::answers(reply).unwrap_or(0) {
        let raw = reader.record().ok_or_else(|| malformed("it ends within a record"))?;
        let is_of_use = [wanted, TYPE::CNAME.into()].contains(&raw.kind) && raw.class == CLASS::IN as u16;
        match raw.record(reply).filter(|_| is_of_use) {
            Some(record) => section.records.push(record),
            None => section.is_whole &= !is_of_use,
        }
    }
    Ok(section)
}

fn chain(mut owner: Name, records: &[Record]) -> Answer<Data> {
    let mut ttl = u32::MAX;
    for _ in 0..LONGEST_CHAIN {
        let own = || records.iter().filter(|record| record.owner == owner);
        ttl = own().map(|record| record.ttl).fold(ttl, u32::min);
        let data = own().filter_map(|record| match &record.said {
            Said::Data(data) => Some(data.clone()),
            Said::Alias(_) => None,
        });
        let records: Vec<Data> = data.collect();
        if !records.is_empty() {
            return Answer { records, ttl: Duration::from_secs(ttl.into()) };
        }
        let alias = own().find_map(|record| match &record.said {
            Said::Alias(name) => Some(name.clone()),
            Said::Data(_) => None,
        });
        match alias {
            Some(alias) => owner = alias,
            None => break,
        }
    }
    Answer { records: Vec::new(), ttl: UNTOLD }
}

/// A record by its bounds.
struct Raw {
    owner: usize,
    kind: u16,
    class: u16,
    ttl: u32,
    data: Range<usize>,
}

impl Raw {
    /// What it says, where that is a record of a type we know.
    fn record(&self, reply: &[u8]) -> Option<Record> {
        // Names may point to what stands before them in the reply, but do not reach beyond their record.
        let upto = reply.get(..self.data.end)?;
        let data = reply.get(self.data.clone())?;
        let said = match TYPE::from(self.kind) {
            TYPE::A => Said::Data(Data::Address(<[u8; 4]>::try_from(data).ok()?.into())),
            TYPE::AAAA => Said::Data(Data::Address(<[u8; 16]>::try_from(data).ok()?.into())),
            TYPE::CNAME => Said::Alias(Name::read(upto, self.data.start)?),
            TYPE::SRV => {
                let mut reader = Reader { octets: upto, at: self.data.start };
                let (priority, weight, port) = (reader.u16()?, reader.u16()?, reader.u16()?);
                let target = Name::read(upto, reader.at)?.text();
                Said::Data(Data::Service(Service { priority, weight, port, target }))
            }
            _ => return None,
        };
        Some(Record { owner: Name::read(reply, self.owner)?, ttl: self.ttl, said })
    }
}

/// A name as it is without compression, in small letters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name(Vec<u8>);

impl Name {
    /// The name that begins there. Each pointer has to lead further to the front, so there is no circle,
    /// but a reply of nothing but pointers would be walked through again for each of its records.
    fn read(octets: &[u8], begin: usize) -> Option<Name> {
        let (mut name, mut at, mut front, mut pointers) = (Vec::new(), begin, begin, 0);
        loop {
            match *octets.get(at)? {
                0 => {
                    name.push(0);
                    // Lengths are below the letters.
                    name.make_ascii_lowercase();
                    return (name.len() <= LONGEST_NAME).then_some(Name(name));
                }
                length @ 1..64 => {
                    let end = at + 1 + usize::from(length);
                    name.extend_from_slice(octets.get(at..end)?);
                    at = end;
                    if name.len() >= LONGEST_NAME {
                        return None;
                    }
                }
                high @ 0xc0.. => {
                    let low = *octets.get(at + 1)?;
                    at = usize::from(u16::from_be_bytes([high & 0x3f, low]));
                    pointers += 1;
                    if at >= front || pointers > MOST_POINTERS {
                        return None;
                    }
                    front = at;
                }
                _ => return None,
            }
        }
    }

    /// As people write it, without a dot at its end; the root is nothing.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut rest = self.0.as_slice();
        while let Some((label, behind)) =
            rest.split_first().and_then(|(&length, rest)| rest.split_at_checked(length.into()))
        {
            if label.is_empty() {
                break;
            }
            if !text.is_empty() {
                text.push('.');
            }
            for &octet in label {
                let _ = match octet {
                    b'.' | b'\\' => write!(text, "\\{}", char::from(octet)),
                    b'!'..=b'~' => write!(text, "{}", char::from(octet)),
                    _ => write!(text, "\\{octet:03}"),
                };
            }
            rest = behind;
        }
        text
    }
}

/// Reads from front to back.
struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = self.octets.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn record(&mut self) -> Option<Raw> {
        let owner = self.at;
        self.pass_name()?;
        let (kind, class) = (self.u16()?, self.u16()?);
        let ttl = self.take().map(u32::from_be_bytes)?;
        let length = usize::from(self.u16()?);
        let data = self.at..self.at + length;
        self.octets.get(data.clone())?;
        self.at = data.end;
        Some(Raw { owner, kind, class, ttl, data })
    }

    fn pass_name(&mut self) -> Option<()> {
        loop {
            match self.take::<1>()?.map(usize::from) {
                [0] => return Some(()),
                [length @ 1..64] => self.at += length,
                [length] if length >= 0xc0 => return self.take::<1>().map(|_| ()),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests;
