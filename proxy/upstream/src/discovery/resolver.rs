//! A stub resolver (RFC 1034, section 5.3.1): asks recursive name servers over UDP, and over TCP where
//! an answer does not fit.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE,
    rdata::{A, AAAA, RData, SRV},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::system::System;

/// How often every name server is asked before a question is given up.
const ROUNDS: usize = 2;
/// Longest wait for one of them.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest chain of aliases that is followed.
const LONGEST_CHAIN: usize = 16;
/// Of an answer that says nothing of its time: of no records, or of the hosts file.
const UNTOLD: Duration = Duration::from_secs(60);

/// Of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

/// Records, possibly none, and how long they count.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer<T> {
    pub(super) records: Vec<T>,
    pub(super) ttl: Duration,
}

/// Where a service is (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) target: String,
}

/// Asks name servers.
#[derive(Debug)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
    system: System,
}

impl Resolver {
    /// Asks these name servers, the first that answers counts; none is those of the system, with its search
    /// list and its hosts file. Reads files of the system.
    pub fn new(servers: &[SocketAddr]) -> Self {
        match servers.is_empty() {
            true => {
                let system = System::load();
                Self { servers: system.servers.clone(), system }
            }
            false => Self { servers: servers.to_vec(), system: System::default() },
        }
    }

    pub(super) async fn addresses(&self, name: &str, family: Family) -> Result<Answer<IpAddr>, String> {
        let fits = |address: &IpAddr| address.is_ipv4() == (family == Family::V4);
        if let Some(known) = self.system.host(name) {
            return Ok(Answer { records: known.iter().copied().filter(fits).collect(), ttl: UNTOLD });
        }
        let kind = if family == Family::V4 { TYPE::A } else { TYPE::AAAA };
        self.search(name, kind, |data| match data {
            RData::A(A { address }) => Some(Ipv4Addr::from(*address).into()),
            RData::AAAA(AAAA { address }) => Some(Ipv6Addr::from(*address).into()),
            _ => None,
        })
        .await
    }

    pub(super) async fn services(&self, name: &str) -> Result<Answer<Service>, String> {
        self.search(name, TYPE::SRV, |data| match data {
            RData::SRV(SRV { priority, weight, port, target }) => {
                let target = target.to_string();
                // The root stands for "not here".
                let is_offered = !target.is_empty() && target != ".";
                is_offered.then_some(Service { priority: *priority, weight: *weight, port: *port, target })
            }
            _ => None,
        })
        .await
    }

    /// The records of the first spelling of a name that has some.
    async fn search<T>(
        &self,
        name: &str,
        kind: TYPE,
        read: impl Fn(&RData<'_>) -> Option<T>,
    ) -> Result<Answer<T>, String> {
        for spelling in self.system.spellings(name) {
            let reply = self.ask(&spelling, kind).await?;
            let answer = records(&reply, &spelling, &read).map_err(|error| format!("{spelling}: {error}"))?;
            if !answer.records.is_empty() {
                return Ok(answer);
            }
        }
        Ok(Answer { records: Vec::new(), ttl: UNTOLD })
    }

    /// The reply of the first name server that has one, whether or not it is of records.
    async fn ask(&self, name: &str, kind: TYPE) -> Result<Vec<u8>, String> {
        let mut last = format!("{name}: no name server is known");
        for server in self.servers.iter().cycle().take(self.servers.len() * ROUNDS) {
            let why = match timeout(PATIENCE, exchange(*server, name, kind)).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(why)) => why,
                Err(_) => format!("no answer within {PATIENCE:?}"),
            };
            last = format!("{name}: name server {server}: {why}");
        }
        Err(last)
    }
}

async fn exchange(server: SocketAddr, name: &str, kind: TYPE) -> Result<Vec<u8>, String> {
    let mut id = [0; 2];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| "no randomness".to_owned())?;
    let id = u16::from_be_bytes(id);
    let question = question(id, name, kind).map_err(|error| error.to_string())?;
    let reply = over_udp(server, &question, |reply| fits(reply, id, name, kind)).await;
    let reply = reply.map_err(|error| error.to_string())?;
    let reply = match is_truncated(&reply) {
        false => reply,
        true => over_tcp(server, &question).await.map_err(|error| format!("TCP: {error}"))?,
    };
    match fits(&reply, id, name, kind) {
        true => judged(reply),
        false => Err("its reply is to another question".to_owned()),
    }
}

fn question(id: u16, name: &str, kind: TYPE) -> simple_dns::Result<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(Name::new(name)?, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec()
}

/// From a port of the system's choice; datagrams that do not fit are not for us.
async fn over_udp(server: SocketAddr, question: &[u8], fits: impl Fn(&[u8]) -> bool) -> std::io::Result<Vec<u8>> {
    let from: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(from).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut datagram = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut datagram).await?;
        if let Some(reply) = datagram.get(..length).filter(|reply| fits(reply)) {
            return Ok(reply.to_vec());
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let length = stream.read_u16().await?;
    let mut reply = vec![0; usize::from(length)];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

/// Whether it is a reply to this question.
fn fits(reply: &[u8], id: u16, name: &str, kind: TYPE) -> bool {
    let (Ok(packet), Ok(name)) = (Packet::parse(reply), Name::new(name)) else { return false };
    let asked = packet.questions.first();
    packet.id() == id
        && packet.has_flags(PacketFlag::RESPONSE)
        && asked.is_some_and(|asked| asked.qname == name && asked.qtype == QTYPE::TYPE(kind))
}

fn is_truncated(reply: &[u8]) -> bool {
    simple_dns::header_buffer::has_flags(reply, PacketFlag::TRUNCATION).unwrap_or(false)
}

/// A reply that says what there is, or that there is nothing.
fn judged(reply: Vec<u8>) -> Result<Vec<u8>, String> {
    match simple_dns::header_buffer::rcode(&reply) {
        Ok(RCODE::NoError | RCODE::NameError) => Ok(reply),
        Ok(code) => Err(format!("{code:?}")),
        Err(error) => Err(error.to_string()),
    }
}

/// The records of a name or of what it is an alias of.
fn records<T>(reply: &[u8], name: &str, read: impl Fn(&RData<'_>) -> Option<T>) -> simple_dns::Result<Answer<T>> {
    let packet = Packet::parse(reply)?;
    let mut owner = Name::new(name)?;
    let mut ttl = u32::MAX;
    for _ in 0..LONGEST_CHAIN {
        let own: Vec<&ResourceRecord<'_>> = packet.answers.iter().filter(|record| record.name == owner).collect();
        let records: Vec<T> = own.iter().filter_map(|record| read(&record.rdata)).collect();
        ttl = own.iter().map(|record| record.ttl).fold(ttl, u32::min);
        if !records.is_empty() {
            return Ok(Answer { records, ttl: Duration::from_secs(ttl.into()) });
        }
        let alias = own.iter().find_map(|record| match &record.rdata {
            RData::CNAME(alias) => Some(alias.0.clone()),
            _ => None,
        });
        match alias {
            Some(alias) => owner = alias,
            None => break,
        }
    }
    Ok(Answer { records: Vec::new(), ttl: UNTOLD })
}

#[cfg(test)]
mod tests;
