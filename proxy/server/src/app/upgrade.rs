//! An upgrade: another process takes the place of this one, or everything stays as it is.

use std::{os::fd::AsFd, path::Path, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{task::block_in_place, time::timeout};
use weir_config::AdminAddress;
use weir_upstream::affinity::process_secret;

use super::{App, Running, estate};
use crate::{
    inherited::Label,
    listening::Bound,
    notify,
    upgrade::{Belongings, Handover, Requests, Successor, program},
};

/// What of the process is open besides its listeners and the admin interface.
#[derive(Debug, Default)]
pub struct Doors {
    /// Where `weir upgrade` is heard.
    pub requests: Option<Requests>,
}

impl App {
    /// Start this program, or the one this process was started as, in the place of this process. It serves
    /// when this has succeeded, and gives its process id; this process is to drain once
    /// [`App::relieve`] is called.
    ///
    /// # Errors
    /// Why this process goes on as ever, for people.
    pub async fn upgrade(&self, to: Option<&Path>) -> Result<u32, String> {
        let upgraded = tokio::select! {
            // One that serves already is not killed.
            biased;
            upgraded = self.try_upgrade(to) => upgraded,
            () = self.ending.cancelled() => Err("this process was told to end".to_owned()),
        };
        match &upgraded {
            Ok(pid) => tracing::info!(pid, "upgraded"),
            Err(why) if self.draining.load(Relaxed) => tracing::info!(why, "no upgrade: this process ends"),
            Err(why) => {
                self.shared.metrics.failed_upgrade();
                tracing::error!(why, "upgrade failed, this process goes on");
            }
        }
        upgraded
    }

    async fn try_upgrade(&self, to: Option<&Path>) -> Result<u32, String> {
        let _only = self.upgrading.try_lock().map_err(|_| "an upgrade is under way already".to_owned())?;
        // Nothing changes meanwhile.
        let running = self.running.lock().await;
        if self.draining.load(Relaxed) {
            return Err("this process drains".to_owned());
        }
        notify::reloading();
        let limit = running.config.process.upgrade_timeout;
        let started = timeout(limit, self.succession(to, &running)).await;
        let started = started.unwrap_or_else(|_| Err(format!("it is not ready within {limit:?}")));
        match &started {
            Ok(pid) => {
                self.handed_over.store(true, Relaxed);
                self.draining.store(true, Relaxed);
                notify::succeeded_by(*pid);
            }
            Err(_) => notify::ready(self.shared.snapshot.load().number),
        }
        started
    }

    async fn succession(&self, to: Option<&Path>, running: &Running) -> Result<u32, String> {
        let program = to.map(Path::to_owned).or_else(program).ok_or("this process's program is not known")?;
        let fault = |error: std::io::Error| format!("{}: {error}", program.display());
        let mut successor = Successor::start(&program, &self.path).map_err(fault)?;
        tracing::info!(pid = successor.pid(), program = %program.display(), "upgrading");
        let sockets = self.sockets().map_err(|error| error.to_string())?;
        let doors = self.doors.get();
        let admin = self.admin.all();
        let requests = doors.and_then(|doors| doors.requests.as_ref());
        let (mut labels, mut descriptors) = (Vec::new(), Vec::new());
        for (label, bound) in &sockets {
            for descriptor in bound.descriptors() {
                labels.push(label.clone());
                descriptors.push(descriptor);
            }
        }
        for door in &admin {
            let configured = match door.wanted {
                AdminAddress::Tcp(address) => Some(address),
                AdminAddress::Unix(_) => None,
            };
            labels.push(Label { name: door.name.to_owned(), configured, admin: true });
            descriptors.push(door.socket.descriptor());
        }
        descriptors.extend(requests.map(|requests| requests.socket().as_fd()));
        let handover = Handover {
            sockets: labels,
            requests: requests.map(|requests| requests.path().to_owned()),
            secret: *process_secret(),
            kept: self.belongings(running),
        };
        successor.prepare(&handover, &descriptors).await?;
        // As late as can be: what is learnt after that is lost. What the operator says meanwhile waits.
        let mut words = self.words.lock().await;
        let estate = block_in_place(|| estate::of(&self.shared.snapshot.load()));
        successor.go(estate).await?;
        words.hand_over();
        let pid = successor.pid();
        successor.leave();
        Ok(pid)
    }

    /// What came to this process while it ran.
    fn belongings(&self, running: &Running) -> Belongings {
        let tickets = self
            .listeners
            .load()
            .iter()
            .filter_map(|listening| {
                let secrets = listening.settings().tls.as_ref()?.ticket_secrets()?;
                Some((listening.name().to_owned(), secrets))
            })
            .collect();
        Belongings { plugins: running.plugins.belongings(), certificates: running.pushed.belongings(), tickets }
    }

    /// The sockets of all listeners that are open.
    fn sockets(&self) -> std::io::Result<Vec<(Label, Bound)>> {
        let mut sockets = Vec::new();
        for listening in self.listeners.load().iter() {
            if let Some(bound) = listening.bound()? {
                let (name, address) = (listening.name().to_owned(), listening.settings().config.address);
                sockets.push((Label { name, configured: Some(address), admin: false }, bound));
            }
        }
        Ok(sockets)
    }

    /// Let this process drain: another one has taken its place.
    pub fn relieve(&self) {
        self.relieved.cancel();
    }

    /// Ends when another process has taken the place of this one.
    pub async fn relieved(&self) {
        self.relieved.cancelled().await;
    }
}

/// How long a drain waits before it begins, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) delay: Duration,
    /// How long connections that idle when it begins may still ask something: closed at once, they would lose a
    /// request that is on its way.
    pub(super) idle: Duration,
    pub(super) grace: Duration,
}

impl Ending {
    pub(super) fn of(config: &weir_config::Config) -> Self {
        let process = &config.process;
        let grace = process.shutdown_grace;
        // A request that comes last has the other half to be answered.
        Self { delay: process.drain_delay, idle: process.drain_idle.min(grace / 2), grace }
    }
}
