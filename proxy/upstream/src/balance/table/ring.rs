//! A ring as ketama places its points (libketama, Last.fm, 2007).
//!
//! Of N endpoints, one of weight w among a total of W has ⌊40·N·w/W⌋ hashes, at least one: the MD5 of
//! its name, `-` and the number of the hash from 0. The four little-endian 32-bit numbers of a hash are
//! points. A key goes to the first point that is not below its place, and from the last to the first.

use std::{iter::Chain, slice::Iter};

use super::super::key::{KeyHash, digest};

/// Hashes of an endpoint of mean weight.
const HASHES: u64 = 40;

/// Points in order, each a place (high half) with the index of its endpoint (low half).
#[derive(Debug)]
pub(super) struct Ring {
    points: Box<[u64]>,
    /// For each value of the leading bits of a place, the first point with that value or a higher one.
    /// There are about as many values as points, so that a place is found in a step or two.
    starts: Box<[u32]>,
    shift: u32,
}

/// Points from a key's place once around.
pub(super) struct Walk<'a>(Chain<Iter<'a, u64>, Iter<'a, u64>>);

impl Ring {
    pub(super) fn new<'a>(members: impl Iterator<Item = (&'a str, u32)> + Clone) -> Self {
        let count = members.clone().count() as u64;
        let total: u64 = members.clone().map(|(_, weight)| u64::from(weight)).sum();
        let mut points = Vec::new();
        for (index, (name, weight)) in (0_u64..).zip(members) {
            let hashes = HASHES * count * u64::from(weight) / total.max(1);
            for number in 0..hashes.max(1) {
                let hash = digest(format!("{name}-{number}").as_bytes());
                let places = hash.into_iter().flat_map(|half| [half << 32, half >> 32 << 32]);
                points.extend(places.map(|place| place | index));
            }
        }
        points.sort_unstable();
        let bits = points.len().next_power_of_two().trailing_zeros().clamp(1, 24);
        let shift = 32 - bits;
        Self { starts: starts(&points, bits), points: points.into(), shift }
    }

    pub(super) fn walk(&self, key: KeyHash) -> Walk<'_> {
        let (before, after) = self.points.split_at_checked(self.find(key.place())).unwrap_or_default();
        Walk(after.iter().chain(before))
    }

    /// The first point at a place or above.
    fn find(&self, place: u32) -> usize {
        let start = self.starts.get((place >> self.shift) as usize).copied().unwrap_or(0) as usize;
        let rest = self.points.get(start..).unwrap_or_default();
        let below = rest.iter().take_while(|point| {
            #[cfg(test)]
            super::tests::count_step();
            place_of(**point) < place
        });
        start + below.count()
    }
}

impl Iterator for Walk<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        self.0.next().map(|point| *point as u32 as usize)
    }
}

fn place_of(point: u64) -> u32 {
    (point >> 32) as u32
}

fn starts(points: &[u64], bits: u32) -> Box<[u32]> {
    let mut next = 0;
    let start = |value: u64| {
        while points.get(next).is_some_and(|point| point >> (64 - bits) < value) {
            next += 1;
        }
        next as u32
    };
    (0..1_u64 << bits).map(start).collect()
}
