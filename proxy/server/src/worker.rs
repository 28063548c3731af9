//! One worker: a thread with its own runtime, connections, plugin instances and balancers. Nothing
//! here is shared with another worker, so the road of a request takes no lock of the worker's.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::{Arc, Weak},
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::{ArcSwap, Cache};
use http::HeaderValue;
use tokio::{
    runtime::LocalOptions,
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
};
use weir_plugin::{Guests, Host};
use weir_upstream::{Balancer, Candidates, Cluster, KeyHash, Occasion, Recall, Rng, connection::Pools, descriptors};

use crate::{
    access_log::{AccessLog, WorkerLog},
    acme::Challenges,
    capacity::{Capacity, Place},
    draining::{Draining, Watch},
    figures::Figures,
    holdings::Holdings,
    http_date, listener,
    listening::Listening,
    memory,
    metrics::{Metrics, WorkerMetrics},
    pressure::{Pressure, Scarce},
    snapshot::Snapshot,
    splice::Pipes,
    timer::Timer,
};

/// A guest may take 512 KiB of stack, and exchanges run below it.
const STACK: usize = 4 << 20;
/// How long a connection that was accepted or answered just before a drain may take to ask something.
pub const FIRST_WORD: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);
/// Connections that idle and are ended at once where descriptors are short, and at each tick while memory is.
const DESCRIPTORS_AT_ONCE: usize = 8;
const MEMORY_AT_ONCE: usize = 256;

/// What the process shares with its workers.
pub struct Shared {
    /// What runs.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The plugin host.
    pub host: Arc<Host>,
    /// Series of the process.
    pub metrics: Arc<Metrics>,
    /// The access log.
    pub log: AccessLog,
    /// Calls workers to close idle connections whose places are waited for.
    pub recall: Arc<Recall>,
    /// What authorities that issue certificates want to see.
    pub challenges: Arc<Challenges>,
    /// Room for connections of all listeners.
    pub room: Capacity,
    /// What the process is short of.
    pub pressure: Pressure,
}

/// What a worker is told.
pub enum Command {
    /// Accept on this listener too, until it is closed.
    Listen(Arc<Listening>),
    /// Another snapshot is in force: let go of the former one.
    Refresh,
    /// Finish what is in flight, then end. Connections that are asked nothing more end then.
    Drain {
        /// When.
        end_of_idle: Instant,
    },
    /// End now.
    Stop,
}

/// A worker's handle for the control side.
pub struct Handle {
    /// Where commands go.
    pub commands: UnboundedSender<Command>,
    /// Its thread.
    pub thread: std::thread::JoinHandle<()>,
}

/// One worker.
pub struct Worker {
    shared: Arc<Shared>,
    /// What runs, known without touching memory that is written to as long as it is the same.
    latest: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    pinned: RefCell<Rc<Pinned>>,
    balancers: RefCell<HashMap<usize, Balancing, foldhash::fast::RandomState>>,
    rng: RefCell<Rng>,
    date: RefCell<(u64, HeaderValue)>,
    open: Cell<usize>,
    /// Connections to endpoints.
    pub pools: Pools,
    /// What moves octets between sockets.
    pub pipes: Pipes,
    /// Plugin instances.
    pub guests: Guests,
    /// Its lines of the access log.
    pub log: WorkerLog,
    /// Its figures.
    pub metrics: WorkerMetrics,
    /// Those of routes, found without a look-up by name.
    pub figures: Figures,
    /// Memory that connections of clients hold.
    pub holdings: Holdings,
    /// The look at memory after which connections were closed last.
    looked: Cell<u64>,
    /// Cancelled when connections are to end after what they are at.
    pub draining: Draining,
}

/// The native balancer of a cluster. The weak reference keeps the cluster's address, by which this is
/// found, from being used again.
type Balancing = (Weak<Cluster>, Box<dyn Balancer>);

/// A snapshot as one worker holds it: exchanges count their references without touching memory that
/// other workers use.
pub struct Pinned {
    /// What runs.
    pub snapshot: Arc<Snapshot>,
}

impl Worker {
    fn new(index: usize, shared: Arc<Shared>) -> Rc<Self> {
        let snapshot = shared.snapshot.load_full();
        Rc::new(Self {
            latest: RefCell::new(Cache::new(Arc::clone(&shared.snapshot))),
            pinned: RefCell::new(Rc::new(Pinned { snapshot })),
            balancers: RefCell::default(),
            rng: RefCell::new(Rng::seeded()),
            date: RefCell::new((0, HeaderValue::from_static(""))),
            open: Cell::new(0),
            pools: Pools::recalled_by(Arc::clone(&shared.recall)),
            pipes: Pipes::default(),
            guests: Guests::of_worker(index),
            log: shared.log.worker(),
            metrics: shared.metrics.worker(index),
            figures: Figures::default(),
            holdings: Holdings::default(),
            looked: Cell::new(0),
            draining: Draining::default(),
            shared,
        })
    }

