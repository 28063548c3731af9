//! The wish that connections end, as one worker feels it: all of them after what they are at, or only
//! those that idle.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::{Notify, futures::Notified};

/// Whether a worker drains, or has no room for connections that idle. Lives on that worker's thread, so
/// that asking costs no lock.
#[derive(Debug, Default)]
pub struct Draining {
    begun: Cell<bool>,
    pressed: Cell<bool>,
    /// Grows with every change that has to be looked at.
    changes: Cell<u64>,
    changed: Notify,
}

impl Draining {
    /// From now on.
    pub fn cancel(&self) {
        self.begun.set(true);
        self.tell();
    }

    /// Have no room for connections that idle, or have it again.
    pub fn press(&self, on: bool) {
        if !self.pressed.replace(on) && on {
            self.tell();
        }
    }

    fn tell(&self) {
        self.changes.set(self.changes.get() + 1);
        self.changed.notify_waiters();
    }

    /// Whether it has begun.
    pub fn is_cancelled(&self) -> bool {
        self.begun.get()
    }

    /// Whether there is no room for connections that idle.
    pub fn is_pressed(&self) -> bool {
        self.pressed.get()
    }

    /// Whether connections are to end rather than to idle.
    pub fn ends_idle(&self) -> bool {
        self.begun.get() || self.pressed.get()
    }

    /// Ends when connections are to end rather than to idle.
    pub async fn idle_is_over(&self) {
        loop {
            let changed = self.changed.notified();
            if self.ends_idle() {
                return;
            }
            changed.await;
        }
    }

    /// What a [`Watch`] waits with.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

/// Looks again and again in one task whether connections are to end: its waker is left once for each
/// change.
pub struct Watch<'a, 'f> {
    draining: &'a Draining,
    changed: Pin<&'f mut Notified<'a>>,
    /// The change that the waker was left after.
    left: Option<u64>,
}

impl<'a, 'f> Watch<'a, 'f> {
    /// With what [`Draining::changed`] gave.
    pub fn new(draining: &'a Draining, changed: Pin<&'f mut Notified<'a>>) -> Self {
        Self { draining, changed, left: None }
    }

    /// Ready while connections are to end rather than to idle. To be asked by the same task always.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let changes = Some(self.draining.changes.get());
        if self.left != changes {
            self.left = changes;
            self.changed.set(self.draining.changed.notified());
            let _ = self.changed.as_mut().poll(cx);
        }
        if self.draining.ends_idle() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use super::*;

    #[tokio::test]
    async fn one_waker_is_woken_however_often_it_was_asked() {
        let draining = Draining::default();
        let changed = pin!(draining.changed());
        let mut watch = Watch::new(&draining, changed);
        for _ in 0..2 {
            assert!(poll_fn(|cx| Poll::Ready(watch.poll(cx))).await.is_pending());
        }
        let waited = poll_fn(|cx| watch.poll(cx));
        tokio::join!(waited, draining.idle_is_over(), async { draining.cancel() });
        assert!(draining.is_cancelled());
    }

    #[tokio::test]
    async fn pressure_is_felt_each_time_it_begins() {
        let draining = Draining::default();
        let changed = pin!(draining.changed());
        let mut watch = Watch::new(&draining, changed);
        for _ in 0..2 {
            assert!(poll_fn(|cx| Poll::Ready(watch.poll(cx))).await.is_pending());
            tokio::join!(poll_fn(|cx| watch.poll(cx)), async { draining.press(true) });
            assert!(draining.ends_idle() && !draining.is_cancelled());
            draining.press(false);
        }
    }
}
