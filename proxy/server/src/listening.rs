//! A listener as all workers share it: its socket, its room for connections, its settings.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{metrics::ListenerMetrics, tls::ServerTls};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// What of a listener can change while it is open.
#[derive(Debug)]
pub struct Settings {
    /// As configured.
    pub config: weir_config::Listener,
    /// Present when its connections are TLS.
    pub tls: Option<ServerTls>,
}

/// A listener of the process.
#[derive(Debug)]
pub struct Listening {
    name: Arc<str>,
    address: SocketAddr,
    socket: Mutex<Option<TcpListener>>,
    settings: ArcSwap<Settings>,
    /// Room for connections over all workers.
    pub room: Arc<Semaphore>,
    capacity: Mutex<usize>,
    /// Its connections.
    pub metrics: Arc<ListenerMetrics>,
    closing: CancellationToken,
}

impl Listening {
    /// Bind the address.
    ///
    /// # Errors
    /// Of the system: the address is taken, or not ours.
    pub fn bind(settings: Settings, metrics: Arc<ListenerMetrics>) -> std::io::Result<Arc<Self>> {
        let socket = bind(settings.config.address)?;
        Self::over(socket, settings, metrics)
    }

    /// Over a socket that listens already, such as that of a listener which had another name.
    ///
    /// # Errors
    /// The socket is none.
    pub fn over(socket: TcpListener, settings: Settings, metrics: Arc<ListenerMetrics>) -> std::io::Result<Arc<Self>> {
        let capacity = settings.config.limits.connections;
        Ok(Arc::new(Self {
            name: Arc::clone(&settings.config.name),
            address: socket.local_addr()?,
            socket: Mutex::new(Some(socket)),
            room: Arc::new(Semaphore::new(capacity)),
            capacity: Mutex::new(capacity),
            settings: ArcSwap::from_pointee(settings),
            metrics,
            closing: CancellationToken::new(),
        }))
    }

    /// Its name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens, with the port it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle of the socket for one worker; none once the listener is closed.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub fn socket(&self) -> std::io::Result<Option<TcpListener>> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        socket.as_ref().map(TcpListener::try_clone).transpose()
    }

    /// Accept nothing more. What the system has accepted for us already is still served.
    pub fn close(&self) {
        self.closing.cancel();
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Ends when the listener is closed.
    pub async fn closed(&self) {
        self.closing.cancelled().await;
    }

    /// As they are now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Take up other settings for connections to come.
    pub fn change(&self, settings: Settings) {
        let mut capacity = self.capacity.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = settings.config.limits.connections;
        match wanted.checked_sub(*capacity) {
            Some(more) => self.room.add_permits(more),
            // Connections that are open keep their place: what cannot be taken back now never is.
            None => *capacity -= self.room.forget_permits(*capacity - wanted),
        }
        *capacity = (*capacity).max(wanted);
        self.settings.store(Arc::new(settings));
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    // Accepted connections inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
