//! A listener as all workers share it: its socket, its room for connections, its settings.

use std::{
    fmt,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio_util::sync::CancellationToken;

use crate::{capacity::Capacity, metrics::ListenerMetrics, tls::ServerTls};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// Seconds between two lines of the log on a listener that is full.
const FULL_AGAIN: u64 = 60;
/// Octets of datagrams that wait to be taken, for each worker.
const DATAGRAM_BUFFER: usize = 4 << 20;

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
    socket: Mutex<Option<Arc<Bound>>>,
    settings: ArcSwap<Settings>,
    /// Room for connections over all workers.
    pub room: Capacity,
    /// Its connections.
    pub metrics: Arc<ListenerMetrics>,
    /// The second of the process's life before which it is not logged again that it is full.
    told_full: AtomicU64,
    closing: CancellationToken,
    /// When what is left of it is to end, once it is closed.
    end: OnceLock<Instant>,
    /// Its sockets have somebody else who listens, or will have.
    left_to_others: AtomicBool,
}

/// What of the system belongs to a listener.
#[derive(Debug)]
pub enum Bound {
    /// One queue of connections, from which every worker takes.
    Stream(TcpListener),
    /// A socket for each worker; the system spreads clients over them.
    Datagrams(Vec<UdpSocket>),
}

/// What comes in at a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Connections to be accepted.
    Connections,
    /// Datagrams.
    Datagrams,
}

impl Kind {
    /// What a protocol needs.
    pub fn of(protocol: weir_config::Protocol) -> Self {
        match protocol {
            weir_config::Protocol::Udp => Self::Datagrams,
            _ => Self::Connections,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => "connections",
            Self::Datagrams => "datagrams",
        })
    }
}

impl Bound {
    /// A socket that somebody else has bound, and for connections has let listen.
    ///
    /// # Errors
    /// It cannot be set up as our own are.
    pub fn of(kind: Kind, socket: OwnedFd) -> std::io::Result<Self> {
        let view = SockRef::from(&socket);
        view.set_nonblocking(true)?;
        match kind {
            Kind::Connections => {
                view.set_tcp_nodelay(true)?;
                Ok(Self::Stream(socket.into()))
            }
            Kind::Datagrams => Ok(Self::Datagrams(vec![socket.into()])),
        }
    }

    /// What comes in.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Stream(_) => Kind::Connections,
            Self::Datagrams(_) => Kind::Datagrams,
        }
    }

    /// The descriptors, to be passed on.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Stream(socket) => vec![socket.as_fd()],
            Self::Datagrams(sockets) => sockets.iter().map(AsFd::as_fd).collect(),
        }
    }

    /// With a socket for each worker where datagrams come in, as far as the address can be shared.
    ///
    /// # Errors
    /// Of the system.
    pub fn spread(mut self, workers: usize) -> std::io::Result<Self> {
        if let Self::Datagrams(sockets) = &mut self
            && let Some(first) = sockets.first()
            && SockRef::from(first).reuse_port()?
        {
            let address = first.local_addr()?;
            for _ in sockets.len()..workers {
                sockets.push(datagram_socket(address, true)?);
            }
        }
        Ok(self)
    }

    /// For so many workers.
    ///
    /// # Errors
    /// Of the system: the address is taken, or not ours.
    pub fn to(address: SocketAddr, protocol: weir_config::Protocol, workers: usize) -> std::io::Result<Self> {
        match protocol {
            weir_config::Protocol::Udp => bind_datagrams(address, workers).map(Self::Datagrams),
            _ => bind(address).map(Self::Stream),
        }
    }

    /// Where it is, with the port it got.
    ///
    /// # Errors
    /// It is no socket.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        match self {
            Self::Stream(socket) => socket.local_addr(),
            Self::Datagrams(sockets) => sockets.first().ok_or(std::io::ErrorKind::InvalidInput)?.local_addr(),
        }
    }

    /// Another handle of everything.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        match self {
            Self::Stream(socket) => socket.try_clone().map(Self::Stream),
            Self::Datagrams(sockets) => {
                sockets.iter().map(UdpSocket::try_clone).collect::<Result<_, _>>().map(Self::Datagrams)
            }
        }
    }
}

impl Listening {
    /// Bind the address, for so many workers.
    ///
    /// # Errors
    /// Of the system: the address is taken, or not ours.
    pub fn bind(settings: Settings, metrics: Arc<ListenerMetrics>, workers: usize) -> std::io::Result<Arc<Self>> {
        let socket = Bound::to(settings.config.address, settings.config.protocol, workers)?;
        Self::over(socket, settings, metrics)
    }