    /// Its number, from 0.
    pub fn index(&self) -> usize {
        self.metrics.index()
    }

    /// How many there are.
    pub fn workers(&self) -> usize {
        self.shared.metrics.workers()
    }

    /// What runs now. Who holds it keeps it.
    pub fn pin(&self) -> Rc<Pinned> {
        let (mut latest, mut pinned) = (self.latest.borrow_mut(), self.pinned.borrow_mut());
        let latest = latest.load();
        if !Arc::ptr_eq(&pinned.snapshot, latest) {
            *pinned = Rc::new(Pinned { snapshot: Arc::clone(latest) });
        }
        Rc::clone(&pinned)
    }

    /// The number of what runs now, for who holds nothing of it.
    pub fn snapshot_number(&self) -> u64 {
        self.latest.borrow_mut().load().number
    }

    /// An endpoint by the cluster's own algorithm.
    pub fn pick_natively(
        &self,
        cluster: &Arc<Cluster>,
        candidates: &Candidates,
        key: Option<KeyHash>,
        now: Instant,
    ) -> Option<usize> {
        let mut balancers = self.balancers.borrow_mut();
        let place = Arc::as_ptr(cluster) as usize;
        let make = || (Arc::downgrade(cluster), cluster.balancer());
        let (_, native) = balancers.entry(place).or_insert_with(make);
        native.pick(candidates, Occasion { key, now, rng: &mut self.rng.borrow_mut() })
    }

    /// What authorities that issue certificates want to see.
    pub fn challenges(&self) -> &Challenges {
        &self.shared.challenges
    }

