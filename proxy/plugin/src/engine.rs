//! The engine every guest runs on, and its limits.

use tokio::sync::Semaphore;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::clock::Clock;

/// Most linear memory that can be configured for an instance.
pub(crate) const MEMORY_CEILING: u64 = 1 << 30;
/// Stack a guest may use on the thread of a worker.
const GUEST_STACK: usize = 512 << 10;
/// Health checks under way at a time, over all plugins; each has a stack of its own.
const CHECKS: u32 = 128;
/// Instances alive at a time, over all plugins, versions and workers.
const INSTANCES: u32 = 1_000;

/// The engine with what belongs to it for the life of the process.
pub(crate) struct Machine {
    pub engine: Engine,
    /// One permit a health check.
    pub checks: Semaphore,
    /// Started by the first plugin.
    pub clock: Clock,
}

impl Machine {
    pub(crate) fn try_new() -> wasmtime::Result<Self> {
        let engine = start()?;
        let clock = Clock::new(engine.clone());
        Ok(Self { engine, checks: Semaphore::new(CHECKS as usize), clock })
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
