//! Concurrent clients that ask without pause and count what fails.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::http::{Connection, Request};

/// What the clients saw so far.
#[derive(Default)]
struct Seen {
    answered: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
    over: AtomicBool,
}

/// Clients at work until stopped.
pub struct Load {
    seen: Arc<Seen>,
    clients: Vec<JoinHandle<()>>,
}

/// What all clients saw.
pub struct Outcome {
    /// Requests answered with 200.
    pub answered: u64,
    /// Requests answered otherwise or not at all.
    pub failed: u64,
    /// What was wrong with the first of those.
    pub first_failure: Option<String>,
}

impl Load {
    /// Start this many clients, each on a kept connection and for users of its own.
    pub fn start(address: SocketAddr, clients: usize) -> Load {
        let seen = Arc::new(Seen::default());
        let clients = (0..clients)
            .map(|number| {
                let seen = Arc::clone(&seen);
                thread::spawn(move || client(address, number, &seen))
            })
            .collect();
        Load { seen, clients }
    }

    /// Requests answered up to now.
    pub fn answered(&self) -> u64 {
        self.seen.answered.load(Ordering::Relaxed)
    }

    /// Whether a request has failed.
    pub fn has_failed(&self) -> bool {
        self.seen.failed.load(Ordering::Relaxed) > 0
    }

    /// End the clients and add up.
    pub fn stop(self) -> Outcome {
        self.seen.over.store(true, Ordering::Relaxed);
        for client in self.clients {
            drop(client.join());
        }
        Outcome {
            answered: self.seen.answered.load(Ordering::Relaxed),
            failed: self.seen.failed.load(Ordering::Relaxed),
            first_failure: self.seen.first_failure.lock().unwrap_or_else(PoisonError::into_inner).take(),
        }
    }
}

fn client(address: SocketAddr, number: usize, seen: &Seen) {
    let mut connection = None;
    for turn in 0_u64.. {
        if seen.over.load(Ordering::Relaxed) {
            return;
        }
        let user = format!("client-{number}-{}", turn % 50);
        match ask(address, &mut connection, &user) {
            Ok(()) => {
                seen.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(why) => {
                seen.failed.fetch_add(1, Ordering::Relaxed);
                let mut first = seen.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(why);
                connection = None;
            }
        }
    }
}

fn ask(
    address: SocketAddr,
    connection: &mut Option<Connection<std::net::TcpStream>>,
    user: &str,
) -> Result<(), String> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(address).map_err(|error| error.to_string())?),
    };
    let request = Request { headers: &[("x-user", user)], ..Request::get("/load") };
    let response = open.send(&request).map_err(|error| error.to_string())?;
    match response.status {
        200 => Ok(()),
        status => Err(format!("status {status}: {}", response.text())),
    }
}
