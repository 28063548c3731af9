//! One session of datagrams: where it leads, whether it may stay there, and what passes.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};
use tokio::{
    net::UdpSocket,
    task::{JoinHandle, spawn_local},
};
use weir_config::{Protocol, ProxyVersion};
use weir_upstream::{
    Endpoint, Lasting,
    connection::ConnectionError,
    descriptors::{self, Taken},
};

use super::{Hub, runs, take};
use crate::{
    access_log::Affinity,
    capacity::Place,
    datagrams::{self, Datagram, Run},
    decide::Decision,
    error::ProxyError,
    gate::Permit,
    metrics::ConnectionGuard,
    permit,
    pressure::Scarce,
    request::Client,
    tcp::{Book, Led, asked, lead},
    tenant::InFlight,
    worker::Open,
};

/// What a client sends from one address, and what comes back.
pub struct Session {
    client: SocketAddr,
    book: RefCell<Book>,
    leg: RefCell<Option<Leg>>,
    /// Endpoints that were found to be gone.
    lost: RefCell<Vec<u64>>,
    /// What it holds of its route's limits, once it has passed them.
    permit: RefCell<Option<Option<Box<Permit>>>>,
    last: Cell<Instant>,
    /// The snapshot by which it was last seen that it may stay.
    seen: Cell<u64>,
    /// When it has to go, where its endpoint is none any more of those that it would be led to.
    until: Cell<Option<Instant>>,
    _counted: ((Place, Place), Open, ConnectionGuard),
}

/// Where a session leads.
struct Leg {
    endpoint: Arc<Endpoint>,
    /// Nobody else keeps it, so that its descriptor is free at once when this goes.
    socket: Rc<UdpSocket>,
    /// What the first datagram begins with.
    introduction: Vec<u8>,
    answers: JoinHandle<()>,
    _counted: (Lasting, Option<InFlight>, Taken),
}

impl Drop for Leg {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

impl Session {
    /// Of a client that has come in, and leads nowhere yet.
    pub fn begin(
        hub: &Hub,
        client: SocketAddr,
        room: (Place, Place),
        permit: Option<Box<Permit>>,
        now: Instant,
    ) -> Rc<Self> {
        let Hub { worker, listening, .. } = hub;
        let counted = (room, worker.connection(), listening.metrics.accept(worker.index()));
        let mut known = Client::new(client, Arc::clone(listening));
        known.permit = permit;
        let book = Book::open(Rc::clone(worker), known, Protocol::Udp, now);
        Rc::new(Self {
            client,
            book: RefCell::new(book),
            leg: RefCell::default(),
            lost: RefCell::default(),
            permit: RefCell::default(),
            last: Cell::new(now),
            seen: Cell::new(worker.snapshot_number()),
            until: Cell::default(),
            _counted: counted,
        })
    }

    /// Whose it is.
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// Whether it leads somewhere, for which it has a socket.
    pub fn has_socket(&self) -> bool {
        self.leg.borrow().is_some()
    }

    /// When something was last sent.
    pub fn last(&self) -> Instant {
        self.last.get()
    }

    /// Whether it has been silent for so long, or has to go.
    pub fn is_over(&self, idle: Duration, now: Instant) -> bool {
        let silent = now.saturating_duration_since(self.last.get()) >= idle;
        let late = || self.until.get().is_some_and(|until| now >= until);
        silent || late() || self.leg.borrow().as_ref().is_some_and(|leg| leg.endpoint.is_gone(now))
    }

    /// Leave it out of the log, unless something has passed.
    pub fn leave_out(&self) {
        let mut book = self.book.borrow_mut();
        book.trace.unlogged = book.moved.up.get() == 0 && book.moved.down.get() == 0;
    }

    /// Whether what runs now lets it be as it is. It is looked at once for each snapshot.
    pub fn may_stay(&self, hub: &Hub, snapshot: u64, now: Instant) -> bool {
        self.seen.get() == snapshot || self.review(hub, snapshot, now)
    }

