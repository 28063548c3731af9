//! The process as a whole: workers, listeners, health checks, and the one way to change what runs.
//!
//! A reload, a push and a rollback build everything they need first; then they take effect, which
//! cannot fail.

mod advice;
mod audited;
mod authorities;
mod certificates;
mod changes;
mod control;
mod discovery;
mod doors;
mod endpoints;
mod estate;
mod health;
mod listeners;
mod places;
mod plugins;
mod requests;
mod upgrade;
mod workshop;

pub use self::{control::Admin, upgrade::Doors};

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{
        Arc, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{Mutex, Notify},
    task::block_in_place,
};
use tokio_util::sync::CancellationToken;
use weir_config::{Config, ListenerTls, UpstreamTls};
use weir_upstream::{Moment, descriptors};

use self::{
    authorities::Authorities, discovery::Discoveries, endpoints::Words, health::HealthChecks, listeners::Open,
    upgrade::Ending, workshop::Workshop,
};
use crate::{
    access_log::{AccessLog, Writer},
    acme::{self, Challenges, Managed},
    capacity::Capacity,
    cli::Found,
    inherited::Inherited,
    listening::Listening,
    memory,
    metrics::{self, Metrics, Present},
    notify,
    pressure::{Pressure, Scarce},
    snapshot::Snapshot,
    tls::{Issued, Pushed, Terms},
    upgrade::{Belongings, Estate, Requests},
    versions::{Ahead, Loader, Plugins},
    worker::{self, Command, Handle, Shared},
};

/// Between two looks for sessions that have ended.
const SWEEP: Duration = Duration::from_secs(5);
/// Between two looks at what may run short.
const LOOK: Duration = Duration::from_secs(1);
/// How often where half of the memory there may be is in use: it can be used up within a second.
const CLOSE_LOOK: Duration = Duration::from_millis(100);
/// One look in so many is at the number of open descriptors where there are plenty.
const SELDOM: u32 = 30;
/// Between two steps of what changes with time alone.
const TICK: Duration = Duration::from_millis(200);
/// Longest wait at the start for what discovery finds first.
const FIRST_ANSWERS: Duration = Duration::from_secs(5);

/// The process.
pub struct App {
    path: PathBuf,
    shared: Arc<Shared>,
    workers: OnceLock<Vec<Handle>>,
    running: Mutex<Running>,
    words: Mutex<Words>,
    listeners: ArcSwap<Vec<Arc<Listening>>>,
    managed: ArcSwap<Vec<Arc<Managed>>>,
    authorities: std::sync::Mutex<Authorities>,
    plugins: ArcSwap<Plugins>,
    workshop: Workshop,
    ending_as: ArcSwap<Ending>,
    doors: OnceLock<Doors>,
    /// Open addresses of the admin interface.
    admin: doors::Doors,
    /// Told of each reload that was taken up.
    reloads: Notify,
    draining: AtomicBool,
    /// Another process serves in the place of this one.
    handed_over: AtomicBool,
    /// Held during an upgrade.
    upgrading: Mutex<()>,
    /// Cancelled when the process is told to end.
    ending: CancellationToken,
    /// Cancelled when another process has taken the place of this one.
    relieved: CancellationToken,
}

/// Why a process drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// It was told to end: who sends traffic is to look elsewhere first.
    Shutdown,
    /// Another process accepts in its place.
    Relieved,
}

/// What a change may touch; held for as long as it takes effect, which is not for as long as a plugin compiles.
struct Running {
    config: Arc<Config>,
    plugins: Plugins,
    health: HealthChecks,
    discoveries: Discoveries,
    pushed: Pushed,
    /// Sockets of former listeners for datagrams, as long as they are in use.
    ending: Vec<listeners::Ending>,
}

