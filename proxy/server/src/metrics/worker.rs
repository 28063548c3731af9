//! Figures of one worker that belong to no route, and its memory of handles.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use super::{Metrics, RouteMetrics, TenantMetrics};

#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct WorkerBlock {
    exchanges: AtomicI64,
    tunnels: AtomicI64,
}

impl WorkerBlock {
    pub(super) fn exchanges(&self) -> i64 {
        self.exchanges.load(Relaxed)
    }

    pub(super) fn tunnels(&self) -> i64 {
        self.tunnels.load(Relaxed)
    }

    fn exchanges_gauge(&self) -> &AtomicI64 {
        &self.exchanges
    }

    fn tunnels_gauge(&self) -> &AtomicI64 {
        &self.tunnels
    }
}

/// One worker's own. Lives on that worker's thread.
#[derive(Debug)]
pub struct WorkerMetrics {
    metrics: Arc<Metrics>,
    index: usize,
    block: Arc<WorkerBlock>,
    hasher: RandomState,
    routes: RefCell<HashMap<u64, Arc<RouteMetrics>>>,
    tenants: RefCell<HashMap<Arc<str>, Arc<TenantMetrics>>>,
}

impl WorkerMetrics {
    pub(super) fn new(metrics: Arc<Metrics>, index: usize, block: Arc<WorkerBlock>) -> WorkerMetrics {
        WorkerMetrics {
            metrics,
            index,
            block,
            hasher: RandomState::new(),
            routes: RefCell::default(),
            tenants: RefCell::default(),
        }
    }

    /// The worker's number, as the handles want it.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Counts an exchange as in flight until the guard goes.
    pub fn exchange(&self) -> WorkerGuard {
        WorkerGuard::new(&self.block, WorkerBlock::exchanges_gauge)
    }

    /// Counts a tunnel as open until the guard goes.
    pub fn tunnel(&self) -> WorkerGuard {
        WorkerGuard::new(&self.block, WorkerBlock::tunnels_gauge)
    }

    /// [`Metrics::route`] without its lock from the second time on: for the cluster a plugin chose.
    pub fn route(&self, listener: &str, route: &str, cluster: Option<&str>) -> Arc<RouteMetrics> {
        let cluster_name = cluster.unwrap_or_default();
        let key = self.hasher.hash_one((listener, route, cluster_name));
        let mut routes = self.routes.borrow_mut();
        if let Some(known) = routes.get(&key).filter(|known| known.is(listener, route, cluster_name)) {
            return Arc::clone(known);
        }
        let made = self.metrics.route(listener, route, cluster);
        routes.insert(key, Arc::clone(&made));
        made
    }

    /// The handle of a tenant, without a lock from the second time on.
    pub fn tenant(&self, name: &Arc<str>) -> Arc<TenantMetrics> {
        let mut tenants = self.tenants.borrow_mut();
        if let Some(known) = tenants.get(name) {
            return Arc::clone(known);
        }
        let made = self.metrics.tenant(name);
        tenants.insert(Arc::clone(name), Arc::clone(&made));
        made
    }

    /// Forgets the handles that are kept here. Call it when the snapshot changes.
    pub fn prune(&self) {
        self.routes.borrow_mut().clear();
        self.tenants.borrow_mut().clear();
    }
}

/// Something counted in a gauge of a worker.
#[derive(Debug)]
pub struct WorkerGuard {
    block: Arc<WorkerBlock>,
    gauge: fn(&WorkerBlock) -> &AtomicI64,
}

impl WorkerGuard {
    fn new(block: &Arc<WorkerBlock>, gauge: fn(&WorkerBlock) -> &AtomicI64) -> WorkerGuard {
        gauge(block).fetch_add(1, Relaxed);
        WorkerGuard { block: Arc::clone(block), gauge }
    }
}

impl Drop for WorkerGuard {
    fn drop(&mut self) {
        (self.gauge)(&self.block).fetch_sub(1, Relaxed);
    }
}
