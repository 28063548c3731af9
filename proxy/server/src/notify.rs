//! What the service manager is told (`sd_notify(3)`), where the process runs under one.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use sd_notify::NotifyState;

/// Another process speaks for the service now.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Clients are served.
pub fn ready(snapshot: u64) {
    tell(&[NotifyState::Ready, NotifyState::Status(&serving(snapshot))]);
}

/// The configuration is being read again, or another process starts; [`ready`] says when that is over.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the clock cannot be read: the service manager is told nothing"),
    }
}

/// The process drains, and will end.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// The process of this id is the service from now on. Nothing is told by this one any more.
pub fn succeeded_by(pid: u32) {
    tell(&[NotifyState::MainPid(pid), NotifyState::Ready]);
    SILENT.store(true, Relaxed);
}

fn serving(snapshot: u64) -> String {
    format!("serving snapshot {snapshot}")
}

fn tell(state: &[NotifyState<'_>]) {
    if SILENT.load(Relaxed) {
        return;
    }
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
