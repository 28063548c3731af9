//! The engine every guest runs on, and its limits.

use tokio::sync::Semaphore;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmFeatures};

use crate::{
    bodies::{ROOM, Room},
    clock::Clock,
};

/// Most linear memory that can be configured for an instance.
pub(crate) const MEMORY_CEILING: u64 = 1 << 30;
/// Stack a guest may use on the thread of a worker.
const GUEST_STACK: usize = 512 << 10;
/// Health checks under way at a time, over all plugins; each has a stack of its own.
const CHECKS: u32 = 128;
/// Instances alive at a time, over all plugins, versions and workers, for which there is room at least.
pub(crate) const FEWEST_INSTANCES: u32 = 1_000;
/// For which there is room at most: each takes 4 GiB of the 128 TiB of addresses that a process has.
pub(crate) const MOST_INSTANCES: u32 = 12_000;

/// The language that guests may be written in: everything else is refused before it is compiled.
///
/// The list says what is on, so that a proposal which a later wasmtime turns on stays off here until
/// it is added with its reason. Typed function references and GC stay out: without wasmtime's `gc` a table
/// entry of a subtype ends the process (RUSTSEC-2026-0570). So do exceptions, tail calls, threads, SIMD,
/// 64-bit memories and what is younger: no guest of the supported languages needs them.
const LANGUAGE: WasmFeatures = WasmFeatures::empty()
    // Floats, and the parts of WebAssembly 1.0 that came as proposals: every compiler writes them.
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::MUTABLE_GLOBAL)
    // Part of the `generic` CPU of LLVM, for which Rust, C and CPython are compiled, and of Go's.
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::MULTI_VALUE)
    // `memory.copy` and `memory.fill` of every compiler; passive segments of linked libraries.
    .union(WasmFeatures::BULK_MEMORY)
    // Tables of functions by number, as LLVM encodes `call_indirect`. `externref` needs GC and is refused.
    .union(WasmFeatures::REFERENCE_TYPES)
    // Sums as the beginning of globals, by which CPython and its modules are linked.
    .union(WasmFeatures::EXTENDED_CONST)
    // wasmtime's own code between two components in one copies from memory to memory, and it takes
    // its validity for granted.
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::COMPONENT_MODEL);

/// The engine with what belongs to it for the life of the process.
pub(crate) struct Machine {
    pub engine: Engine,
    /// Instances that can be alive at a time; none is as many as there is memory for.
    pub instances: Option<u32>,
    /// One permit a health check.
    pub checks: Semaphore,
    /// Bodies of plugins' own answers that clients have not taken yet.
    pub bodies: Room,
    /// Started by the first plugin.
    pub clock: Clock,
}

impl Machine {
    pub(crate) fn try_new(instances: u32) -> wasmtime::Result<Self> {
        let instances = instances.clamp(FEWEST_INSTANCES, MOST_INSTANCES);
        let (engine, pooled) = start(instances)?;
        let clock = Clock::new(engine.clone());
        let instances = pooled.then_some(instances);
        Ok(Self { engine, instances, checks: Semaphore::new(CHECKS as usize), bodies: Room::new(ROOM), clock })
    }
}

/// Instances come from a pool of reserved address space, which is said. Where there is a limit on that, each is
/// allocated when it is started, which takes longer.
fn start(instances: u32) -> wasmtime::Result<(Engine, bool)> {
    let mut pooled = config();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances)));
    match Engine::new(&pooled) {
        Ok(engine) => Ok((engine, true)),
        Err(error) => {
            tracing::warn!(error = %format!("{error:#}"), "no address space for a pool of plugin instances");
            Ok((for_compiling(true)?, false))
        }
    }
}

/// An engine that reserves nothing. Its code is that of an engine with a pool, or of one that allocates on demand.
pub(crate) fn for_compiling(on_demand: bool) -> wasmtime::Result<Engine> {
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    if on_demand {
        config.memory_reservation(64 << 20);
    }
    Engine::new(&config)
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(LANGUAGE, true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .wasm_backtrace_max_frames(None)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(GUEST_STACK + (512 << 10));
    config
}

/// Slots are address space: nothing of them is resident before it is used.
fn pool(instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * 4)
        .total_memories(instances)
        .total_tables(instances * 2)
        .total_stacks(CHECKS + 8)
        .max_memory_size(usize::try_from(MEMORY_CEILING).unwrap_or(usize::MAX))
        .max_memories_per_component(8)
        .max_tables_per_component(16)
        .max_core_instances_per_component(64);
    pool
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::*;

    fn compatibility(engine: &Engine) -> u64 {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn an_engine_without_a_pool_compiles_for_one_that_has_it() {
        let machine = Machine::try_new(0).unwrap();
        let on_demand = machine.instances.is_none();
        assert_eq!(compatibility(&for_compiling(on_demand).unwrap()), compatibility(&machine.engine));
        assert_ne!(compatibility(&for_compiling(!on_demand).unwrap()), compatibility(&machine.engine));
    }
}