    /// Its client must still be allowed in. Its endpoint must be one of those that it would be led to; one that is not
    /// keeps it for as long as one that is no longer listed.
    fn review(&self, hub: &Hub, snapshot: u64, now: Instant) -> bool {
        // No snapshot knows of a listener that is gone. Its sessions have their own end.
        if hub.listening.is_closed() {
            return true;
        }
        self.seen.set(snapshot);
        let (pinned, book, mut leg) = (hub.worker.pin(), self.book.borrow(), self.leg.borrow_mut());
        let (request, route) = asked(&book.client, &pinned.snapshot);
        if !permit::is_allowed(&pinned.snapshot, &book.client, &request, route) {
            return false;
        }
        let Some((leg, upstream)) = leg.as_mut().zip(book.trace.upstream.as_ref()) else { return true };
        let placed = |upstream| request.tenant.as_ref().map_or(upstream, |tenant| tenant.place(upstream));
        let mut upstreams = route.into_iter().flat_map(|route| route.upstreams()).map(placed);
        if let Some(endpoint) = upstreams.find_map(|upstream| upstream.cluster.find(leg.endpoint.id())) {
            // What is said of an endpoint from now on is said to the one of its present cluster.
            leg.endpoint = endpoint;
            self.until.set(None);
            return true;
        }
        let until = self.until.get().unwrap_or(now + upstream.cluster.config().drain);
        self.until.set(Some(until));
        now < until
    }

    /// Send what the client sent; where the endpoint turns out to be gone, to another.
    pub fn forward(self: &Rc<Self>, hub: &Rc<Hub>, runs: &[Run<'_>], now: Instant) {
        self.last.set(now);
        for _ in 0..2 {
            if !self.find_leg(hub) {
                hub.refuse(self, now);
                break;
            }
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
                }
                Err(_) => break,
            }
        }
        hub.dropped(runs);
    }

    /// See to it that it leads to an endpoint that takes it; whether there is one.
    fn find_leg(self: &Rc<Self>, hub: &Rc<Hub>) -> bool {
        if self.leg.borrow().as_ref().is_some_and(|leg| leg.endpoint.keeps_sessions()) {
            return true;
        }
        drop(self.leg.take());
        let led = self.lead(hub);
        self.book.borrow_mut().settle(led.as_ref().map(drop));
        // However long it might stay with a former endpoint: this is one it would be led to.
        self.until.set(None);
        *self.leg.borrow_mut() = led.ok();
        self.leg.borrow().is_some()
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
        let socket = connected(hub, endpoint.address()).map_err(without_socket)?;
        decision.keep(upstream, &request, &keeping, &endpoint, &mut http::HeaderMap::new(), trace)?;
        let told = upstream.connector.introduces() == Some(ProxyVersion::V2);
        let introduction = if told { client.introduction(&upstream.connector) } else { Vec::new() };
        let socket = Rc::new(socket);
        let answers = spawn_local(answers(Rc::clone(hub), Rc::downgrade(self), Rc::downgrade(&socket)));
        let counted = (counted.lasting(&upstream.cluster), of_tenant, descriptors::take(1));
        Ok(Leg { _counted: counted, endpoint, socket, introduction, answers })
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
        }
    }

    /// Close the books as of now.
    pub fn end(&self) {
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

/// A socket that speaks with this address alone. Where sessions have as many descriptors as they may, one that idles
/// makes room. Connections do so only where they are short of descriptors themselves.
fn connected(hub: &Hub, address: SocketAddr) -> io::Result<UdpSocket> {
    let open = || match descriptors::are_for_connections() {
        true => Err(descriptors::missing()),
        false => Socket::new(Domain::for_address(address), Type::DGRAM, None),
    };
    let mut socket = open();
    if socket.as_ref().is_err_and(descriptors::are_missing) {
        let scarce = descriptors::are_scarce();
        if hub.make_room(Instant::now()) {
            socket = open();
        }
        if scarce && socket.is_err() {
            hub.worker.run_short(Scarce::Descriptors);
        }
    }
    let socket = socket?;
    socket.set_nonblocking(true)?;
    socket.connect(&address.into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    datagrams::take_runs(&socket);
    Ok(socket)
}

fn without_socket(error: io::Error) -> ProxyError {
    if descriptors::are_missing(&error) {
        return ProxyError::Upstream(ConnectionError::NoDescriptor);
    }
    ProxyError::EndpointGone(error)
}

async fn answers(hub: Rc<Hub>, session: Weak<Session>, socket: Weak<UdpSocket>) {
    let readable = |cx: &mut Context<'_>| match socket.upgrade() {
        Some(socket) => socket.poll_recv_ready(cx).map_ok(|()| socket),
        None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
    };
    while let Ok(socket) = poll_fn(readable).await {
        let Some(session) = session.upgrade() else { return };
        if !session.may_stay(&hub, hub.worker.snapshot_number(), Instant::now()) {
            return hub.end(&session);
        }
        let taken = take(&socket, |datagrams| session.answer(&hub, datagrams));
        if taken.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return session.lose();
        }
    }
}
