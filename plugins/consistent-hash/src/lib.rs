//! A balancer by consistent hashing with bounded loads: a key keeps meeting the same endpoint, a change
//! of the set moves few keys, and no endpoint takes much more than its share even when one key is hot.
//!
//! Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod load;
mod ring;
mod settings;

use serde::Deserialize;
use weir_sdk::{Balancer, Candidates, Request};

use load::Load;
use ring::Ring;
use settings::{Key, Settings};

/// Endpoints asked for room before the least loaded of them must do.
const ASKED: usize = 16;

/// One binding of the plugin.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Settings")]
pub struct ConsistentHash {
    key: Key,
    ring: Ring,
    load: Load,
}

impl TryFrom<Settings> for ConsistentHash {
    type Error = String;

    fn try_from(settings: Settings) -> Result<Self, String> {
        settings.check()?;
        Ok(Self { ring: Ring::new(settings.replicas), load: Load::new(settings.balance_factor), key: settings.key() })
    }
}

impl Balancer for ConsistentHash {
    fn pick(&mut self, request: &Request, candidates: &Candidates) -> Option<u32> {
        let epoch = candidates.epoch();
        if !self.ring.ready(epoch, candidates) {
            return None;
        }
        let key = candidates.key_hash(request, self.key.source());
        self.load.tick(epoch, candidates);
        self.pick_for(key, candidates)
    }
}

impl ConsistentHash {
    /// The first endpoint from the key's place on that has room. An idle endpoint has room whatever the
    /// others do, so a quiet cluster costs one look at one endpoint.
    fn pick_for(&mut self, key: u64, candidates: &Candidates) -> Option<u32> {
        let mut asked = [u32::MAX; ASKED];
        let mut best: Option<(u32, f64)> = None;
        let mut places = self.ring.from(key);
        for slot in 0..ASKED {
            let so_far = asked.get(..slot).unwrap_or_default();
            let Some(index) = places.find(|index| !so_far.contains(index)) else {
                break;
            };
            let fill = self.load.fill(index, candidates);
            if fill <= 1.0 {
                return Some(index);
            }
            if best.is_none_or(|(_, least)| fill < least) {
                best = Some((index, fill));
            }
            if let Some(asked) = asked.get_mut(slot) {
                *asked = index;
            }
        }
        best.map(|(index, _)| index)
    }
}

weir_sdk::export!(balancer: ConsistentHash);

#[cfg(test)]
mod tests;
