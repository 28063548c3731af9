//! A listener of datagrams on one worker: sessions by the client's address, each led to an endpoint with a
//! socket of its own, so that what comes back is known to be its client's.
//!
//! The sockets of a listener share its address; the system gives all datagrams of a client to the same
//! one, and so to the same worker.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};
use tokio::{
    io::Interest,
    net::UdpSocket,
    task::{JoinHandle, spawn_local},
    time::MissedTickBehavior,
};
use weir_config::{Protocol, ProxyVersion};
use weir_upstream::{Endpoint, Lasting, descriptors};

use crate::{
    access_log::Affinity,
    capacity::Place,
    datagrams::{self, BATCH, Datagram, Run},
    decide::Decision,
    error::ProxyError,
    gate::Permit,
    listening::{Bound, Listening},
    metrics::ConnectionGuard,
    permit,
    pressure::Scarce,
    request::Client,
    tcp::{Book, Led, lead},
    tenant::InFlight,
    worker::{Open, Worker},
};

/// Between two looks for sessions that are silent.
const TICK: Duration = Duration::from_millis(250);
/// Silence that ends a session of a listener that is closed.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Between two tries to lead a session that leads nowhere.
const AGAIN: Duration = Duration::from_secs(1);

/// Serve datagrams until the listener is closed and its sessions are over, in the background.
///
/// # Errors
/// The socket cannot be used.
pub fn serve(worker: Rc<Worker>, listening: Arc<Listening>) -> io::Result<()> {
    let sockets = listening.datagrams(worker.index(), worker.workers())?;
    let ours = |(socket, bound)| UdpSocket::from_std(socket).map(|socket| (socket, bound));
    let sockets: Vec<(UdpSocket, Arc<Bound>)> = sockets.into_iter().map(ours).collect::<io::Result<_>>()?;
    for (socket, bound) in sockets {
        datagrams::take_runs(&socket);
        let (worker, listening) = (Rc::clone(&worker), Arc::clone(&listening));
        let hub = Rc::new(Hub { worker, listening, socket, sessions: RefCell::default(), _bound: bound });
        spawn_local(async move {
            hub.run().await;
            hub.finish().await;
        });
    }
    Ok(())
}

/// All sessions of one socket of the listener, on its worker.
struct Hub {
    worker: Rc<Worker>,
    listening: Arc<Listening>,
    socket: UdpSocket,
    sessions: RefCell<HashMap<SocketAddr, Rc<Session>>>,
    /// What whoever listens at the address next goes on with.
    _bound: Arc<Bound>,
}