impl App {
    /// Everything a configuration needs, with its listeners bound, and nothing accepted yet. Sockets that
    /// are there already are taken out of `inherited`; `kept` is what another process leaves.
    ///
    /// # Errors
    /// Every reason why it cannot run, for people.
    pub fn build(
        path: PathBuf,
        config: Config,
        inherited: &mut Inherited,
        kept: Belongings,
    ) -> Result<(Arc<Self>, Writer), Vec<String>> {
        let host = places::host(&config)?;
        let config = Arc::new(config);
        places::check(&host, &config, workers(&config))?;
        let loader = Loader { host: &host, compile: config.process.plugin_compile, ahead: &Ahead::default() };
        let plugins = Plugins::inherit(&loader, &config, &kept.plugins)?;
        let snapshot = Snapshot::build(&config, &plugins.programs(), None)?;
        plugins.prepare(workers(&config));
        let (log, writer) =
            AccessLog::open(&config.access_log).map_err(|error| vec![format!("access log: {error}")])?;
        let metrics = Metrics::new(workers(&config));
        let workshop = Workshop::open().map_err(|error| vec![format!("no thread for changes: {error}")])?;
        let managed = managed(&config, None)?;
        let mut pushed = Pushed::inherit(&kept.certificates)?;
        let terms =
            Terms { issued: issued(&managed), pushed: pushed.clone(), tickets: kept.tickets, ..Terms::at_start() };
        let listeners = listeners::bind(&config, &Open::default(), inherited, &metrics, &terms)?;
        let listeners: Vec<_> = listeners.into_iter().map(|change| change.listening).collect();
        pushed.keep(&certificates::served(&listeners));
        let pressure = Pressure::new(Instant::now());
        pressure.bound_memory(config.process.max_memory.map(|most| most.0));
        let shared = Arc::new(Shared {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            host,
            metrics,
            log,
            recall: Arc::default(),
            challenges: Arc::new(Challenges::default()),
            room: Capacity::new(config.process.max_connections),
            pressure,
        });
        let ending_as = Ending::of(&config);
        let app = Arc::new(Self {
            path,
            shared,
            workers: OnceLock::new(),
            running: Mutex::new(Running {
                config,
                plugins: plugins.clone(),
                health: HealthChecks::default(),
                discoveries: Discoveries::default(),
                pushed,
                ending: Vec::new(),
            }),
            words: Mutex::default(),
            listeners: ArcSwap::from_pointee(listeners),
            managed: ArcSwap::from_pointee(managed),
            authorities: std::sync::Mutex::default(),
            plugins: ArcSwap::from_pointee(plugins),
            workshop,
            ending_as: ArcSwap::from_pointee(ending_as),
            doors: OnceLock::new(),
            admin: doors::Doors::default(),
            reloads: Notify::new(),
            draining: AtomicBool::new(false),
            handed_over: AtomicBool::new(false),
            upgrading: Mutex::default(),
            ending: CancellationToken::new(),
            relieved: CancellationToken::new(),
        });
        Ok((app, writer))
    }

    /// Everything but running it: for `weir check`.
    pub fn check(config: &Config) -> Found {
        let tried = || -> Result<(), Vec<String>> {
            let host = places::host(config)?;
            places::check(&host, config, workers(config))?;
            let loader = Loader { host: &host, compile: config.process.plugin_compile, ahead: &Ahead::default() };
            let plugins = Plugins::default().load(&loader, config)?;
            Snapshot::build(config, &plugins.programs(), None).map(drop)
        };
        let terms = Terms::at_start();
        let mut found = Found::default();
        for listener in &config.listeners {
            match listeners::settings(listener, &config.places, &terms, None) {
                Ok(settings) => found.warnings.extend(certificates::warnings(&settings, terms.now)),
                Err(fault) => found.faults.push(fault),
            }
        }
        found.faults.extend(doors::fault(config, &terms));
        found.faults.extend(authority_faults(config));
        found.faults.extend(tried().err().unwrap_or_default());
        found
    }

    /// Start the workers. Nothing is accepted yet. Call it once, inside the control runtime.
    ///
    /// # Errors
    /// Of the system: no thread.
    pub async fn start(&self) -> std::io::Result<()> {
        let number = workers(&self.running.lock().await.config);
        self.discover().await;
        let handles: std::io::Result<Vec<Handle>> =
            (0..number).map(|index| worker::start(index, Arc::clone(&self.shared))).collect();
        let _ = self.workers.set(handles?);
        Ok(())
    }

