//! A deadline that moves with every exchange and rarely touches the runtime's timer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::time::{Sleep, sleep_until};

/// One timer for a task's life. It is armed for the earliest deadline it was ever asked about and
/// moved on only when that passes, so that a deadline which is never met costs a comparison.
#[derive(Debug, Default)]
pub struct Timer {
    armed: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Ready once `deadline` has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.armed.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
        if sleep.deadline().into_std() > deadline {
            sleep.as_mut().reset(deadline.into());
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                self.armed = None;
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline.into());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

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
}
