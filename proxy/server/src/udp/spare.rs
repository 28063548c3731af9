//! Who is ended first when sessions have to make room for another one: those that have been silent for longest.

use std::{net::SocketAddr, time::Instant};

use crate::worker::FIRST_WORD;

/// Of so many sessions that idle, one is to make room at a time.
pub const SPARED: usize = 8;

/// Sessions in the order in which they are to go. Senders can claim any address, so that to find one may not cost a
/// look at all others each time.
#[derive(Debug, Default)]
pub struct Spare {
    /// The longest silent one last, with when it spoke last.
    idle: Vec<(Instant, SocketAddr)>,
    /// Before this there is nobody who idles.
    none_before: Option<Instant>,
}

impl Spare {
    /// The session that has been silent for longest, of those that idle: `spoke` says when one that is there still did
    /// so last, and `all` gives what there is.
    pub fn next<I: Iterator<Item = (Instant, SocketAddr)>>(
        &mut self,
        now: Instant,
        spoke: impl Fn(SocketAddr) -> Option<Instant>,
        all: impl FnOnce() -> I,
    ) -> Option<SocketAddr> {
        // Who was not among the longest silent ones has not become so: one that spoke since only comes later.
        while let Some((last, client)) = self.idle.pop() {
            if spoke(client) == Some(last) {
                return Some(client);
            }
        }
        if self.none_before.is_some_and(|then| now < then) {
            return None;
        }
        let mut earliest = None;
        for (last, client) in all() {
            earliest = Some(earliest.map_or(last, |other: Instant| other.min(last)));
            if idles(last, now) {
                self.idle.push((last, client));
            }
        }
        self.none_before = self.idle.is_empty().then(|| earliest.unwrap_or(now) + FIRST_WORD);
        keep_longest_silent(&mut self.idle);
        self.idle.sort_unstable_by_key(|(last, _)| std::cmp::Reverse(*last));
        self.idle.pop().map(|(_, client)| client)
    }
}

/// Of sessions, those that have been silent for longest, some of them.
pub fn keep_longest_silent(sessions: &mut Vec<(Instant, SocketAddr)>) {
    let number = sessions.len().div_ceil(SPARED);
    if number > 0 && number < sessions.len() {
        sessions.select_nth_unstable_by_key(number, |(last, _)| *last);
    }
    sessions.truncate(number);
}

/// Whether one that spoke last at this time is silent for so long that it may make room.
pub fn idles(last: Instant, now: Instant) -> bool {
    now.saturating_duration_since(last) >= FIRST_WORD
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::HashMap, time::Duration};

    use super::*;

    fn client(number: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], number))
    }

    /// Asks until there is none, each that is told of being ended.
    fn told(spare: &mut Spare, sessions: &mut HashMap<SocketAddr, Instant>, now: Instant) -> Vec<u16> {
        let mut told = Vec::new();
        while let Some(one) = spare.next(
            now,
            |client| sessions.get(&client).copied(),
            || sessions.iter().map(|(client, last)| (*last, *client)),
        ) {
            sessions.remove(&one).unwrap();
            told.push(one.port());
        }
        told
    }

    #[test]
    fn the_longest_silent_ones_go_first_and_who_talks_stays() {
        let (mut spare, began) = (Spare::default(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        let mut sessions: HashMap<_, _> = (1..=50).map(|number| (client(number), at(u64::from(number)))).collect();
        let first = spare.next(
            at(2000),
            |client| sessions.get(&client).copied(),
            || sessions.iter().map(|(client, last)| (*last, *client)),
        );
        assert_eq!(first, Some(client(1)));
        sessions.remove(&client(1)).unwrap();
        // These were to be next.
        sessions.insert(client(2), at(1500));
        sessions.remove(&client(3)).unwrap();
        assert_eq!(told(&mut spare, &mut sessions, at(2000)), (4..=50).collect::<Vec<_>>());
        assert_eq!(sessions.len(), 1);
        assert_eq!(told(&mut spare, &mut sessions, at(2500)), [2]);
    }

    #[test]
    fn while_none_can_idle_none_is_looked_at() {
        let (mut spare, now, looks) = (Spare::default(), Instant::now(), Cell::new(0));
        let mut ask = |at: Instant| {
            let all = || {
                looks.set(looks.get() + 1);
                [(now, client(1))].into_iter()
            };
            spare.next(at, |_| Some(now), all)
        };
        for _ in 0..9 {
            assert_eq!(ask(now), None);
        }
        assert_eq!(looks.get(), 1);
        assert_eq!(ask(now + FIRST_WORD), Some(client(1)));
    }
}
