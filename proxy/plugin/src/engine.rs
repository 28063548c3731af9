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
/// Instances alive at a time, over all plugins, versions and workers.
const INSTANCES: u32 = 1_000;

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
    /// One permit a health check.
    pub checks: Semaphore,
    /// Bodies of plugins' own answers that clients have not taken yet.
    pub bodies: Room,
    /// Started by the first plugin.
    pub clock: Clock,
}

impl Machine {
    pub(crate) fn try_new() -> wasmtime::Result<Self> {
        let engine = start()?;
        let clock = Clock::new(engine.clone());
        Ok(Self { engine, checks: Semaphore::new(CHECKS as usize), bodies: Room::new(ROOM), clock })
    }
}

/// Instances come from a pool of reserved address space. Where there is a limit on that, each is
/// allocated when it is started, which takes longer.
fn start() -> wasmtime::Result<Engine> {
    let mut config = config();
    let mut pooled = config.clone();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    Engine::new(&pooled).or_else(|error| {
        tracing::warn!(error = %format!("{error:#}"), "no address space for a pool of plugin instances");
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand).memory_reservation(64 << 20);
        Engine::new(&config)
    })
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
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(INSTANCES * 4)
        .total_memories(INSTANCES)
        .total_tables(INSTANCES * 2)
        .total_stacks(CHECKS + 8)
        .max_memory_size(usize::try_from(MEMORY_CEILING).unwrap_or(usize::MAX))
        .max_memories_per_component(8)
        .max_tables_per_component(16)
        .max_core_instances_per_component(64);
    pool
}