    /// Accept from now on, at the listeners and at the other doors, and go on with what another process has
    /// left.
    pub async fn open(self: &Arc<Self>, doors: Doors, left: Estate) {
        block_in_place(|| estate::take_up(left, &self.shared.snapshot.load()));
        self.running.lock().await.health.follow(&self.shared.snapshot.load(), &self.shared.host);
        for listening in self.listeners.load().iter() {
            tracing::info!(listener = listening.name(), address = %listening.address(), "listening");
            self.tell(|| Command::Listen(Arc::clone(listening)));
        }
        self.order();
        let _ = self.doors.set(doors);
        self.admin.all().iter().for_each(|door| self.serve(door));
        let app = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(requests) = app.doors.get().and_then(|doors| doors.requests.as_ref()) {
                requests::serve(Arc::clone(&app), requests).await;
            }
        });
        notify::ready(self.shared.snapshot.load().number);
    }

    /// Have the certificates renewed that are wanted now.
    fn order(&self) {
        let mut authorities = self.authorities.lock().unwrap_or_else(PoisonError::into_inner);
        authorities.follow(&self.managed.load(), &self.shared.challenges);
    }

    /// Look for endpoints, and give the first answers a moment to come before requests do.
    async fn discover(&self) {
        let mut running = self.running.lock().await;
        let resolvers = running.config.process.resolvers.clone();
        running.discoveries.follow(&self.shared.snapshot.load(), &resolvers);
        running.discoveries.first_answers(FIRST_ANSWERS).await;
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for worker in self.workers.get().into_iter().flatten() {
            let _ = worker.commands.send(command());
        }
    }

    /// Whether every worker lives. One that ended by itself has met a fault of ours.
    pub fn is_alive(&self) -> bool {
        !self.workers.get().into_iter().flatten().any(|worker| worker.thread.is_finished())
    }

    /// Binds the addresses of `[admin]`, or takes their sockets out of `inherited`. Nothing is answered there yet.
    ///
    /// # Errors
    /// Which address cannot be used, for people.
    pub async fn bind_admin(&self, inherited: &mut Inherited) -> Result<(), String> {
        let running = self.running.lock().await;
        let changes = doors::bind(&running.config, &[], inherited, &Terms::at_start())?;
        self.admin.begin(changes);
        Ok(())
    }

    /// Where `[process]` wants `weir upgrade` to be heard.
    pub async fn upgrade_socket(&self) -> Option<PathBuf> {
        self.running.lock().await.config.process.upgrade_socket.clone()
    }

    /// Whether files are to be watched, and which.
    pub async fn watched(&self) -> Option<Vec<PathBuf>> {
        let running = self.running.lock().await;
        if !running.config.process.watch {
            return None;
        }
        let tls = running.config.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        let mut files: Vec<PathBuf> = running.plugins.files().map(PathBuf::from).collect();
        files.extend(tls.flat_map(ListenerTls::files).cloned());
        files.extend(running.config.admin.iter().flat_map(weir_config::Admin::files).cloned());
        let tls = running.config.clusters.iter().flat_map(weir_config::Cluster::tls);
        files.extend(tls.flat_map(UpstreamTls::files).cloned());
        files.extend(running.config.value_files.iter().cloned());
        files.push(self.path.clone());
        Some(files)
    }

    /// Wait until a reload was taken up since the last time. For one who waits.
    pub async fn reloaded(&self) {
        self.reloads.notified().await;
    }

    /// Log how endpoints of clusters that go on have changed with the configuration.
    fn log_succession(&self, former: &Snapshot) {
        for (name, upstream) in &self.shared.snapshot.load().clusters {
            if let Some(before) = former.clusters.get(name)
                && !Arc::ptr_eq(&before.cluster, &upstream.cluster)
            {
                upstream.cluster.log_succession(&before.cluster);
            }
        }
    }

    /// Series of what is no longer configured.
    fn forget_figures(&self, snapshot: &Snapshot) {
        let routes: HashSet<&str> = snapshot.router.routes().iter().map(|route| &*route.config.name).collect();
        let listeners = self.listeners.load();
        let listeners: HashSet<&str> = listeners.iter().map(|listening| listening.name()).collect();
        self.shared.metrics.prune(&Present {
            listener: &|name| listeners.contains(name),
            route: &|name| name.is_empty() || routes.contains(name),
            cluster: &|name| name.is_empty() || snapshot.clusters.contains_key(name),
            tenant: &|name| snapshot.tenants.all().iter().any(|tenant| &**tenant.name() == name),
        });
    }

    /// Sessions of listeners that are gone still end, within the grace.
    fn take_up_listeners(&self, changes: Vec<listeners::Change>, grace: Duration, ending: &mut Vec<listeners::Ending>) {
        // Before anybody listens: what comes from then on is not for those that are gone.
        let is_heard = |gone: &Listening| {
            let mut present = changes.iter().map(|change| &change.listening);
            present.any(|new| new.address() == gone.address() && new.is_of_datagrams() == gone.is_of_datagrams())
        };
        let present = self.listeners.load();
        let gone = ending.iter().filter_map(|ending| ending.listening.upgrade()).chain(present.iter().cloned());
        gone.for_each(|gone| gone.leave_to_others(is_heard(&gone)));
        let mut next = Vec::with_capacity(changes.len());
        for change in changes {
            match change.settings {
                Some(settings) => change.listening.change(settings),
                None => {
                    tracing::info!(listener = change.listening.name(), address = %change.listening.address(), "listening");
                    self.tell(|| Command::Listen(Arc::clone(&change.listening)));
                }
            }
            next.push(change.listening);
        }
        for gone in present.iter().filter(|old| !next.iter().any(|new| Arc::ptr_eq(old, new))) {
            tracing::info!(listener = gone.name(), address = %gone.address(), "no longer listening");
            ending.push(listeners::Ending { bound: gone.close(grace), listening: Arc::downgrade(gone) });
        }
        self.listeners.store(Arc::new(next));
    }

    /// Forget sessions that have ended, and keys of limits that are at rest, for as long as the process lives.
    pub async fn sweep_sessions(&self) {
        let mut tick = tokio::time::interval(SWEEP);
        loop {
            let now = tick.tick().await.into_std();
            for affinity in self.shared.snapshot.load_full().affinities() {
                if let Some(table) = affinity.table() {
                    table.sweep(now);
                }
            }
            self.shared.snapshot.load_full().limits.values().for_each(|limit| limit.sweep(now));
        }
    }

    /// Let slow starts go on and ejections and drains end, and judge rollouts, for as long as the
    /// process lives.
    pub async fn keep_time(&self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let now = tick.tick().await.into_std();
            let snapshot = self.shared.snapshot.load_full();
            for upstream in snapshot.clusters.values() {
                upstream.cluster.tick(Moment::now());
            }
            snapshot.rollouts().for_each(|rollout| rollout.look(now));
        }
    }

    /// See what the process runs short of, for as long as it lives.
    pub async fn feel_pressure(&self) {
        let mut looks = 0_u32;
        loop {
            let now = Instant::now();
            let pressure = &self.shared.pressure;
            let resident = pressure.wants_memory().then(metrics::resident).flatten();
            // Costs the more the more are open, and is of interest only where these are many.
            if looks.is_multiple_of(SELDOM) || !descriptors::are_plenty() {
                descriptors::measured(metrics::open_files().unwrap_or(0));
            }
            looks += 1;
            pressure.look(resident.unwrap_or(0), now);
            if pressure.is_short(Scarce::Memory) {
                memory::give_back();
            }
            self.look_closely(now + LOOK).await;
        }
    }

    /// Wait until then, and look at the memory meanwhile where much of it is in use.
    async fn look_closely(&self, until: Instant) {
        let pressure = &self.shared.pressure;
        loop {
            let resident = pressure.wants_memory().then(metrics::resident).flatten();
            let near = resident.is_some_and(|resident| pressure.is_near(resident));
            let next = if near { until.min(Instant::now() + CLOSE_LOOK) } else { until };
            tokio::time::sleep_until(next.into()).await;
            if next == until {
                return;
            }
            pressure.look(metrics::resident().unwrap_or(0), next);
            if pressure.is_short(Scarce::Memory) {
                memory::give_back();
            }
        }
    }

    /// Stop accepting, let what is in flight finish, and cut the rest after the grace; true when
    /// nothing had to be cut. At a shutdown clients are served as ever for the delay, while readiness fails.
    pub async fn drain(&self, leaving: Leaving) -> bool {
        let Ending { delay, idle, grace } = **self.ending_as.load();
        let leaving = if self.handed_over.load(Relaxed) { Leaving::Relieved } else { leaving };
        self.draining.store(true, Relaxed);
        self.authorities.lock().unwrap_or_else(PoisonError::into_inner).stop();
        if leaving == Leaving::Shutdown {
            self.ending.cancel();
            notify::stopping();
            tracing::info!(delay = ?delay, grace = ?grace, "draining");
            tokio::time::sleep(delay).await;
        } else {
            tracing::info!(grace = ?grace, "draining");
        }
        for listening in self.listeners.load().iter() {
            listening.leave_to_others(true);
            listening.close(grace);
        }
        let end_of_idle = Instant::now() + idle;
        self.tell(|| Command::Drain { end_of_idle });
        let deadline = tokio::time::Instant::now() + grace;
        let ended = || self.workers.get().into_iter().flatten().all(|worker| worker.thread.is_finished());
        while !ended() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let clean = ended();
        self.tell(|| Command::Stop);
        while !ended() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if !self.handed_over.load(Relaxed) {
            self.doors.get().iter().filter_map(|doors| doors.requests.as_ref()).for_each(Requests::remove);
            self.admin.close();
        }
        clean
    }
}

fn workers(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    config.process.workers.unwrap_or_else(cores)
}

/// The certificates that are wanted of authorities.
fn managed(config: &Config, before: Option<&[Arc<Managed>]>) -> Result<Vec<Arc<Managed>>, Vec<String>> {
    let faults = authority_faults(config);
    if faults.is_empty() { Ok(acme::managed(config, before)) } else { Err(faults) }
}

fn authority_faults(config: &Config) -> Vec<String> {
    config.acme.iter().filter_map(|authority| acme::check(authority).err()).collect()
}

fn issued(managed: &[Arc<Managed>]) -> Vec<Arc<Issued>> {
    managed.iter().map(|certificate| Arc::clone(certificate.issued())).collect()
}

/// The names of what is there, for messages and the status page.
pub(crate) type Named<T> = HashMap<Arc<str>, T>;
