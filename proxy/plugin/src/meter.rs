//! CPU time of a health check. It waits for its endpoint and changes threads meanwhile, so that what counts is what is
//! computed between two waits.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::allowance::thread_time;

/// The CPU time of one call at a time, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    most: AtomicU64,
    /// Before the present poll.
    spent: AtomicU64,
    /// What the thread had computed when the present poll began.
    since: AtomicU64,
}

impl Meter {
    /// Run a call, which is to look at [`Meter::is_over`] now and then.
    pub(crate) async fn run<F: Future>(&self, most: Duration, call: F) -> F::Output {
        self.most.store(nanos(most), Relaxed);
        self.spent.store(0, Relaxed);
        let mut call = pin!(call);
        poll_fn(|context| {
            self.since.store(nanos(thread_time()), Relaxed);
            let polled = call.as_mut().poll(context);
            self.spent.fetch_add(self.computed(), Relaxed);
            polled
        })
        .await
    }

    /// Whether the call that is being polled on this thread has had its time.
    pub(crate) fn is_over(&self) -> bool {
        self.spent.load(Relaxed).saturating_add(self.computed()) > self.most.load(Relaxed)
    }

    fn computed(&self) -> u64 {
        nanos(thread_time()).saturating_sub(self.since.load(Relaxed))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
