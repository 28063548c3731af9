//! Metrics of all plugins in Prometheus text format: one family after the other.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use crate::{custom::Metric, ledger::Ledger, tally::Totals};

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
    let help = "Bytes of a plugin's own answers that clients have not taken yet.";
    family(out, "weir_plugin_answer_bytes", "gauge", help);
    ledgers.iter().for_each(|ledger| ledger.write_bodies(out));
    let help = "Answers of a plugin for which there was no room.";
    family(out, "weir_plugin_answers_refused_total", "counter", help);
    ledgers.iter().for_each(|ledger| ledger.write_refused(out));
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

/// A family has one kind: that of the first plugin that uses the name. Figures of other kinds under that
/// name are left out and counted.
fn write_custom(ledgers: &[Arc<Ledger>], out: &mut String) {
    let plugins: Vec<_> = ledgers.iter().map(|ledger| (&ledger.label, ledger.custom.metrics())).collect();
    let mut kinds = BTreeMap::new();
    for (name, metric) in plugins.iter().flat_map(|(_, metrics)| metrics.iter()) {
        kinds.entry(name.as_str()).or_insert(metric.kind());
    }
    let is_shown = |name: &str, metric: &Metric| kinds.get(name) == Some(&metric.kind());
    let help = "Names that a plugin uses and another plugin has with another type.";
    family(out, "weir_plugin_custom_hidden", "gauge", help);
    for (plugin, metrics) in &plugins {
        let hidden = metrics.iter().filter(|(name, metric)| !is_shown(name, metric)).count();
        _ = writeln!(out, "weir_plugin_custom_hidden{{plugin=\"{plugin}\"}} {hidden}");
    }
    for (name, kind) in &kinds {
        _ = writeln!(out, "# TYPE weir_plugin_custom_{name} {}", kind.name());
        for (plugin, metrics) in &plugins {
            if let Some(metric) = metrics.get(*name).filter(|metric| is_shown(name, metric)) {
                metric.write(name, plugin, out);
            }
        }
    }
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_type_over_all_plugins() {
        let [one, other] = ["a", "b"].map(|name| Arc::new(Ledger::new(name.into())));
        one.custom.observe("x", 2.0);
        other.custom.count("x", 1);
        other.custom.count("y", 1);
        let mut page = String::new();
        write_custom(&[one, other], &mut page);
        assert_eq!(page.matches("# TYPE weir_plugin_custom_x ").count(), 1, "{page}");
        for line in [
            "weir_plugin_custom_hidden{plugin=\"a\"} 0\n",
            "weir_plugin_custom_hidden{plugin=\"b\"} 1\n",
            "weir_plugin_custom_x_sum{plugin=\"a\"} 2\n",
            "weir_plugin_custom_y{plugin=\"b\"} 1\n",
        ] {
            assert!(page.contains(line), "{line} is not in {page}");
        }
        assert!(!page.contains("weir_plugin_custom_x{"), "{page}");
    }
}
