//! Connections of one worker, kept between exchanges.
//!
//! HTTP/1.1 connections are used again last in, first out, so that those not needed grow old and
//! are closed. HTTP/2 connections are shared by streams up to the endpoint's limit.

use std::{
    cell::RefCell,
    collections::HashMap,
    io::ErrorKind,
    ops::{Deref, DerefMut},
    rc::{self, Rc},
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use tokio::sync::Notify;
use weir_http1::Connection;

use super::{
    ConnectionError, Connector, Stream, Transport,
    link::{Awaited, Link},
};
use crate::{
    endpoint::{Endpoint, Load},
    slots::{Recall, Slot},
};

/// What an endpoint may send ahead on one stream. The connection as a whole is not bounded beyond
/// that: clients that do not read must not hold up those that do.
const STREAM_WINDOW: u32 = 512 << 10;
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// A connection for one exchange.
#[derive(Debug)]
pub struct Lease {
    /// To speak over.
    pub stream: Stream,
    /// Whether it was open already.
    pub reused: bool,
    /// Time for TCP.
    pub connect: Duration,
    /// Time for TLS.
    pub tls: Duration,
    /// Whether TLS went on with an earlier session; none where it did not begin.
    pub resumed: Option<bool>,
}

/// By the id of an endpoint, which nobody outside chooses: the hash need not resist anyone.
type ById<T> = HashMap<u64, T, foldhash::fast::RandomState>;

#[derive(Default)]
struct Idle {
    /// Each with the sweep that first found it here.
    http1: Vec<(Kept, Option<Instant>)>,
    http2: Vec<Shared>,
    connector: u64,
    timeout: Duration,
    /// Ends when nothing knows the endpoint any more: its connections are then of no use.
    endpoint: Weak<Load>,
}

/// An HTTP/1.1 connection with its place among those that may be open.
#[derive(Debug)]
pub(super) struct Kept {
    connection: Box<Connection<Transport>>,
    slot: Slot,
}

impl Deref for Kept {
    type Target = Connection<Transport>;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl DerefMut for Kept {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}

/// An HTTP/2 connection with its streams under way.
struct Shared {
    sender: SendRequest<Bytes>,
    /// As many references as streams, and one.
    link: Rc<Link>,
    used: Instant,
}

impl Shared {
    fn active(&self) -> usize {
        Rc::strong_count(&self.link) - 1
    }

    fn is_usable(&mut self) -> bool {
        let context = &mut Context::from_waker(Waker::noop());
        self.link.is_trusted() && !matches!(self.sender.poll_ready(context), Poll::Ready(Err(_)))
    }

    fn stream(&self) -> Stream {
        Stream::http2(self.sender.clone(), Rc::clone(&self.link))
    }
}

/// The connections of one worker, or those that one client of it has to itself. Must be used on a
/// `LocalRuntime`.
#[derive(Default)]
pub struct Pools {
    preamble: Box<[u8]>,
    idle: RefCell<ById<Idle>>,
    dialling: RefCell<ById<Rc<Notify>>>,
    recall: Arc<Recall>,
    /// Of single clients, as long as those keep them.
    own: RefCell<Vec<rc::Weak<Pools>>>,
}

/// An HTTP/2 connection being made: whoever comes meanwhile waits for it, once.
struct Dialling<'a> {
    all: &'a RefCell<ById<Rc<Notify>>>,
    endpoint: u64,
    done: Rc<Notify>,
}

impl<'a> Dialling<'a> {
    fn begin(all: &'a RefCell<ById<Rc<Notify>>>, endpoint: u64) -> Self {
        let done = Rc::new(Notify::new());
        all.borrow_mut().insert(endpoint, Rc::clone(&done));
        Self { all, endpoint, done }
    }
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        let mut all = self.all.borrow_mut();
        if all.get(&self.endpoint).is_some_and(|latest| Rc::ptr_eq(latest, &self.done)) {
            all.remove(&self.endpoint);
        }
        self.done.notify_waiters();
    }
}

impl Pools {
    /// Of a worker that can be called to close what is idle.
    pub fn recalled_by(recall: Arc<Recall>) -> Self {
        Self { recall, ..Self::default() }
    }

