//! In the sandbox: the candidates under way, asked of the host. Documented where they are constructed.
#![allow(missing_docs)]

use super::{Condition, Figures, KeySource};
use crate::{Request, wit::host::candidates};

#[derive(Debug)]
pub struct Candidates(());

impl Candidates {
    pub(crate) const UNDER_WAY: Self = Self(());

    #[allow(clippy::len_without_is_empty, reason = "there is always at least one")]
    pub fn len(&self) -> u32 {
        candidates::len()
    }

    pub fn epoch(&self) -> u64 {
        candidates::epoch()
    }

    pub fn figures(&self, index: u32) -> Option<Figures> {
        candidates::figures_of(index).map(|figures| Figures {
            in_flight: figures.in_flight,
            latency: figures.latency,
            weight: figures.weight,
            condition: match figures.state {
                candidates::State::Healthy => Condition::Healthy,
                candidates::State::Degraded => Condition::Degraded,
            },
        })
    }

    pub fn in_flight(&self, index: u32) -> u32 {
        candidates::in_flight(index)
    }

    pub fn in_flight_of_all(&self) -> u32 {
        candidates::in_flight_of_all()
    }

    pub fn all_figures(&self) -> impl Iterator<Item = Figures> {
        let mut numbers = candidates::all_figures().into_iter();
        std::iter::from_fn(move || {
            Some(Figures {
                in_flight: numbers.next()?,
                latency: numbers.next()?,
                weight: numbers.next()?,
                condition: match numbers.next()? {
                    0 => Condition::Healthy,
                    _ => Condition::Degraded,
                },
            })
        })
    }

    pub fn name(&self, index: u32) -> Option<String> {
        candidates::name(index)
    }

    pub fn label(&self, index: u32, key: &str) -> Option<String> {
        candidates::label(index, key)
    }

    pub fn hash_key(&self) -> Option<String> {
        candidates::hash_key()
    }

    pub fn key_hash(&self, _: &Request, source: KeySource<'_>) -> u64 {
        match source {
            KeySource::ClientAddress => candidates::key_hash(candidates::KeySource::ClientAddress, ""),
            KeySource::Header(name) => candidates::key_hash(candidates::KeySource::Header, name),
            KeySource::Cookie(name) => candidates::key_hash(candidates::KeySource::Cookie, name),
        }
    }
}