    /// Something that depends on chance.
    pub fn by_chance<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.rng.borrow_mut())
    }

    /// Value for a Date field.
    pub fn date(&self, now: SystemTime) -> HeaderValue {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut date = self.date.borrow_mut();
        if date.0 != seconds {
            *date = (seconds, http_date::value(seconds));
        }
        date.1.clone()
    }

    /// Counts a connection as open until the guard goes.
    pub fn connection(self: &Rc<Self>) -> Open {
        self.open.set(self.open.get() + 1);
        Open(Rc::clone(self))
    }

    /// What the process is short of.
    pub fn pressure(&self) -> &Pressure {
        &self.shared.pressure
    }

    /// Room for a connection among those of all listeners, if there is any.
    pub fn try_room(&self) -> Option<Place> {
        self.shared.room.try_take()
    }

    /// Room for a connection among those of all listeners. Where there is none, those that idle make some.
    ///
    /// # Errors
    /// There will never be any.
    pub async fn room(self: &Rc<Self>) -> std::io::Result<Place> {
        if let Some(place) = self.try_room() {
            return Ok(place);
        }
        let _waits = self.connection();
        let mut want = self.shared.pressure.want(Scarce::Connections);
        let mut again = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                place = self.shared.room.take() => return place,
                _ = again.tick() => {
                    want.gets(self.run_short(Scarce::Connections));
                }
            }
        }
    }

    /// There is none of it left: let go of something that is not in use. Gives how much will be free soon.
    pub fn run_short(&self, of: Scarce) -> usize {
        let now = Instant::now();
        self.shared.pressure.meet(of, now);
        self.make_room(of, now)
    }

    /// Ends some of what idles, that which has idled for longest: connections to endpoints first, as far as these help.
    fn make_room(&self, of: Scarce, now: Instant) -> usize {
        let most = match of {
            Scarce::Connections => 1,
            Scarce::Descriptors => DESCRIPTORS_AT_ONCE,
            Scarce::Memory => MEMORY_AT_ONCE,
        };
        let kept = if of == Scarce::Connections { 0 } else { self.pools.make_room(most) };
        match of {
            Scarce::Memory => kept + self.draining.make_room(most, now),
            _ if kept > 0 => kept,
            _ => self.draining.make_room(most, now),
        }
    }

    /// Whether sessions of datagrams that idle are to make room, as long as none is free of what the process is
    /// short of, so that a single client that wants it does not cost many.
    pub fn wants_room(&self) -> bool {
        let short = |of| self.shared.pressure.is_short(of);
        short(Scarce::Memory)
            || (short(Scarce::Connections) && self.shared.room.is_full())
            || (short(Scarce::Descriptors) && descriptors::are_for_connections())
    }

    /// Whether one session of datagrams that idles is to make room for another one. What was wanted and is free by now is
    /// wanted no more.
    pub fn wants_datagram_socket(&self) -> bool {
        let wants = self.shared.pressure.wants_datagram_socket();
        let full = wants && descriptors::are_for_connections();
        if wants && !full {
            self.shared.pressure.give_datagram_socket();
        }
        full
    }

    fn feel_pressure(&self) {
        let (pressure, now) = (&self.shared.pressure, Instant::now());
        self.pipes.press(pressure.is_short(Scarce::Descriptors));
        for of in Scarce::ALL {
            if pressure.is_wanted(of) {
                self.make_room(of, now);
            }
        }
        pressure.make_datagram_room(|| self.make_room(Scarce::Connections, now));
        self.draining.press(pressure.ends_idle());
        self.close_largest();
    }

    /// Once for each look at the memory: close connections that hold this worker's share of what there is too much.
    fn close_largest(&self) {
        let (look, excess) = self.shared.pressure.excess();
        if self.looked.replace(look) == look || excess == 0 {
            return;
        }
        let share = excess / u64::try_from(self.workers()).unwrap_or(1).max(1) + 1;
        let closed = self.holdings.close_largest(usize::try_from(share).unwrap_or(usize::MAX));
        if closed > 0 {
            tracing::warn!(connections = closed, "short of memory: closed those that held the most");
        }
    }

    /// No room any more for a connection of this age that has not asked anything, for a drain or for want of
    /// something: what it sent may still be under way.
    pub async fn unwanted_since(&self, accepted: Instant) {
        let begins = pin!(self.draining.begins());
        let (mut watch, mut timer) = (Watch::new(&self.draining, begins), Timer::default());
        poll_fn(|cx| match watch.idle(accepted, cx) {
            Some(end) => timer.poll(cx, end),
            None => Poll::Pending,
        })
        .await;
    }

    /// A new snapshot is in force: let go of what only the former one needed.
    fn refresh(&self) {
        let pinned = self.pin();
        drop(pinned);
        self.balancers.borrow_mut().retain(|_, (cluster, _)| cluster.strong_count() > 0);
        self.figures.clear();
        self.metrics.prune();
        self.guests.prune();
    }

    fn tick(&self, ticks: u64) {
        let now = Instant::now();
        self.log.flush_if_due(now);
        self.pools.give_up();
        self.guests.go_on();
        self.feel_pressure();
        if ticks.is_multiple_of(10) {
            self.pools.sweep(now);
            self.guests.prune();
            if self.shared.pressure.is_short(Scarce::Memory) {
                memory::give_back();
            }
        }
    }
}

/// A connection that is open.
pub struct Open(Rc<Worker>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

/// Start a worker's thread.
///
/// # Errors
/// Of the system: no thread, or no runtime.
pub fn start(index: usize, shared: Arc<Shared>) -> std::io::Result<Handle> {
    let (commands, orders) = tokio::sync::mpsc::unbounded_channel();
    let (started, begun) = std::sync::mpsc::channel();
    let life = move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        match runtime.enable_all().event_interval(61).build_local(LocalOptions::default()) {
            Ok(runtime) => {
                let _ = started.send(Ok(()));
                runtime.block_on(run(Worker::new(index, shared), orders));
            }
            Err(error) => drop(started.send(Err(error))),
        }
    };
    let thread = std::thread::Builder::new().name(format!("weir-{index}")).stack_size(STACK).spawn(life)?;
    begun.recv().map_err(std::io::Error::other)??;
    Ok(Handle { commands, thread })
}

async fn run(worker: Rc<Worker>, mut orders: UnboundedReceiver<Command>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut ticks, mut ticks_draining) = (0_u64, 0);
    loop {
        tokio::select! {
            command = orders.recv() => match command {
                Some(Command::Listen(listening)) => listener::start(Rc::clone(&worker), listening),
                Some(Command::Refresh) => worker.refresh(),
                Some(Command::Drain { end_of_idle }) => worker.draining.cancel(end_of_idle),
                Some(Command::Stop) | None => break,
            },
            () = worker.pools.recalled() => worker.pools.give_up(),
            _ = tick.tick() => {
                ticks += 1;
                worker.tick(ticks);
                ticks_draining += u64::from(worker.draining.is_cancelled());
                // Not at the first: listeners take over what waits in their backlog.
                if ticks_draining > 1 && worker.open.get() == 0 {
                    break;
                }
            }
        }
    }
    worker.log.flush();
}