    /// For connections of one client of this worker that begin with these octets, such as its PROXY header.
    pub fn beginning_with(&self, preamble: Vec<u8>) -> Rc<Self> {
        let own = Self { preamble: preamble.into(), recall: Arc::clone(&self.recall), ..Self::default() };
        let own = Rc::new(own);
        self.own.borrow_mut().push(Rc::downgrade(&own));
        own
    }

    /// The place of a connection that is not kept here.
    ///
    /// # Errors
    /// As [`Connector::slot`].
    pub async fn slot(&self, connector: &Connector, endpoint: &Endpoint) -> Result<Slot, ConnectionError> {
        connector.slot(endpoint, &self.recall).await
    }

    /// A connection to the endpoint: a kept one, unless `fresh` is asked for.
    ///
    /// # Errors
    /// As [`Connector::dial`], and failures of the HTTP/2 preface.
    pub async fn acquire(
        &self,
        connector: &Connector,
        endpoint: &Endpoint,
        fresh: bool,
    ) -> Result<Lease, ConnectionError> {
        if !fresh && let Some(stream) = self.take_or_wait(connector, endpoint.id()).await {
            return Ok(Lease { stream, reused: true, connect: Duration::ZERO, tls: Duration::ZERO, resumed: None });
        }
        // In a box, since an exchange over a kept connection needs none of the room this takes.
        Box::pin(self.open(connector, endpoint)).await
    }

    async fn open(&self, connector: &Connector, endpoint: &Endpoint) -> Result<Lease, ConnectionError> {
        let _dialling = connector.http2.then(|| Dialling::begin(&self.dialling, endpoint.id()));
        let slot = connector.slot(endpoint, &self.recall).await?;
        let dialled = connector.dial(endpoint.address(), &self.preamble).await?;
        let stream = match connector.http2 {
            false => {
                let connection = Box::new(Connection::new(dialled.transport, BytesMut::new()));
                Stream::http1(Kept { connection, slot })
            }
            true => self.open_http2(connector, endpoint, dialled.transport, slot).await?,
        };
        Ok(Lease { stream, reused: false, connect: dialled.connect, tls: dialled.tls, resumed: dialled.resumed })
    }

    /// A fresh connection on which nothing is spoken yet, and octets pass as they are.
    ///
    /// # Errors
    /// As [`Connector::open`].
    pub async fn open_bare(&self, connector: &Connector, endpoint: &Endpoint) -> Result<Lease, ConnectionError> {
        let slot = connector.slot(endpoint, &self.recall).await?;
        let dialled = connector.open(endpoint.address(), &self.preamble).await?;
        let connection = Box::new(Connection::new(dialled.transport, BytesMut::new()));
        let mut stream = Stream::http1(Kept { connection, slot });
        stream.switch();
        Ok(Lease { stream, reused: false, connect: dialled.connect, tls: dialled.tls, resumed: dialled.resumed })
    }

    /// A kept connection; for HTTP/2 also one that is being made, which has room for many.
    async fn take_or_wait(&self, connector: &Connector, endpoint: u64) -> Option<Stream> {
        let kept = self.take(connector, endpoint);
        if kept.is_some() || !connector.http2 {
            return kept;
        }
        let made = self.dialling.borrow().get(&endpoint).cloned()?;
        made.notified().await;
        self.take(connector, endpoint)
    }

    fn take(&self, connector: &Connector, endpoint: u64) -> Option<Stream> {
        let mut idle = self.idle.borrow_mut();
        let idle = idle.get_mut(&endpoint)?;
        if idle.connector != connector.id() {
            *idle = Idle::default();
            return None;
        }
        if connector.http2 {
            return take_http2(&mut idle.http2);
        }
        while let Some((mut connection, _)) = idle.http1.pop() {
            if is_quiet(&mut connection) {
                return Some(Stream::http1(connection));
            }
        }
        None
    }

