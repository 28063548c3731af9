//! A deadline that moves with every exchange and rarely touches the runtime's timer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::{
    task::coop::has_budget_remaining,
    time::{Sleep, sleep_until},
};

/// One timer for a task's life. It is armed for the earliest deadline it was ever asked about and
/// moved on only when that passes, so that a deadline which is never met costs a comparison. The task's
/// waker is left with it once.
#[derive(Debug, Default)]
pub struct Timer {
    armed: Option<Pin<Box<Sleep>>>,
    left: bool,
}

impl Timer {
    /// Ready once `deadline` has passed. To be asked by the same task always.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.armed.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
        if sleep.deadline().into_std() > deadline {
            sleep.as_mut().reset(deadline.into());
            self.left = false;
        }
        if self.left && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                *self = Self::default();
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline.into());
        }
        // A task that has had its turn is put off without its waker being left.
        self.left = has_budget_remaining();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::ready, time::Duration};

    use tokio::task::coop::poll_proceed;

    use super::*;

    #[tokio::test]
    async fn keeps_a_later_and_an_earlier_deadline() {
        let mut timer = Timer::default();
        let start = Instant::now();
        let (early, late) = (start + Duration::from_millis(5), start + Duration::from_millis(20));
        let far = start + Duration::from_secs(60);
        let first = poll_fn(|cx| Poll::Ready(timer.poll(cx, far))).await;
        assert!(first.is_pending());
        poll_fn(|cx| timer.poll(cx, early)).await;
        assert!(Instant::now() >= early);
        poll_fn(|cx| timer.poll(cx, late)).await;
        assert!(Instant::now() >= late && Instant::now() < far);
    }

    #[tokio::test]
    async fn wakes_a_task_that_had_had_its_turn_when_it_asked() {
        let (mut timer, mut asked) = (Timer::default(), false);
        let soon = Instant::now() + Duration::from_millis(5);
        poll_fn(|cx| {
            while !asked && has_budget_remaining() {
                ready!(poll_proceed(cx)).made_progress();
            }
            asked = true;
            timer.poll(cx, soon)
        })
        .await;
        assert!(Instant::now() >= soon);
    }
}
