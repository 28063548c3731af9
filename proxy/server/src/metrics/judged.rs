//! What clusters are served by, and what they find out about their endpoints.

use weir_upstream::{CheckFigures, EjectionFigures, Reason, Serving};

use super::{Source, text::Text};

/// One cluster at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct ClusterSample<'a> {
    /// Its name.
    pub cluster: &'a str,
    /// What it is served by.
    pub serving: Serving,
    /// What its active checks came to, where it has any.
    pub checks: Option<&'a CheckFigures>,
    /// What its questions to agents came to, where it asks any.
    pub agents: Option<&'a CheckFigures>,
    /// How often its endpoints were ejected.
    pub ejections: &'a EjectionFigures,
    /// Whether its discovery has no answer; none where it discovers nothing.
    pub discovery_fails: Option<bool>,
}

pub(super) fn render(text: &mut Text<'_>, source: &dyn Source) {
    let (mut counts, mut times, mut failings) = (String::new(), String::new(), String::new());
    let (mut count, mut time, mut failing) = (Text::new(&mut counts), Text::new(&mut times), Text::new(&mut failings));
    count.family("weir_health_checks_total", "counter", "Active checks of endpoints by what they found.");
    time.family("weir_health_check_seconds_total", "counter", "Time that active checks took.");
    failing.family(
        "weir_discovery_failing",
        "gauge",
        "1 while discovery has no answer; its last one, if any, stays in force.",
    );
    text.family("weir_cluster_serving", "gauge", "1 for the kind of endpoints the cluster is served by.");
    source.clusters(&mut |sample| {
        let cluster = ("cluster", sample.cluster);
        text.sample("weir_cluster_serving", &[cluster, ("by", sample.serving.as_str())], 1);
        if let Some(fails) = sample.discovery_fails {
            failing.sample("weir_discovery_failing", &[cluster], u8::from(fails));
        }
        let Some(checks) = sample.checks else { return };
        for (result, number) in [("success", checks.succeeded()), ("failure", checks.failed())] {
            count.sample("weir_health_checks_total", &[cluster, ("result", result)], number);
        }
        time.sample("weir_health_check_seconds_total", &[cluster], checks.time().as_secs_f64());
    });
    [counts, times, failings].iter().for_each(|page| text.append(page));
    render_agents(text, source);
    render_ejections(text, source);
}

fn render_agents(text: &mut Text<'_>, source: &dyn Source) {
    text.family("weir_agent_reports_total", "counter", "Questions to agents of endpoints.");
    source.clusters(&mut |sample| {
        let Some(agents) = sample.agents else { return };
        for (result, number) in [("answered", agents.succeeded()), ("silent", agents.failed())] {
            text.sample("weir_agent_reports_total", &[("cluster", sample.cluster), ("result", result)], number);
        }
    });
}

fn render_ejections(text: &mut Text<'_>, source: &dyn Source) {
    let mut page = String::new();
    let mut refused = Text::new(&mut page);
    let help = "Ejections that did not happen because enough endpoints were out, or too few would be left.";
    refused.family("weir_ejections_refused_total", "counter", help);
    text.family("weir_ejections_total", "counter", "Endpoints taken out by outlier detection.");
    source.clusters(&mut |sample| {
        for reason in Reason::ALL {
            let labels = [("cluster", sample.cluster), ("reason", reason.as_str())];
            text.sample("weir_ejections_total", &labels, sample.ejections.ejected(reason));
        }
        refused.sample("weir_ejections_refused_total", &[("cluster", sample.cluster)], sample.ejections.refused());
    });
    text.append(&page);
}