    /// Over a socket that listens already, such as that of a listener which had another name.
    ///
    /// # Errors
    /// The socket is none.
    pub fn over(socket: Bound, settings: Settings, metrics: Arc<ListenerMetrics>) -> std::io::Result<Arc<Self>> {
        metrics.bound(settings.config.limits.connections);
        Ok(Arc::new(Self {
            name: Arc::clone(&settings.config.name),
            address: socket.address()?,
            socket: Mutex::new(Some(Arc::new(socket))),
            room: Capacity::new(Some(settings.config.limits.connections)),
            settings: ArcSwap::from_pointee(settings),
            metrics,
            told_full: AtomicU64::new(0),
            closing: CancellationToken::new(),
            end: OnceLock::new(),
            left_to_others: AtomicBool::new(false),
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

    /// Another handle of everything; none once the listener is closed.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub fn bound(&self) -> std::io::Result<Option<Bound>> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        socket.as_ref().map(|bound| bound.try_clone()).transpose()
    }

    /// A handle of the socket for connections; none once the listener is closed.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub fn socket(&self) -> std::io::Result<Option<TcpListener>> {
        Ok(match self.bound()? {
            Some(Bound::Stream(socket)) => Some(socket),
            _ => None,
        })
    }

    /// Handles of one worker's sockets for datagrams: one, or every so-manieth where there are more than
    /// workers, or none. What is given beside them keeps the address until it goes. None at all once the listener
    /// is closed.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub fn datagrams(&self, worker: usize, workers: usize) -> std::io::Result<Vec<(UdpSocket, Arc<Bound>)>> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bound) = &*socket else { return Ok(Vec::new()) };
        let Bound::Datagrams(sockets) = &**bound else { return Ok(Vec::new()) };
        let mine = sockets.iter().skip(worker).step_by(workers.max(1));
        mine.map(|socket| Ok((socket.try_clone()?, Arc::clone(bound)))).collect()
    }

    /// Whether its connections are HTTP.
    pub fn speaks_http(&self) -> bool {
        self.settings.load().config.protocol == weir_config::Protocol::Http
    }

    /// It has as many connections as it may: logged once a minute at most.
    pub fn note_full(&self) {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        let now = BEGAN.elapsed().as_secs();
        let told = self.told_full.load(Relaxed);
        let next = now + FULL_AGAIN;
        if told <= now && self.told_full.compare_exchange(told, next, Relaxed, Relaxed).is_ok() {
            let limit = self.limits().connections;
            tracing::warn!(listener = self.name(), limit, "listener is full: further connections wait");
        }
    }

    /// Whether it takes datagrams rather than connections.
    pub fn is_of_datagrams(&self) -> bool {
        Kind::of(self.settings.load().config.protocol) == Kind::Datagrams
    }

    /// Accept nothing more. What the system has accepted for us already is still served. Sessions of datagrams have
    /// so long to end: what is given is there as long as any of them needs the address.
    pub fn close(&self, grace: Duration) -> Weak<Bound> {
        let _ = self.end.set(Instant::now() + grace);
        self.closing.cancel();
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        socket.as_ref().map(Arc::downgrade).unwrap_or_default()
    }

    /// Whether what comes in once it is closed is for somebody else: another listener at the same sockets, or the process
    /// that comes after this one. Nobody else takes it where it is not.
    pub fn leave_to_others(&self, left: bool) {
        self.left_to_others.store(left, Relaxed);
    }

    /// Whether what comes in once it is closed is for somebody else.
    pub fn is_left_to_others(&self) -> bool {
        self.left_to_others.load(Relaxed)
    }

    /// Whether it is closed, and so long ago that nothing of it is to be left.
    pub fn is_over(&self, now: Instant) -> bool {
        self.end.get().is_some_and(|end| now >= *end)
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Ends when the listener is closed.
    pub async fn closed(&self) {
        self.closing.cancelled().await;
    }

    /// What its clients may do, as it is now.
    pub fn limits(&self) -> weir_config::Limits {
        self.settings.load().config.limits
    }

    /// As they are now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Take up other settings for connections to come.
    pub fn change(&self, settings: Settings) {
        self.room.change(Some(settings.config.limits.connections));
        self.metrics.bound(settings.config.limits.connections);
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

/// A socket a worker. Others of the same user could share the address, so that it is first seen whether
/// anybody has it.
fn bind_datagrams(address: SocketAddr, workers: usize) -> std::io::Result<Vec<UdpSocket>> {
    drop(datagram_socket(address, false)?);
    let first = datagram_socket(address, true)?;
    let address = first.local_addr()?;
    let rest = (1..workers).map(|_| datagram_socket(address, true));
    std::iter::once(Ok(first)).chain(rest).collect()
}

fn datagram_socket(address: SocketAddr, shared: bool) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    // Bursts of many clients; the system may grant less.
    let _ = socket.set_recv_buffer_size(DATAGRAM_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}
