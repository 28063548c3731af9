//! Connections of one worker, kept between exchanges.
//!
//! HTTP/1.1 connections are used again last in, first out, so that those not needed grow old and
//! are closed. HTTP/2 connections are shared by streams up to the cluster's limit or the endpoint's, if that is lower.

use std::{
    cell::{Cell, RefCell},
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
use tokio::{sync::Notify, time::timeout};
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
/// Size of a head or of trailers (RFC 9113 section 6.5.2) that an endpoint may send over HTTP/2. So that a
/// response has some thousand fields at most, which leaves room for those that are added.
const HEADER_LIST: u32 = 256 << 10;

/// Streams that an HTTP/2 connection carries in its life: ids of streams are used up by twice as many.
const LIFE: u32 = 1 << 29;
/// Connections under way that a request waits for in vain before it opens one of its own.
const JOINS: usize = 3;
/// One in so many of an endpoint's idle connections is closed before those of other endpoints are looked at.
const SHARE: usize = 8;

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
    /// Time until there was a place for it.
    pub waited: Duration,
}

impl Lease {
    fn kept(stream: Stream) -> Self {
        let [connect, tls, waited] = [Duration::ZERO; 3];
        Self { stream, reused: true, connect, tls, resumed: None, waited }
    }
}

/// Since when a connection has been dialled: known as soon as that begins, also to who does not wait for its end.
pub type Since = Cell<Option<Instant>>;

/// By the id of an endpoint, which nobody outside chooses: the hash need not resist anyone.
type ById<T> = HashMap<u64, T, foldhash::fast::RandomState>;

#[derive(Default)]
struct Idle {
    /// Each with the sweep that first found it here.
    http1: Vec<(Kept, Option<Instant>)>,
    http2: Vec<Shared>,
    /// Most streams on a connection, as the endpoint said last.
    told: Option<usize>,
    connector: u64,
    timeout: Duration,
    /// Most connections that are idle.
    most: usize,
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
    /// Streams in its whole life.
    opened: u32,
}

impl Shared {
    fn active(&self) -> usize {
        Rc::strong_count(&self.link) - 1
    }

    fn is_usable(&mut self) -> bool {
        let context = &mut Context::from_waker(Waker::noop());
        self.link.is_trusted() && self.opened < LIFE && !matches!(self.sender.poll_ready(context), Poll::Ready(Err(_)))
    }

    /// Most streams that the endpoint takes, once it has said so.
    fn told(&self) -> Option<usize> {
        self.link.is_greeted().then(|| self.sender.current_max_send_streams())
    }

    fn stream(&mut self) -> Stream {
        self.opened += 1;
        Stream::http2(self.sender.clone(), Rc::clone(&self.link))
    }
}

/// The connections of one worker, or those that one client of it has to itself. Must be used on a
/// `LocalRuntime`.
#[derive(Default)]
pub struct Pools {
    preamble: Box<[u8]>,
    idle: RefCell<ById<Idle>>,
    dialling: RefCell<ById<Rc<Dial>>>,
    recall: Arc<Recall>,
    /// Of single clients, as long as those keep them.
    own: RefCell<Vec<rc::Weak<Pools>>>,
}

/// An HTTP/2 connection being made: whoever comes meanwhile waits for it.
#[derive(Default)]
struct Dial {
    over: Notify,
    made: RefCell<Made>,
    /// Streams it is to carry at once.
    wanted: Cell<usize>,
}

/// What became of it, as far as that is known.
#[derive(Default)]
enum Made {
    /// Whoever made it had to stop.
    #[default]
    GivenUp,
    Opened,
    Failed(ConnectionError),
}

impl Dial {
    /// What it has come to for one who waited for that.
    async fn over(&self) -> Made {
        self.over.notified().await;
        match &*self.made.borrow() {
            Made::Opened => Made::Opened,
            Made::Failed(error) => error.shared().map_or(Made::GivenUp, Made::Failed),
            Made::GivenUp => Made::GivenUp,
        }
    }
}

/// Whoever makes it.
struct Dialling<'a> {
    all: &'a RefCell<ById<Rc<Dial>>>,
    endpoint: u64,
    dial: Rc<Dial>,
}

impl<'a> Dialling<'a> {
    fn begin(all: &'a RefCell<ById<Rc<Dial>>>, endpoint: u64) -> Self {
        let dial = Rc::new(Dial { wanted: Cell::new(1), ..Dial::default() });
        all.borrow_mut().insert(endpoint, Rc::clone(&dial));
        Self { all, endpoint, dial }
    }

