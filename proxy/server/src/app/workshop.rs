//! The thread on which changes are prepared: configurations read and plugins compiled, away from everything
//! that has to answer at once.
//!
//! It is one and the same for all of them. An allocator keeps what a thread has given back for that thread's
//! next work, even after its end, so that every further thread would keep as much as a change takes.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use tokio::sync::oneshot;

type Work = Box<dyn FnOnce() + Send>;

/// Where changes are prepared, one after another.
pub struct Workshop {
    orders: Sender<Work>,
}

/// The work ended without a result: a fault of ours.
#[derive(Debug, thiserror::Error)]
#[error("the change was not prepared to its end")]
pub struct Unfinished;

impl Workshop {
    /// Starts the thread, which ends with this value.
    ///
    /// # Errors
    /// Of the system: no thread.
    pub fn open() -> io::Result<Self> {
        let (orders, works) = channel();
        thread::Builder::new().name("weir-change".into()).spawn(move || carry_out(&works))?;
        Ok(Self { orders })
    }

    /// What comes of the work, which may block.
    ///
    /// # Errors
    /// It panicked.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Unfinished> {
        let (done, result) = oneshot::channel();
        // Whoever asked may have left meanwhile.
        let work = Box::new(move || drop(done.send(work())));
        self.orders.send(work).map_err(|_| Unfinished)?;
        result.await.map_err(|_| Unfinished)
    }
}

fn carry_out(works: &Receiver<Work>) {
    while let Ok(work) = works.recv() {
        // The panic's own message is in the process log; what the work had to give is lost with it.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_thread_does_all_work() {
        let workshop = Workshop::open().unwrap();
        let thread = || thread::current().id();
        let first = workshop.run(thread).await.unwrap();
        assert_ne!(first, thread());
        assert_eq!(workshop.run(thread).await.unwrap(), first);
    }

    #[tokio::test]
    async fn work_that_panics_does_not_end_it() {
        let workshop = Workshop::open().unwrap();
        assert!(workshop.run(|| panic!("as the test wants it")).await.is_err());
        assert_eq!(workshop.run(|| 1).await.unwrap(), 1);
    }
}
