//! A listener of datagrams on one worker: sessions by the client's address, each led to an endpoint with a
//! socket of its own, so that what comes back is known to be its client's.
//!
//! The sockets of a listener share its address; the system gives all datagrams of a client to the same
//! one, and so to the same worker.

mod refusals;
mod session;
mod spare;

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{io::Interest, net::UdpSocket, task::spawn_local, time::MissedTickBehavior};

use self::{refusals::Refusals, session::Session, spare::Spare};
use crate::{
    datagrams::{self, BATCH, Datagram, Run},
    listening::{Bound, Listening},
    permit,
    pressure::Scarce,
    worker::Worker,
};

/// Between two looks for sessions that are silent.
const TICK: Duration = Duration::from_millis(250);
/// Silence that ends a session of a listener that is closed.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Batches of datagrams for nobody that are taken from a socket at a time.
const DISCARDED: usize = 100;

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
        let (sessions, refusals, spare) = (RefCell::default(), RefCell::default(), RefCell::default());
        let hub = Rc::new(Hub { worker, listening, socket, sessions, refusals, spare, bound });
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
    refusals: RefCell<Refusals>,
    spare: RefCell<Spare>,
    /// What whoever listens at the address next goes on with.
    bound: Arc<Bound>,
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
                _ = tick.tick() => self.look(self.listening.settings().config.limits.idle_timeout),
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
            if !self.listening.is_left_to_others() {
                self.discard();
            }
            let over = self.listening.is_over(Instant::now());
            self.look(if over { Duration::ZERO } else { idle });
        }
    }

    /// Drop what comes to a listener that is closed, at all its sockets: hubs that have no sessions are gone. Whoever
    /// listens at them next would take it for new.
    fn discard(&self) {
        let Bound::Datagrams(sockets) = &*self.bound else { return };
        let dropped = |datagrams: &[Datagram<'_>]| {
            let (runs, count) = runs(datagrams);
            self.dropped(runs.get(..count).unwrap_or_default());
        };
        for socket in sockets {
            let full = (0..DISCARDED).map(|_| datagrams::receive(socket, dropped));
            full.take_while(|full| matches!(full, Ok(true))).for_each(drop);
        }
    }

    fn see(self: &Rc<Self>, datagrams: &[Datagram<'_>]) {
        let (now, snapshot) = (Instant::now(), self.worker.snapshot_number());
        for of_one in datagrams.chunk_by(|one, other| one.from == other.from) {
            let (runs, count) = runs(of_one);
            let runs = runs.get(..count).unwrap_or_default();
            let session = of_one.first().and_then(|first| self.session(first.from, snapshot, now));
            match session {
                Some(session) => session.forward(self, runs, now),
                None => self.dropped(runs),
            }
        }
    }

    /// The session of a client; none where there is no room for another, or none for this client.
    fn session(&self, client: SocketAddr, snapshot: u64, now: Instant) -> Option<Rc<Session>> {
        let known = self.sessions.borrow().get(&client).cloned();
        if let Some(session) = known {
            if session.may_stay(self, snapshot, now) {
                return Some(session);
            }
            self.end(&session);
        }
        self.begin(client, snapshot, now)
    }

    fn begin(&self, client: SocketAddr, snapshot: u64, now: Instant) -> Option<Rc<Session>> {
        let refused = self.refusals.borrow().has(client, snapshot, now);
        if refused || self.worker.pressure().is_short(Scarce::Memory) {
            return None;
        }
        let Some(of_listener) = self.listening.room.try_take() else {
            self.listening.note_full();
            return None;
        };
        let Some(of_all) = self.worker.try_room() else {
            if self.worker.run_short(Scarce::Connections) == 0 {
                self.worker.pressure().want_datagram_room();
            }
            return None;
        };
        let settings = self.listening.settings();
        let permit = permit::of_arrival(&self.worker, &self.listening, &settings.config, client)?;
        let session = Session::begin(self, client, (of_listener, of_all), permit, now);
        self.sessions.borrow_mut().insert(client, Rc::clone(&session));
        Some(session)
    }

    /// One that leads nowhere holds no place. Its client may try again in a moment.
    fn refuse(&self, session: &Rc<Session>, now: Instant) {
        let noted = self.refusals.borrow_mut().note(session.client(), self.worker.snapshot_number(), now);
        // A flood from made up addresses is no flood of lines.
        if !noted {
            session.leave_out();
        }
        self.end(session);
    }

    fn end(&self, session: &Rc<Session>) {
        let mut sessions = self.sessions.borrow_mut();
        if sessions.get(&session.client()).is_some_and(|known| Rc::ptr_eq(known, session)) {
            sessions.remove(&session.client());
        }
        session.end();
    }

    /// End the sessions that have been silent for so long, or have to make room.
    fn look(&self, idle: Duration) {
        let now = Instant::now();
        self.refusals.borrow_mut().sweep(now);
        // Whoever ends is dropped when the table is free again.
        let mut ended: Vec<Rc<Session>> =
            self.sessions.borrow_mut().extract_if(|_, session| session.is_over(idle, now)).map(|(_, it)| it).collect();
        if self.worker.wants_room() {
            ended.extend(self.give_way(now));
        }
        // Another hub has none to end for a client of its own.
        if self.worker.wants_datagram_socket()
            && let Some(session) = self.longest_silent(now)
        {
            self.worker.pressure().give_datagram_socket();
            ended.push(session);
        }
        ended.iter().for_each(|session| session.end());
    }

    /// Some of the sessions that idle, those that have been silent for longest: of all that hold a place they are the
    /// least to lose.
    fn give_way(&self, now: Instant) -> Vec<Rc<Session>> {
        let mut sessions = self.sessions.borrow_mut();
        let idle = sessions.values().filter(|session| spare::idles(session.last(), now));
        let mut idle: Vec<(Instant, SocketAddr)> = idle.map(|session| (session.last(), session.client())).collect();
        spare::keep_longest_silent(&mut idle);
        idle.iter().filter_map(|(_, client)| sessions.remove(client)).collect()
    }

    /// End a session that idles, so that its descriptor is free; whether there was one. Where there was none, the next
    /// one that idles elsewhere makes room, for whoever asks then.
    fn make_room(&self, now: Instant) -> bool {
        let Some(session) = self.longest_silent(now) else {
            self.worker.pressure().want_datagram_socket();
            return false;
        };
        session.end();
        true
    }

    /// Take the session out that has been silent for longest, of those that idle and have a socket.
    fn longest_silent(&self, now: Instant) -> Option<Rc<Session>> {
        let mut sessions = self.sessions.borrow_mut();
        let client = {
            let spoke = |client| sessions.get(&client).filter(|it| it.has_socket()).map(|it| it.last());
            let all = || sessions.values().filter(|it| it.has_socket()).map(|it| (it.last(), it.client()));
            self.spare.borrow_mut().next(now, spoke, all)
        }?;
        sessions.remove(&client)
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
