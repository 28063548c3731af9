//! Clients whose datagrams were led nowhere a moment ago: to ask again for each of them would cost more than it is worth.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Between two tries to lead a client somewhere.
const AGAIN: Duration = Duration::from_secs(1);
/// How many are remembered. Senders can claim any address, and are to cost no more memory than this.
const MOST: usize = 1024;

/// Who was refused, when, and by which snapshot.
#[derive(Debug, Default)]
pub struct Refusals(HashMap<SocketAddr, (Instant, u64)>);

impl Refusals {
    /// Whether this snapshot has refused the client a moment ago.
    pub fn has(&self, client: SocketAddr, snapshot: u64, now: Instant) -> bool {
        let recent = |(at, by): &(Instant, u64)| *by == snapshot && is_recent(*at, now);
        !self.0.is_empty() && self.0.get(&client).is_some_and(recent)
    }

    /// Remember a client, unless there are too many.
    pub fn note(&mut self, client: SocketAddr, snapshot: u64, now: Instant) -> bool {
        let room = self.0.len() < MOST || self.0.contains_key(&client);
        if room {
            self.0.insert(client, (now, snapshot));
        }
        room
    }

    /// Forget those that may try again.
    pub fn sweep(&mut self, now: Instant) {
        self.0.retain(|_, (at, _)| is_recent(*at, now));
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < AGAIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], u16::try_from(number).unwrap()))
    }

    #[test]
    fn a_refusal_holds_for_a_second_of_the_snapshot_that_refused() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        assert!(!refusals.has(client(1), 1, now));
        assert!(refusals.note(client(1), 1, now));
        let soon = now + AGAIN - Duration::from_millis(1);
        assert!(refusals.has(client(1), 1, soon) && !refusals.has(client(2), 1, soon));
        assert!(!refusals.has(client(1), 2, soon), "another snapshot may say otherwise");
        assert!(!refusals.has(client(1), 1, now + AGAIN));
    }

    #[test]
    fn many_who_are_refused_cost_no_more_than_some() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        assert!((0..MOST).all(|number| refusals.note(client(number), 1, now)));
        assert!(!refusals.note(client(MOST), 1, now) && !refusals.has(client(MOST), 1, now));
        assert!(refusals.note(client(0), 1, now + AGAIN / 2), "one that is known");
        refusals.sweep(now + AGAIN);
        assert!(refusals.has(client(0), 1, now + AGAIN) && refusals.0.len() == 1);
        assert!(refusals.note(client(MOST), 1, now + AGAIN));
    }
}
