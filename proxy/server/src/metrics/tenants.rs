//! Exchanges of tenants.

use std::sync::{Arc, atomic::AtomicU64};

use super::{
    Source,
    series::{Statuses, blocks, bump, sum},
    text::Text,
};

/// Exchanges of one tenant. To be recorded by the worker of the number that is given only.
#[derive(Debug)]
pub struct TenantMetrics {
    name: Arc<str>,
    blocks: Box<[TenantBlock]>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct TenantBlock {
    statuses: Statuses,
    refused: AtomicU64,
}

impl TenantMetrics {
    pub(super) fn new(name: &str, workers: usize) -> TenantMetrics {
        TenantMetrics { name: name.into(), blocks: blocks(workers) }
    }

    /// Records one finished exchange by the status the client got, 499 when it left before.
    pub fn record(&self, worker: usize, status: u16) {
        if let Some(block) = self.blocks.get(worker) {
            bump(block.statuses.of(status), 1);
        }
    }

    /// The tenant was at a limit.
    pub fn refuse(&self, worker: usize) {
        if let Some(block) = self.blocks.get(worker) {
            bump(&block.refused, 1);
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn statuses(&self) -> [(&'static str, u64); 6] {
        Statuses::totals(&self.blocks, |block| &block.statuses)
    }

    fn refused(&self) -> u64 {
        sum(&self.blocks, |block| &block.refused)
    }
}

pub(super) fn render(text: &mut Text<'_>, tenants: &[Arc<TenantMetrics>], source: &dyn Source) {
    text.family("weir_tenant_requests_total", "counter", "Exchanges of a tenant by the class of the status it got.");
    for tenant in tenants {
        for (class, count) in tenant.statuses() {
            let labels = [("tenant", tenant.name()), ("status_class", class)];
            text.sample("weir_tenant_requests_total", &labels, count);
        }
    }
    text.family("weir_tenant_refused_total", "counter", "Requests refused because their tenant was at a limit.");
    for tenant in tenants {
        text.sample("weir_tenant_refused_total", &[("tenant", tenant.name())], tenant.refused());
    }
    text.family("weir_tenant_in_flight", "gauge", "Requests of a tenant in flight.");
    source.tenants(&mut |tenant, in_flight| text.sample("weir_tenant_in_flight", &[("tenant", tenant)], in_flight));
}
