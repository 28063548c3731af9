//! A name server of the test's own.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use simple_dns::{
    CLASS, Name, Packet, QTYPE, RCODE, ResourceRecord, TYPE,
    rdata::{A, RData, SRV},
};
use tokio::{net::UdpSocket, task::JoinHandle};

/// What a name server says: by name and type.
#[derive(Default)]
pub struct Zone {
    pub addresses: BTreeMap<String, Vec<Ipv4Addr>>,
    pub services: BTreeMap<String, Vec<(u16, u16, u16, String)>>,
    pub broken: bool,
}

/// A name server of its own, whose answers count for a second.
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
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, zone) = (socket.local_addr().unwrap(), Arc::new(Mutex::new(Zone::default())));
        let shown = Arc::clone(&zone);
        let task = tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                let reply = shown.lock().unwrap().answer(&question[..length]);
                socket.send_to(&reply, from).await.unwrap();
            }
        });
        NameServer { address, zone, task }
    }

    pub fn change(&self, change: impl FnOnce(&mut Zone)) {
        change(&mut self.zone.lock().unwrap());
    }
}

impl Zone {
    fn answer(&self, question: &[u8]) -> Vec<u8> {
        let asked = Packet::parse(question).unwrap();
        let mut reply = Packet::new_reply(asked.id());
        reply.questions.clone_from(&asked.questions);
        let name = asked.questions[0].qname.to_string();
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
            let record = |data| ResourceRecord::new(Name::new(&name).unwrap(), CLASS::IN, 1, data);
            reply.answers.extend(data.into_iter().map(record));
        }
        reply.build_bytes_vec().unwrap()
    }
}
