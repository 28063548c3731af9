//! How much is done at a time on the word of those at the admin address, so that what they leave unfinished
//! takes neither all places nor all memory.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::ApiError;

/// Commands under way at a time.
pub(super) const COMMANDS: usize = 128;
/// Components that arrive or are taken up at a time: each may take 64 MiB until it is.
pub(super) const COMPONENTS: usize = 2;
/// Longest wait for another component.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hands out turns.
#[derive(Debug)]
pub(super) struct Desk {
    commands: Arc<Semaphore>,
    components: Arc<Semaphore>,
}

/// Permission to do something, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Default for Desk {
    fn default() -> Self {
        Self { commands: Arc::new(Semaphore::new(COMMANDS)), components: Arc::new(Semaphore::new(COMPONENTS)) }
    }
}

impl Desk {
    /// For a command.
    ///
    /// # Errors
    /// Too many are under way.
    pub(super) fn command(&self) -> Result<Turn, ApiError> {
        let busy = |_| busy(format!("{COMMANDS} commands are under way: try again"));
        Arc::clone(&self.commands).try_acquire_owned().map(Turn::of).map_err(busy)
    }

    /// For a component, after those that came before. Nothing is read of it meanwhile.
    ///
    /// # Errors
    /// Those before take too long.
    pub(super) async fn component(&self) -> Result<Turn, ApiError> {
        let turn = timeout(PATIENCE, Arc::clone(&self.components).acquire_owned()).await;
        let busy = || busy(format!("{COMPONENTS} other components are still arriving or being taken up: try again"));
        turn.ok().and_then(Result::ok).map(Turn::of).ok_or_else(busy)
    }
}

impl Turn {
    fn of(permit: OwnedSemaphorePermit) -> Turn {
        Turn { _permit: permit }
    }
}

fn busy(why: String) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_further_component_waits_for_its_turn_but_not_for_ever() {
        let desk = Desk::default();
        let first = desk.component().await.unwrap();
        let _second = desk.component().await.unwrap();
        let refused = desk.component().await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        let end = async { drop(first) };
        let (third, ()) = tokio::join!(desk.component(), end);
        third.unwrap();
    }
}
