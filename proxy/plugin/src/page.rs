//! Metrics of all plugins in Prometheus text format: one family after the other.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use crate::{ledger::Ledger, tally::Totals};

pub(crate) fn write(ledgers: &[Arc<Ledger>], out: &mut String) {
    let totals: Vec<_> = ledgers.iter().map(|ledger| (ledger.label.as_str(), ledger.totals())).collect();
    let each = |out: &mut String, write: fn(&Totals, &str, &mut String)| {
        totals.iter().for_each(|(plugin, totals)| write(totals, plugin, out));
    };
    family(out, "weir_plugin_calls_total", "counter", "Decisions asked of a plugin.");
    each(out, Totals::write_calls);
    family(out, "weir_plugin_failures_total", "counter", "Decisions a plugin failed at.");
    each(out, Totals::write_failures);
    family(out, "weir_plugin_skipped_total", "counter", "Decisions that a plugin was not asked for.");
    each(out, Totals::write_skipped);
    family(out, "weir_plugin_breakers_open", "gauge", "Bindings whose circuit breaker is open, over all workers.");
    ledgers.iter().for_each(|ledger| ledger.write_breakers(out));
    family(out, "weir_plugin_seconds", "histogram", "Time of a plugin's decisions.");
    each(out, Totals::write_seconds);
    family(out, "weir_plugin_instances", "gauge", "Instances of a plugin, over all workers.");
    ledgers.iter().for_each(|ledger| ledger.write_instances(out));
    write_dropped(ledgers, out);
    write_custom(ledgers, out);
}

fn write_dropped(ledgers: &[Arc<Ledger>], out: &mut String) {
    let name = "weir_plugin_custom_dropped_total";
    family(out, name, "counter", "Figures of a plugin that were not kept.");
    for ledger in ledgers {
        let (plugin, dropped) = (&ledger.label, ledger.custom.dropped());
        _ = writeln!(out, "{name}{{plugin=\"{plugin}\"}} {dropped}");
    }
}

/// A family has one kind: that of the first plugin that uses the name.
fn write_custom(ledgers: &[Arc<Ledger>], out: &mut String) {
    let plugins: Vec<_> = ledgers.iter().map(|ledger| (&ledger.label, ledger.custom.metrics())).collect();
    let names: BTreeSet<_> = plugins.iter().flat_map(|(_, metrics)| metrics.keys()).collect();
    for name in names {
        let mut kind = None;
        for (plugin, metrics) in &plugins {
            let Some(metric) = metrics.get(name) else { continue };
            if kind.is_none() {
                _ = writeln!(out, "# TYPE weir_plugin_custom_{name} {}", metric.kind().name());
            }
            if *kind.get_or_insert(metric.kind()) == metric.kind() {
                metric.write(name, plugin, out);
            }
        }
    }
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