impl Hub {
    async fn run(self: &Rc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                readable = self.socket.readable() => match readable {
                    Ok(()) => drop(take(&self.socket, |datagrams| self.see(datagrams))),
                    Err(_) => return,
                },
                _ = tick.tick() => self.expire(self.listening.settings().config.limits.idle_timeout),
                () = self.listening.closed() => return,
            }
        }
    }

    /// What endpoints are still saying reaches its clients, for a while; clients are heard no more.
    async fn finish(&self) {
        let idle = self.listening.settings().config.limits.idle_timeout.min(LAST_WORD);
        let mut tick = tokio::time::interval(TICK);
        while !self.sessions.borrow().is_empty() {
            tick.tick().await;
            let over = self.listening.is_over(Instant::now());
            self.expire(if over { Duration::ZERO } else { idle });
        }
    }

    fn see(self: &Rc<Self>, datagrams: &[Datagram<'_>]) {
        let now = Instant::now();
        for of_one in datagrams.chunk_by(|one, other| one.from == other.from) {
            let (runs, count) = runs(of_one);
            let runs = runs.get(..count).unwrap_or_default();
            let session = of_one.first().and_then(|first| self.session(first.from, now));
            match session {
                Some(session) => session.forward(self, runs, now),
                None => self.dropped(runs),
            }
        }
    }

    /// The session of a client; none where there is no room for another.
    fn session(&self, client: SocketAddr, now: Instant) -> Option<Rc<Session>> {
        if let Some(session) = self.sessions.borrow().get(&client) {
            return Some(Rc::clone(session));
        }
        if self.worker.pressure().is_short(Scarce::Memory) {
            return None;
        }
        let of_listener = self.listening.room.try_take()?;
        let Some(of_all) = self.worker.try_room() else {
            self.worker.run_short(Scarce::Connections);
            return None;
        };
        let room = (of_listener, of_all);
        let settings = self.listening.settings();
        let permit = permit::of_arrival(&self.worker, &self.listening, &settings.config, client)?;
        let counted = (room, self.worker.connection(), self.listening.metrics.accept(self.worker.index()));
        let mut known = Client::new(client, Arc::clone(&self.listening));
        known.permit = permit;
        let book = Book::open(Rc::clone(&self.worker), known, Protocol::Udp, now);
        let session = Rc::new(Session {
            client,
            book: RefCell::new(book),
            leg: RefCell::default(),
            lost: RefCell::default(),
            permit: RefCell::default(),
            led: Cell::default(),
            last: Cell::new(now),
            _counted: counted,
        });
        self.sessions.borrow_mut().insert(client, Rc::clone(&session));
        Some(session)
    }

    /// End the sessions that have been silent for so long.
    fn expire(&self, idle: Duration) {
        let now = Instant::now();
        let silent = |session: &Session| now.saturating_duration_since(session.last.get()) >= idle;
        // Whoever ends is dropped when the table is free again.
        let ended: Vec<Rc<Session>> =
            self.sessions.borrow_mut().extract_if(|_, session| silent(session)).map(|(_, session)| session).collect();
        ended.iter().for_each(|session| session.end());
    }

    fn dropped(&self, runs: &[Run<'_>]) {
        let number = runs.iter().map(|run| run.datagrams().count() as u64).sum();
        self.listening.metrics.drop_datagrams(self.worker.index(), number);
    }
}

/// Take what a socket has, all of it unless that is more than a batch.
fn take(socket: &UdpSocket, see: impl FnOnce(&[Datagram<'_>])) -> io::Result<()> {
    // A batch that is not full has emptied the socket: to ask once more would only tell that.
    let took = || match datagrams::receive(socket, see)? {
        true => Ok(()),
        false => Err(io::ErrorKind::WouldBlock.into()),
    };
    match socket.try_io(Interest::READABLE, took) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        result => result,
    }
}

fn runs<'a>(datagrams: &[Datagram<'a>]) -> ([Run<'a>; BATCH], usize) {
    let mut runs = [Run::one(&[]); BATCH];
    let places = runs.iter_mut().zip(datagrams);
    let count = places.map(|(place, datagram)| *place = datagram.run).count();
    (runs, count)
}

/// What a client sends from one address, and what comes back.
struct Session {
    client: SocketAddr,
    book: RefCell<Book>,
    leg: RefCell<Option<Leg>>,
    /// Endpoints that were found to be gone.
    lost: RefCell<Vec<u64>>,
    /// What it holds of its route's limits, once it has passed them.
    permit: RefCell<Option<Option<Box<Permit>>>>,
    /// When it was last tried to lead it somewhere.
    led: Cell<Option<Instant>>,
    last: Cell<Instant>,
    _counted: ((Place, Place), Open, ConnectionGuard),
}

/// Where a session leads.
struct Leg {
    endpoint: Arc<Endpoint>,
    socket: Rc<UdpSocket>,
    /// What the first datagram begins with.
    introduction: Vec<u8>,
    answers: JoinHandle<()>,
    _counted: (Lasting, Option<InFlight>),
}

impl Drop for Leg {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

impl Session {
    /// Send what the client sent; where the endpoint turns out to be gone, to another.
    fn forward(self: &Rc<Self>, hub: &Rc<Hub>, runs: &[Run<'_>], now: Instant) {
        self.last.set(now);
        for _ in 0..2 {
            self.find_leg(hub, now);
            let mut place = self.leg.borrow_mut();
            let Some(leg) = place.as_mut() else { break };
            match leg.send(runs) {
                Ok(()) => {
                    let octets: usize = runs.iter().map(|run| run.octets.len()).sum();
                    let moved = &self.book.borrow().moved;
                    moved.up.set(moved.up.get() + octets as u64);
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.lost.borrow_mut().push(leg.endpoint.id());
                    *place = None;
                    self.led.set(None);
                }
                Err(_) => break,
            }
        }
        hub.dropped(runs);
    }

    /// See to it that it leads to an endpoint that takes it, if there is one.
    fn find_leg(self: &Rc<Self>, hub: &Rc<Hub>, now: Instant) {
        if self.leg.borrow().as_ref().is_some_and(|leg| leg.endpoint.keeps_sessions()) {
            return;
        }
        let had = self.leg.take().is_some();
        let soon = self.led.get().is_some_and(|led| now.saturating_duration_since(led) < AGAIN);
        if soon && !had {
            return;
        }
        self.led.set(Some(now));
        let led = self.lead(hub);
        if led.is_err() {
            self.lost.borrow_mut().clear();
        }
        let mut book = self.book.borrow_mut();
        book.settle(led.as_ref().map(drop));
        *self.leg.borrow_mut() = led.ok();
    }

    fn lead(self: &Rc<Self>, hub: &Rc<Hub>) -> Result<Leg, ProxyError> {
        let mut book = self.book.borrow_mut();
        let Book { worker, client, trace, .. } = &mut *book;
        let pinned = worker.pin();
        let Led { route, upstream, mut request, counted: of_tenant } = lead(worker, client, &pinned.snapshot, trace)?;
        let (upstream, route) = (&upstream, &route);
        if self.permit.borrow().is_none() {
            let permit = permit::of_exchange(worker, &pinned.snapshot, client, Some(&request), Some(route), trace)?;
            *self.permit.borrow_mut() = Some(permit);
        }
        let decision = Decision { worker, client, asking: None, snapshot: &pinned.snapshot, route };
        let lost = self.lost.borrow();
        let (keeping, kept) = decision.session(upstream, &mut request, trace)?;
        let kept = kept.filter(|endpoint| !lost.contains(&endpoint.id()));
        if kept.is_none() && trace.affinity == Some(Affinity::Hit) {
            trace.affinity = Some(Affinity::Moved);
        }
        let admit = |endpoint: &Arc<Endpoint>| upstream.cluster.admit(Arc::clone(endpoint), false);
        let (endpoint, counted) = match kept {
            Some(endpoint) => admit(&endpoint).ok().map(|counted| (endpoint, counted)),
            None => {
                let mut picked = decision.pick(upstream, &request, &lost, trace)?.ok_or(ProxyError::NoEndpoint)?;
                let mut counted = admit(&picked);
                if counted.is_err()
                    && let Some(other) = decision.pick_with_room(upstream, &request, &lost, trace)?
                {
                    counted = admit(&other);
                    picked = other;
                }
                counted.ok().map(|counted| (picked, counted))
            }
        }
        .ok_or(ProxyError::QueueFull)?;
        trace.attempts += 1;
        trace.endpoint = Some(Arc::clone(&endpoint));
        let socket = connected(endpoint.address()).map_err(ProxyError::EndpointGone)?;
        decision.keep(upstream, &request, &keeping, &endpoint, &mut http::HeaderMap::new(), trace)?;
        let told = upstream.connector.introduces() == Some(ProxyVersion::V2);
        let introduction = if told { client.introduction(&upstream.connector) } else { Vec::new() };
        let socket = Rc::new(socket);
        let answers = spawn_local(answers(Rc::clone(hub), Rc::downgrade(self), Rc::clone(&socket)));
        Ok(Leg { _counted: (counted.lasting(&upstream.cluster), of_tenant), endpoint, socket, introduction, answers })
    }

    /// Give the client what its endpoint sent.
    fn answer(&self, hub: &Hub, datagrams: &[Datagram<'_>]) {
        let now = Instant::now();
        self.last.set(now);
        let (runs, count) = runs(datagrams);
        let runs = runs.get(..count).unwrap_or_default();
        let sent = datagrams::send(&hub.socket, Some(self.client), runs).unwrap_or(0);
        hub.dropped(runs.get(sent..).unwrap_or_default());
        let octets: usize = runs.iter().take(sent).map(|run| run.octets.len()).sum();
        let moved = &self.book.borrow().moved;
        moved.down.set(moved.down.get() + octets as u64);
        if moved.answered.get().is_none() {
            moved.answered.set(Some(now));
        }
    }

    /// The endpoint is gone: the next datagram goes elsewhere.
    fn lose(&self) {
        if let Some(leg) = self.leg.take() {
            self.lost.borrow_mut().push(leg.endpoint.id());
            self.led.set(None);
        }
    }

    /// Close the books as of now.
    fn end(&self) {
        let mut book = self.book.borrow_mut();
        book.trace.head_at = book.moved.answered.get();
        book.trace.split.first_byte = book.trace.head_at.map_or(Duration::ZERO, |at| at - book.trace.started);
        if self.leg.borrow().is_some() {
            book.settle(Ok(()));
        }
    }
}

impl Leg {
    fn send(&mut self, runs: &[Run<'_>]) -> io::Result<()> {
        if !self.introduction.is_empty() {
            return self.introduce(runs);
        }
        datagrams::send(&*self.socket, None, runs).map(drop)
    }

    /// The PROXY header and the first datagram are one datagram.
    fn introduce(&mut self, runs: &[Run<'_>]) -> io::Result<()> {
        let mut all = runs.iter().flat_map(|run| run.datagrams());
        let first = [&self.introduction, all.next().unwrap_or_default()].concat();
        datagrams::send(&*self.socket, None, &[Run::one(&first)])?;
        self.introduction = Vec::new();
        let rest: Vec<Run<'_>> = all.map(Run::one).collect();
        datagrams::send(&*self.socket, None, &rest).map(drop)
    }
}

/// A socket that speaks with this address alone.
fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    if descriptors::is_reserved(&socket) {
        return Err(io::Error::other("no file descriptor left"));
    }
    socket.set_nonblocking(true)?;
    socket.connect(&address.into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    datagrams::take_runs(&socket);
    Ok(socket)
}

async fn answers(hub: Rc<Hub>, session: Weak<Session>, socket: Rc<UdpSocket>) {
    while socket.readable().await.is_ok() {
        let Some(session) = session.upgrade() else { return };
        let taken = take(&socket, |datagrams| session.answer(&hub, datagrams));
        if taken.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return session.lose();
        }
    }
}
