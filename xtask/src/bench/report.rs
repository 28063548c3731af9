//! The figures as a table, as JSON and as docs/benchmarks.md.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    memory::Footprint,
    scenario::{Measured, PAIR, SCENARIOS},
};
use crate::{
    paths,
    peers::Kind,
    tables::{dash, shown, table, titles},
};

const PAGE: &str = include_str!("page.md");

/// Everything one run found out.
pub struct Report {
    /// Name and value.
    pub machine: Vec<(&'static str, String)>,
    /// By scenario, then by proxy.
    pub measured: Vec<Measured>,
    /// By proxy; empty when memory was not measured.
    pub footprints: Vec<Footprint>,
}

impl Report {
    /// Print it, write target/bench.json, and docs/benchmarks.md when asked.
    pub fn publish(&self, page: bool) -> Result<()> {
        println!("\n{}\n\n{}", self.times(), self.memory());
        if let Some(added) = self.plugin_cost() {
            println!("\nthe plugin's pick adds {added:.2} us to a request");
        }
        let file = paths::target().join("bench.json");
        fs::write(&file, serde_json::to_string_pretty(&self.json())?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        if page {
            fs::write(paths::root().join("docs/benchmarks.md"), self.page())?;
        }
        Ok(())
    }

    fn of(&self, scenario: &str, proxy: Kind) -> Option<&Measured> {
        self.measured.iter().find(|one| one.scenario == scenario && one.proxy == proxy)
    }

    /// Weir's figure over that of its better peer: the larger of the ratios.
    fn ratio(&self, scenario: &str) -> Option<f64> {
        let ours = self.of(scenario, Kind::Weir)?;
        let peers = [Kind::Nginx, Kind::Haproxy].into_iter().filter_map(|kind| self.of(scenario, kind));
        peers.map(|peer| ours.ratio_to(peer)).max_by(f64::total_cmp)
    }

    /// What a pick by the plugin costs over a native one.
    fn plugin_cost(&self) -> Option<f64> {
        let [native, plugin] = PAIR.map(|name| self.of(name, Kind::Weir));
        Some(plugin?.more_than(native?))
    }

    fn times(&self) -> String {
        let mut rows =
            vec![titles(&["scenario", "weir", "nginx", "haproxy", "ratio", "p50 / p99 weir", "nginx", "haproxy"])];
        let measured = |name: &str| self.measured.iter().any(|one| one.scenario == name);
        for scenario in SCENARIOS.iter().filter(|scenario| measured(scenario.name)) {
            rows.push(self.row(scenario.name));
        }
        table(&rows)
    }

    fn row(&self, scenario: &str) -> Vec<String> {
        let mut row = vec![scenario.to_owned()];
        row.extend(Kind::ALL.map(|kind| shown(self.of(scenario, kind).map(Measured::median), 2)));
        row.push(shown(self.ratio(scenario), 2));
        row.extend(Kind::ALL.map(|kind| {
            let latency = self.of(scenario, kind).map(|one| one.latency);
            latency.map_or_else(dash, |latency| format!("{:.0} / {:.0}", latency.half, latency.most))
        }));
        row
    }

    fn memory(&self) -> String {
        if self.footprints.is_empty() {
            return "memory was not measured".to_owned();
        }
        let mut rows = vec![titles(&["memory", "weir", "nginx", "haproxy"])];
        let mut row = |name: &str, figure: &dyn Fn(&Footprint) -> f64| {
            let mut row = vec![name.to_owned()];
            row.extend(
                Kind::ALL.map(|kind| shown(self.footprints.iter().find(|one| one.proxy == kind).map(figure), 1)),
            );
            rows.push(row);
        };
        row("idle process, resident, MB", &|one| one.idle.resident as f64 / 1e6);
        row("idle process, proportional, MB", &|one| one.idle.proportional as f64 / 1e6);
        row("plain idle connection, resident, KB", &|one| one.plain.resident / 1e3);
        row("plain idle connection, proportional, KB", &|one| one.plain.proportional / 1e3);
        row("TLS idle connection, resident, KB", &|one| one.tls.resident / 1e3);
        row("TLS idle connection, proportional, KB", &|one| one.tls.proportional / 1e3);
        table(&rows)
    }

    fn page(&self) -> String {
        let facts: Vec<String> = self.machine.iter().map(|(name, value)| format!("* {name}: {value}")).collect();
        let list: String =
            SCENARIOS.iter().map(|scenario| format!("* `{}`: {}.\n", scenario.name, scenario.what)).collect();
        PAGE.replace("{machine}", &facts.join("\n"))
            .replace("{scenarios}", list.trim_end())
            .replace("{times}", &self.times())
            .replace("{plugin}", &self.plugin_sentence())
            .replace("{memory}", &self.memory())
    }

    fn plugin_sentence(&self) -> String {
        match self.plugin_cost() {
            Some(cost) => {
                format!(
                    "The plugin's pick adds {cost:.2} µs to a request (`tiny-plugin` less `tiny-native`, the median of neighbouring rounds)."
                )
            }
            None => "Weir itself was not part of this run.".to_owned(),
        }
    }

    fn json(&self) -> Value {
        let scenarios: Vec<Value> = self
            .measured
            .iter()
            .map(|one| {
                json!({
                    "scenario": one.scenario, "proxy": one.proxy.name(),
                    "cpu_us": one.median(), "rounds_us": one.rounds, "requests_per_second": one.rate,
                    "p50_us": one.latency.half, "p99_us": one.latency.most,
                    "ratio_to_better_peer": (one.proxy == Kind::Weir).then(|| self.ratio(one.scenario)).flatten(),
                })
            })
            .collect();
        let memory: Vec<Value> = self.footprints.iter().map(footprint_json).collect();
        let machine: serde_json::Map<String, Value> =
            self.machine.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({ "machine": machine, "scenarios": scenarios, "memory": memory, "plugin_pick_us": self.plugin_cost() })
    }
}

fn footprint_json(one: &Footprint) -> Value {
    let growth = |growth: super::memory::Growth| json!({ "resident_bytes": growth.resident, "proportional_bytes": growth.proportional });
    json!({
        "proxy": one.proxy.name(),
        "idle": { "resident_bytes": one.idle.resident, "proportional_bytes": one.idle.proportional },
        "plain_connection": growth(one.plain),
        "tls_connection": growth(one.tls),
    })
}
