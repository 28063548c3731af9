//! A name server of the test's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use simple_dns::{
    CLASS, Name, Packet, QTYPE, RCODE, ResourceRecord, TYPE,
    rdata::{A, RData, SRV},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
};

/// Most octets of a reply in a datagram (RFC 1035, section 2.3.4).
const DATAGRAM: usize = 512;

/// What a name server says: by name and type.
#[derive(Default)]
pub struct Zone {
    pub addresses: BTreeMap<String, Vec<Ipv4Addr>>,
    pub services: BTreeMap<String, Vec<(u16, u16, u16, String)>>,
    pub broken: bool,
    /// How long its answers count, if not a second.
    pub ttl: Option<u32>,
    /// Names of which nothing at all is said.
    pub silent: BTreeSet<String>,
    /// Names of which so many questions are lost.
    pub lost: BTreeMap<String, usize>,
    /// How often it was asked for names.
    pub asked: BTreeMap<String, usize>,
}

/// A name server of its own, whose answers count for a second unless it says otherwise.
pub struct NameServer {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    task: JoinHandle<()>,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl NameServer {
    pub async fn start() -> NameServer {
        let streams = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = streams.local_addr().unwrap();
        let (socket, zone) = (UdpSocket::bind(address).await.unwrap(), Arc::new(Mutex::new(Zone::default())));
        let shown = Arc::clone(&zone);
        let task = tokio::spawn(async move {
            let mut question = [0; 512];
            loop {
                tokio::select! {
                    asked = socket.recv_from(&mut question) => {
                        let (length, from) = asked.unwrap();
                        let reply = shown.lock().unwrap().answer(&question[..length]);
                        if let Some(reply) = reply {
                            socket.send_to(&cut(reply), from).await.unwrap();
                        }
                    }
                    accepted = streams.accept() => {
                        tokio::spawn(over_tcp(accepted.unwrap().0, Arc::clone(&shown)));
                    }
                }
            }
        });
        NameServer { address, zone, task }
    }

    pub fn change(&self, change: impl FnOnce(&mut Zone)) {
        change(&mut self.zone.lock().unwrap());
    }
}

/// One question; whoever asks may leave before the answer.
async fn over_tcp(mut stream: TcpStream, zone: Arc<Mutex<Zone>>) {
    let Ok(length) = stream.read_u16().await else { return };
    let mut question = vec![0; usize::from(length)];
    if stream.read_exact(&mut question).await.is_err() {
        return;
    }
    let reply = zone.lock().unwrap().answer(&question);
    if let Some(reply) = reply {
        let length = (reply.len() as u16).to_be_bytes();
        let _ = stream.write_all(&[&length, reply.as_slice()].concat()).await;
    }
}

/// What does not fit a datagram ends where that does, be it within a record.
fn cut(mut reply: Vec<u8>) -> Vec<u8> {
    if reply.len() > DATAGRAM {
        reply.truncate(DATAGRAM);
        reply[2] |= 2;
    }
    reply
}

impl Zone {
    fn answer(&mut self, question: &[u8]) -> Option<Vec<u8>> {
        let asked = Packet::parse(question).unwrap();
        let mut reply = Packet::new_reply(asked.id());
        reply.questions.clone_from(&asked.questions);
        let name = asked.questions[0].qname.to_string();
        *self.asked.entry(name.clone()).or_default() += 1;
        if self.silent.contains(&name) {
            return None;
        }
        if let Some(left) = self.lost.get_mut(&name).filter(|left| **left > 0) {
            *left -= 1;
            return None;
        }
        let data: Vec<RData<'_>> = match asked.questions[0].qtype {
            QTYPE::TYPE(TYPE::A) => {
                let addresses = self.addresses.get(&name).into_iter().flatten();
                addresses.map(|address| RData::A(A { address: (*address).into() })).collect()
            }
            QTYPE::TYPE(TYPE::SRV) => {
                let services = self.services.get(&name).into_iter().flatten();
                services
                    .map(|(priority, weight, port, target)| {
                        let target = Name::new(target).unwrap();
                        RData::SRV(SRV { priority: *priority, weight: *weight, port: *port, target })
                    })
                    .collect()
            }
            _ => Vec::new(),
        };
        if self.broken {
            *reply.rcode_mut() = RCODE::ServerFailure;
        } else {
            let record = |data| ResourceRecord::new(Name::new(&name).unwrap(), CLASS::IN, self.ttl.unwrap_or(1), data);
            reply.answers.extend(data.into_iter().map(record));
        }
        Some(reply.build_bytes_vec().unwrap())
    }
}
