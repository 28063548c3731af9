//! Tables of sessions.

use super::{Source, text::Text};

/// A table of sessions at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct SessionsSample<'a> {
    /// Name of its cluster; empty where it is a tenant's.
    pub cluster: &'a str,
    /// Name of its tenant; empty where it is a cluster's.
    pub tenant: &'a str,
    /// How many it holds.
    pub sessions: usize,
    /// How many it has given up alive because it was full.
    pub evicted: u64,
}

pub(super) fn render(text: &mut Text<'_>, source: &dyn Source) {
    let mut gone = String::new();
    let mut evicted = Text::new(&mut gone);
    let help = "Sessions given up before their end because their table was full.";
    evicted.family("weir_affinity_evicted_total", "counter", help);
    text.family("weir_affinity_sessions", "gauge", "Sessions remembered.");
    source.sessions(&mut |sample| {
        let labels = [("cluster", sample.cluster), ("tenant", sample.tenant)];
        text.sample("weir_affinity_sessions", &labels, sample.sessions);
        evicted.sample("weir_affinity_evicted_total", &labels, sample.evicted);
    });
    text.append(&gone);
}
