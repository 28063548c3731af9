//! Clients that ask without a pause.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use http::Method;
use tokio::task::JoinHandle;

use crate::e2e::harness::{Client, empty, request};

/// Some clients, each on its connection.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    answered: AtomicUsize,
    failed: AtomicUsize,
    ended: AtomicBool,
}

impl Load {
    /// Ask for this path from now on.
    pub fn start(address: SocketAddr, path: &'static str, clients: usize) -> Load {
        let shared = Arc::<Shared>::default();
        let clients = (0..clients).map(|_| tokio::spawn(Arc::clone(&shared).ask(address, path)));
        Load { clients: clients.collect(), shared }
    }

    /// Requests that were answered by 200 so far.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Relaxed)
    }

    /// Stop, and say how many requests were not.
    pub async fn end(self) -> usize {
        self.shared.ended.store(true, Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        self.shared.failed.load(Relaxed)
    }
}

impl Shared {
    async fn ask(self: Arc<Self>, address: SocketAddr, path: &str) {
        let mut client = Client::http1(address).await;
        while !self.ended.load(Relaxed) {
            match client.try_ask(request(Method::GET, path).body(empty()).unwrap()).await {
                Ok(reply) if reply.status == 200 => self.answered.fetch_add(1, Relaxed),
                failed => {
                    eprintln!("{failed:?}");
                    client = Client::http1(address).await;
                    self.failed.fetch_add(1, Relaxed)
                }
            };
        }
    }
}
