//! `weir:plugin/candidates`: the endpoints a balancer may pick.

use wasmtime::{
    Result, StoreContextMut,
    component::{ComponentType, LinkerInstance, Lower, WasmStr},
};

use crate::{CandidatesView, Figures, decision::Data};

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
enum State {
    #[component(name = "healthy")]
    Healthy,
    #[component(name = "degraded")]
    Degraded,
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
    to.func_wrap("all-figures", |store, ()| Ok((packed(of(&store)?),)))?;
    to.func_wrap("name", |store, (index,): (u32,)| Ok((of(&store)?.name(index),)))?;
    to.func_wrap("label", |store, (index, key): (u32, WasmStr)| Ok((of(&store)?.label(index, &key.to_str(&store)?),)))?;
    to.func_wrap("hash-key", |store, ()| Ok((of(&store)?.hash_key(),)))
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