    /// Those who wait meet the same, unless it ended early by a limit that is not theirs.
    fn end(self, opened: &Result<Lease, ConnectionError>, early: bool) {
        *self.dial.made.borrow_mut() = match opened {
            Ok(_) => Made::Opened,
            Err(ConnectionError::ConnectTimeout) if early => Made::GivenUp,
            Err(error) => error.shared().map_or(Made::GivenUp, Made::Failed),
        };
    }
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        let mut all = self.all.borrow_mut();
        if all.get(&self.endpoint).is_some_and(|latest| Rc::ptr_eq(latest, &self.dial)) {
            all.remove(&self.endpoint);
        }
        self.dial.over.notify_waiters();
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
        connector.slot(endpoint, &self.recall, None).await
    }

    /// A connection to the endpoint that is kept, at once.
    pub fn kept(&self, connector: &Connector, endpoint: &Endpoint) -> Option<Lease> {
        self.take(connector, endpoint.id()).map(Lease::kept)
    }

    /// A connection to the endpoint: a kept one, unless `fresh` is asked for. Neither the wait for a place nor what
    /// comes then is longer than the cluster's connect timeout, or than `within`. Where one is `dialled` for this, that
    /// says since when.
    ///
    /// # Errors
    /// As [`Connector::slot`] and [`Connector::dial`], and failures of the HTTP/2 preface.
    pub async fn acquire(
        &self,
        connector: &Connector,
        endpoint: &Endpoint,
        fresh: bool,
        within: Option<Duration>,
        dialled: &Since,
    ) -> Result<Lease, ConnectionError> {
        if !fresh && let Some(lease) = self.kept(connector, endpoint) {
            return Ok(lease);
        }
        // In a box, since an exchange over a kept connection needs none of the room this takes.
        Box::pin(async {
            match connector.http2 {
                true => self.share(connector, endpoint, fresh, within, dialled).await,
                false => self.open(connector, endpoint, within, dialled).await,
            }
        })
        .await
    }

    /// One of HTTP/2, which has room for many: one that is being made, or else one that is made here.
    async fn share(
        &self,
        connector: &Connector,
        endpoint: &Endpoint,
        fresh: bool,
        within: Option<Duration>,
        dialled: &Since,
    ) -> Result<Lease, ConnectionError> {
        let (patience, began) = (connector.patience(within), Instant::now());
        let (mut left, mut joined) = (patience, 0);
        while !fresh
            && joined < JOINS
            && let Some(dial) = self.join(connector, endpoint.id())
        {
            joined += 1;
            match timeout(left, dial.over()).await {
                Ok(Made::Opened) => match self.take(connector, endpoint.id()) {
                    Some(stream) => return Ok(Lease::kept(stream)),
                    None => left = patience,
                },
                Ok(Made::Failed(error)) => return Err(error),
                Ok(Made::GivenUp) => left = patience.saturating_sub(began.elapsed()),
                Err(_) => return Err(ConnectionError::ConnectTimeout),
            }
        }
        let dialling = Dialling::begin(&self.dialling, endpoint.id());
        let opened = self.open(connector, endpoint, Some(left), dialled).await;
        dialling.end(&opened, left < connector.patience(None));
        opened
    }

    /// The connection that is being made, if it will have room for one more stream.
    fn join(&self, connector: &Connector, endpoint: u64) -> Option<Rc<Dial>> {
        let dialling = self.dialling.borrow();
        let dial = dialling.get(&endpoint)?;
        let told = self.idle.borrow().get(&endpoint).and_then(|idle| idle.told);
        if dial.wanted.get() >= told.map_or(connector.streams, |told| told.min(connector.streams)) {
            return None;
        }
        dial.wanted.set(dial.wanted.get() + 1);
        Some(Rc::clone(dial))
    }

    async fn open(
        &self,
        connector: &Connector,
        endpoint: &Endpoint,
        within: Option<Duration>,
        since: &Since,
    ) -> Result<Lease, ConnectionError> {
        let (slot, waited) = self.place(connector, endpoint, within).await?;
        since.set(Some(Instant::now()));
        let dialled = connector.dial(endpoint.address(), &self.preamble, within).await?;
        let (connect, tls, resumed) = (dialled.connect, dialled.tls, dialled.resumed);
        let stream = match connector.http2 {
            false => {
                let connection = Box::new(Connection::new(dialled.transport, BytesMut::new()));
                Stream::http1(Kept { connection, slot })
            }
            true => self.open_http2(connector, endpoint, dialled.transport, slot).await?,
        };
        Ok(Lease { stream, reused: false, connect, tls, resumed, waited })
    }

    /// A fresh connection on which nothing is spoken yet, and octets pass as they are.
    ///
    /// # Errors
    /// As [`Connector::slot`] and [`Connector::open`].
    pub async fn open_bare(
        &self,
        connector: &Connector,
        endpoint: &Endpoint,
        within: Option<Duration>,
        since: &Since,
    ) -> Result<Lease, ConnectionError> {
        let (slot, waited) = self.place(connector, endpoint, within).await?;
        since.set(Some(Instant::now()));
        let dialled = connector.open(endpoint.address(), &self.preamble, within).await?;
        let (connect, tls, resumed) = (dialled.connect, dialled.tls, dialled.resumed);
        let connection = Box::new(Connection::new(dialled.transport, BytesMut::new()));
        let mut stream = Stream::http1(Kept { connection, slot });
        stream.switch();
        Ok(Lease { stream, reused: false, connect, tls, resumed, waited })
    }

    /// A place, and how long it took to get it.
    async fn place(
        &self,
        connector: &Connector,
        endpoint: &Endpoint,
        within: Option<Duration>,
    ) -> Result<(Slot, Duration), ConnectionError> {
        let asked = Instant::now();
        let slot = connector.slot(endpoint, &self.recall, within).await?;
        Ok((slot, asked.elapsed()))
    }

    fn take(&self, connector: &Connector, endpoint: u64) -> Option<Stream> {
        let mut idle = self.idle.borrow_mut();
        let idle = idle.get_mut(&endpoint)?;
        if idle.connector != connector.id() {
            *idle = Idle::default();
            return None;
        }
        if connector.http2 {
            return take_http2(idle, connector.streams);
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
            .initial_max_send_streams(connector.streams)
            .max_header_list_size(HEADER_LIST)
            .enable_push(false)
            .handshake(Awaited::new(transport, &link))
            .await?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to an endpoint ended");
            }
            drop(slot);
        });
        let mut shared = Shared { sender, link, used: Instant::now(), opened: 0 };
        let stream = shared.stream();
        of(&mut self.idle.borrow_mut(), connector, endpoint).http2.push(shared);
        Ok(stream)
    }

    /// Keep a connection whose exchange is over, if it can be used again and nobody waits for its place.
    pub fn release(&self, connector: &Connector, endpoint: &Endpoint, stream: Stream) {
        let Some(mut connection) = stream.into_reusable().filter(|kept| !kept.slot.gives_way()) else { return };
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
        self.close_wanted();
        self.each_own(Self::close_wanted);
    }

    fn close_wanted(&self) {
        for idle in self.idle.borrow_mut().values_mut() {
            // The oldest first.
            let wanted = idle.http1.iter().take_while(|(kept, _)| kept.slot.gives_way()).count();
            idle.http1.drain(..wanted);
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

    /// Close what has been idle for too long, was closed by its endpoint, leads to one that is no longer
    /// listed, or is one connection of HTTP/2 too many that is idle. Call about once a second.
    pub fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain(|_, idle| {
            let timeout = idle.timeout;
            idle.http1
                .retain_mut(|(connection, since)| now - *since.get_or_insert(now) < timeout && is_quiet(connection));
            let mut room = idle.most;
            idle.http2.retain_mut(|shared| {
                if shared.active() > 0 {
                    shared.used = now;
                    return shared.is_usable();
                }
                let kept = room > 0 && now - shared.used < timeout && shared.is_usable();
                room -= usize::from(kept);
                kept
            });
            if idle.endpoint.strong_count() == 0 {
                idle.http1.clear();
                idle.http2.retain(|shared| shared.active() > 0);
            }
            !idle.http1.is_empty() || !idle.http2.is_empty()
        });
        self.each_own(|own| own.sweep(now));
    }

    /// Close so many idle connections, the longest idle ones first; those of single clients where there are no others. Gives the
    /// number of closed ones.
    pub fn make_room(&self, most: usize) -> usize {
        let mut closed = self.close_longest_idle(most);
        if closed == 0 {
            self.each_own(|own| closed += own.close_longest_idle(most.saturating_sub(closed)));
        }
        closed
    }

    fn close_longest_idle(&self, most: usize) -> usize {
        let mut idle = self.idle.borrow_mut();
        let mut closed = 0;
        while closed < most
            && let Some(longest) = idle.values_mut().filter(|idle| !idle.http1.is_empty()).min_by_key(|idle| idle.age())
        {
            // Some at once, as the search is over all endpoints.
            let some = (most - closed).min(longest.http1.len().div_ceil(SHARE));
            longest.http1.drain(..some);
            closed += some;
        }
        for idle in idle.values_mut() {
            idle.http2.retain(|shared| {
                let stays = closed >= most || shared.active() > 0;
                closed += usize::from(!stays);
                stays
            });
        }
        closed
    }
}

