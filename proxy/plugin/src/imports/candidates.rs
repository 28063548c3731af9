//! `weir:plugin/candidates`: the endpoints a balancer may pick.

use wasmtime::{
    Result, StoreContextMut,
    component::{ComponentType, Lift, LinkerInstance, Lower, WasmStr},
};

use super::request;
use crate::{CandidatesView, Figures, RequestView, decision::Data};

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
enum State {
    #[component(name = "healthy")]
    Healthy,
    #[component(name = "degraded")]
    Degraded,
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting alone")]
enum KeySource {
    #[component(name = "client-address")]
    ClientAddress,
    #[component(name = "header")]
    Header,
    #[component(name = "cookie")]
    Cookie,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Record {
    #[component(name = "in-flight")]
    in_flight: u32,
    latency: u32,
    weight: u32,
    state: State,
}

impl From<Figures> for Record {
    fn from(figures: Figures) -> Self {
        Self {
            in_flight: figures.in_flight,
            latency: figures.latency,
            weight: figures.weight,
            state: if figures.degraded { State::Degraded } else { State::Healthy },
        }
    }
}

pub(super) fn add<T: Data>(to: &mut LinkerInstance<'_, T>) -> Result<()> {
    to.func_wrap("len", |store, ()| Ok((of(&store)?.len(),)))?;
    to.func_wrap("epoch", |store, ()| Ok((of(&store)?.epoch(),)))?;
    to.func_wrap("figures-of", |store, (index,): (u32,)| Ok((of(&store)?.figures(index).map(Record::from),)))?;
    to.func_wrap("in-flight", |store, (index,): (u32,)| Ok((in_flight(of(&store)?, index),)))?;
    to.func_wrap("in-flight-of-all", |store, ()| Ok((in_flight_of_all(of(&store)?),)))?;
    to.func_wrap("key-hash", |store, (source, name): (KeySource, WasmStr)| {
        let (candidates, request) = (of(&store)?, request::of(&store)?);
        Ok((key_hash(candidates, request, source, &name.to_str(&store)?),))
    })?;
    to.func_wrap("all-figures", |store, ()| Ok((packed(of(&store)?),)))?;
    to.func_wrap("name", |store, (index,): (u32,)| Ok((of(&store)?.name(index),)))?;
    to.func_wrap("label", |store, (index, key): (u32, WasmStr)| Ok((of(&store)?.label(index, &key.to_str(&store)?),)))?;
    to.func_wrap("hash-key", |store, ()| Ok((of(&store)?.hash_key(),)))
}

fn in_flight(candidates: &dyn CandidatesView, index: u32) -> u32 {
    candidates.figures(index).map_or(0, |figures| figures.in_flight)
}

fn in_flight_of_all(candidates: &dyn CandidatesView) -> u32 {
    (0..candidates.len()).fold(0, |sum, index| in_flight(candidates, index).saturating_add(sum))
}

fn key_hash(candidates: &dyn CandidatesView, request: &dyn RequestView, source: KeySource, name: &str) -> u64 {
    if let Some(key) = candidates.hash_key() {
        return hash(key.as_bytes());
    }
    let value = match source {
        KeySource::ClientAddress => None,
        KeySource::Header => request.header(name),
        KeySource::Cookie => request.cookie(name),
    };
    value.map_or_else(|| hash(request.client().to_string().as_bytes()), |value| hash(value.as_bytes()))
}

fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

fn packed(candidates: &dyn CandidatesView) -> Vec<u32> {
    let mut packed = Vec::with_capacity(candidates.len() as usize * 4);
    for figures in (0..candidates.len()).map_while(|index| candidates.figures(index)) {
        packed.extend([figures.in_flight, figures.latency, figures.weight, u32::from(figures.degraded)]);
    }
    packed
}

fn of<T: Data>(store: &StoreContextMut<'_, T>) -> Result<&'static dyn CandidatesView> {
    let candidates = store.data().candidates();
    candidates.ok_or_else(|| wasmtime::Error::msg("no pick is under way"))
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn the_hash_is_that_of_the_contract() {
        assert_eq!(hash(b""), 0xefd0_1f60_ba99_2926);
        assert_ne!(hash(b"ada"), hash(b"adb"));
    }
}