    async fn open_http2(
        &self,
        connector: &Connector,
        endpoint: &Endpoint,
        transport: Transport,
        slot: Slot,
    ) -> Result<Stream, ConnectionError> {
        let link = Link::new();
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false)
            .handshake(Awaited::new(transport, &link))
            .await?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to an endpoint ended");
            }
            drop(slot);
        });
        let shared = Shared { sender, link, used: Instant::now() };
        let stream = shared.stream();
        of(&mut self.idle.borrow_mut(), connector, endpoint).http2.push(shared);
        Ok(stream)
    }

    /// Keep a connection whose exchange is over, if it can be used again and nobody waits for its place.
    pub fn release(&self, connector: &Connector, endpoint: &Endpoint, stream: Stream) {
        let Some(mut connection) = stream.into_reusable().filter(|kept| kept.slot.wanted() == 0) else { return };
        connection.release();
        let mut idle = self.idle.borrow_mut();
        let kept = &mut of(&mut idle, connector, endpoint).http1;
        if kept.len() < connector.idle_connections {
            kept.push((connection, None));
        }
    }

    /// Ends when somebody waits for a connection to be closed.
    pub async fn recalled(&self) {
        self.recall.called().await;
    }

    /// Close idle connections whose places are waited for, those of single clients among them.
    pub fn give_up(&self) {
        if !self.recall.is_wanted() {
            return;
        }
        let mut closed = ById::default();
        self.close_wanted(&mut closed);
        self.each_own(|own| own.close_wanted(&mut closed));
    }

    /// `closed` counts them by endpoint.
    fn close_wanted(&self, closed: &mut ById<usize>) {
        for (endpoint, idle) in self.idle.borrow_mut().iter_mut() {
            let wanted = idle.http1.first().map_or(0, |(kept, _)| kept.slot.wanted() as usize);
            let closed = closed.entry(*endpoint).or_default();
            let more = wanted.saturating_sub(*closed).min(idle.http1.len());
            *closed += more;
            // The oldest first.
            idle.http1.drain(..more);
        }
    }

    fn each_own(&self, mut each: impl FnMut(&Self)) {
        self.own.borrow_mut().retain(|own| {
            own.upgrade().is_some_and(|own| {
                each(&own);
                true
            })
        });
    }

    /// Close what has been idle for too long, was closed by its endpoint, or leads to one that is no longer
    /// listed. Call about once a second.
    pub fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain(|_, idle| {
            let timeout = idle.timeout;
            idle.http1
                .retain_mut(|(connection, since)| now - *since.get_or_insert(now) < timeout && is_quiet(connection));
            idle.http2.retain_mut(|shared| {
                if shared.active() > 0 {
                    shared.used = now;
                }
                now - shared.used < timeout && shared.is_usable()
            });
            if idle.endpoint.strong_count() == 0 {
                idle.http1.clear();
                idle.http2.retain(|shared| shared.active() > 0);
            }
            !idle.http1.is_empty() || !idle.http2.is_empty()
        });
        self.each_own(|own| own.sweep(now));
    }

    /// Close every idle connection.
    pub fn clear(&self) {
        self.idle.borrow_mut().clear();
    }
}

fn of<'a>(idle: &'a mut ById<Idle>, connector: &Connector, endpoint: &Endpoint) -> &'a mut Idle {
    let idle = idle.entry(endpoint.id()).or_default();
    if idle.connector != connector.id() {
        let (connector, timeout) = (connector.id(), connector.idle_timeout);
        *idle = Idle { connector, timeout, endpoint: endpoint.life(), ..Idle::default() };
    }
    idle
}

/// The first connection with room for a stream; dead ones are dropped on the way.
fn take_http2(kept: &mut Vec<Shared>) -> Option<Stream> {
    kept.retain_mut(Shared::is_usable);
    let shared = kept.iter_mut().find(|shared| shared.active() < shared.sender.current_max_send_streams())?;
    shared.used = Instant::now();
    Some(shared.stream())
}

/// Whether nothing came on an idle connection: neither its end nor octets nobody asked for.
fn is_quiet(connection: &mut Kept) -> bool {
    match connection.io() {
        // Without leaving a waker, and without a system call where the runtime knows of nothing.
        Transport::Tcp(io) => io.try_read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
        Transport::Tls(_) => connection.poll_more(&mut Context::from_waker(Waker::noop())).is_pending(),
    }
}
