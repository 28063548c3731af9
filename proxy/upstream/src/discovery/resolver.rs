//! A stub resolver (RFC 1034, section 5.3.1): asks recursive name servers over UDP, and over TCP where
//! an answer does not fit.

mod reply;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, TYPE};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use self::reply::Data;
use super::system::System;

/// How often every name server is asked before a question is given up.
const ROUNDS: usize = 2;
/// Longest wait for one of them.
const PATIENCE: Duration = Duration::from_secs(2);
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
            Data::Address(address) => Some(address),
            Data::Service(_) => None,
        })
        .await
    }

    pub(super) async fn services(&self, name: &str) -> Result<Answer<Service>, String> {
        self.search(name, TYPE::SRV, |data| match data {
            // The root stands for "not here".
            Data::Service(service) => (!service.target.is_empty()).then_some(service),
            Data::Address(_) => None,
        })
        .await
    }

    /// The records of the first spelling of a name that has some.
    async fn search<T>(&self, name: &str, kind: TYPE, read: impl Fn(Data) -> Option<T>) -> Result<Answer<T>, String> {
        for spelling in self.system.spellings(name) {
            let Answer { records, ttl } = self.ask(&spelling, kind).await?;
            let records: Vec<T> = records.into_iter().filter_map(&read).collect();
            if !records.is_empty() {
                return Ok(Answer { records, ttl });
            }
        }
        Ok(Answer { records: Vec::new(), ttl: UNTOLD })
    }

    /// The answer of the first name server that has one, whether or not it is of records.
    async fn ask(&self, name: &str, kind: TYPE) -> Result<Answer<Data>, String> {
        let mut last = format!("{name}: no name server is known");
        for server in self.servers.iter().cycle().take(self.servers.len() * ROUNDS) {
            let mut others = false;
            let why = match timeout(PATIENCE, exchange(*server, name, kind, &mut others)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(why)) => why,
                Err(_) if others => format!("no answer within {PATIENCE:?} but such as are to no question of ours"),
                Err(_) => format!("no answer within {PATIENCE:?}"),
            };
            last = format!("{name}: name server {server}: {why}");
        }
        Err(last)
    }
}

/// Ask one server; notes whether something else came than a reply to the question.
async fn exchange(server: SocketAddr, name: &str, kind: TYPE, others: &mut bool) -> Result<Answer<Data>, String> {
    let mut id = [0; 2];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| "no randomness".to_owned())?;
    let question = question(u16::from_be_bytes(id), name, kind).map_err(|error| error.to_string())?;
    let reply = over_udp(server, &question, others).await.map_err(|error| error.to_string())?;
    if !reply::is_truncated(&reply) {
        return reply::read(&reply, &question);
    }
    let reply = over_tcp(server, &question).await.map_err(|error| format!("TCP: {error}"))?;
    match reply::fits(&reply, &question) {
        true => reply::read(&reply, &question).map_err(|why| format!("TCP: {why}")),
        false => Err("TCP: its reply is to another question".to_owned()),
    }
}

fn question(id: u16, name: &str, kind: TYPE) -> simple_dns::Result<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(Name::new(name)?, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec()
}

/// From a port of the system's choice; datagrams that do not fit are not for us.
async fn over_udp(server: SocketAddr, question: &[u8], others: &mut bool) -> std::io::Result<Vec<u8>> {
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
        match datagram.get(..length).filter(|reply| reply::fits(reply, question)) {
            Some(reply) => return Ok(reply.to_vec()),
            None => *others = true,
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

#[cfg(test)]
mod tests;