impl Idle {
    /// Orders endpoints by how long a connection to them has idled: one that no sweep has found yet has not for long.
    fn age(&self) -> (bool, Option<Instant>) {
        let since = self.http1.first().and_then(|(_, since)| *since);
        (since.is_none(), since)
    }
}

fn of<'a>(idle: &'a mut ById<Idle>, connector: &Connector, endpoint: &Endpoint) -> &'a mut Idle {
    let idle = idle.entry(endpoint.id()).or_default();
    if idle.connector != connector.id() {
        let (connector, timeout, most) = (connector.id(), connector.idle_timeout, connector.idle_connections);
        *idle = Idle { connector, timeout, most, endpoint: endpoint.life(), ..Idle::default() };
    }
    idle
}

/// A stream on the first connection that has fewer than `streams` and than its endpoint takes; dead ones are dropped
/// on the way. A connection on which the endpoint has yet to say that is taken to be like the others.
fn take_http2(idle: &mut Idle, streams: usize) -> Option<Stream> {
    idle.http2.retain_mut(Shared::is_usable);
    idle.told = idle.http2.iter().rev().find_map(Shared::told).or(idle.told);
    let told = idle.told;
    let most = |shared: &Shared| shared.told().or(told).map_or(streams, |told| told.min(streams));
    let shared = idle.http2.iter_mut().find(|shared| shared.active() < most(shared))?;
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

#[cfg(test)]
mod tests;
