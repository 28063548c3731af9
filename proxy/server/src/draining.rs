//! The word to a worker's connections that they are to end after what they are at.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// Whether a worker drains. Lives on that worker's thread, so that asking costs no lock.
#[derive(Debug, Default)]
pub struct Draining {
    begun: Cell<bool>,
    token: CancellationToken,
}

impl Draining {
    /// From now on.
    pub fn cancel(&self) {
        self.begun.set(true);
        self.token.cancel();
    }

    /// Whether it has begun.
    pub fn is_cancelled(&self) -> bool {
        self.begun.get()
    }

    /// Ends when it begins.
    pub fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }
}

/// Waits for the drain again and again in one task: its waker is left once.
pub struct Watch<'a, 'f> {
    draining: &'a Draining,
    cancelled: Pin<&'f mut WaitForCancellationFuture<'a>>,
    left: bool,
}

impl<'a, 'f> Watch<'a, 'f> {
    /// With what [`Draining::cancelled`] gave.
    pub fn new(draining: &'a Draining, cancelled: Pin<&'f mut WaitForCancellationFuture<'a>>) -> Self {
        Self { draining, cancelled, left: false }
    }

    /// Ready once the drain has begun. To be asked by the same task always.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.left {
            self.left = true;
            return self.cancelled.as_mut().poll(cx);
        }
        if self.draining.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use super::*;

    #[tokio::test]
    async fn one_waker_is_woken_however_often_it_was_asked() {
        let draining = Draining::default();
        let cancelled = pin!(draining.cancelled());
        let mut watch = Watch::new(&draining, cancelled);
        for _ in 0..2 {
            assert!(poll_fn(|cx| Poll::Ready(watch.poll(cx))).await.is_pending());
        }
        let waited = poll_fn(|cx| watch.poll(cx));
        tokio::join!(waited, async { draining.cancel() });
        assert!(draining.is_cancelled());
    }
}
