//! Figures of what routes do beside forwarding: copies of requests, rollouts.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use super::text::Text;

/// What became of a request that was to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mirrored {
    /// The copy was answered, with a status of this class.
    Answered(u16),
    /// The copy was sent, or was to be, and was not answered.
    Failed,
    /// Too many copies were under way, or too many requests at the endpoint.
    Busy,
    /// The body is larger than copies may have.
    TooLarge,
    /// The client's request ended before it was whole.
    Incomplete,
}

/// What the results are called on the page, in the order of their counters.
const RESULTS: [&str; 8] = ["2xx", "3xx", "4xx", "5xx", "failed", "busy", "too-large", "incomplete"];

impl Mirrored {
    fn place(self) -> usize {
        match self {
            Self::Answered(0..300) => 0,
            Self::Answered(300..400) => 1,
            Self::Answered(400..500) => 2,
            Self::Answered(_) => 3,
            Self::Failed => 4,
            Self::Busy => 5,
            Self::TooLarge => 6,
            Self::Incomplete => 7,
        }
    }
}

/// Copies of a route's requests, over all workers.
#[derive(Debug)]
pub struct MirrorMetrics {
    route: Arc<str>,
    cluster: Arc<str>,
    in_flight: AtomicU32,
    results: [AtomicU64; RESULTS.len()],
}

impl MirrorMetrics {
    /// None so far.
    pub fn new(route: &Arc<str>, cluster: &Arc<str>) -> Self {
        let (in_flight, results) = Default::default();
        Self { route: Arc::clone(route), cluster: Arc::clone(cluster), in_flight, results }
    }

    /// Whether these are the figures of copies that go from this route to this cluster.
    pub fn is(&self, route: &str, cluster: &str) -> bool {
        *self.route == *route && *self.cluster == *cluster
    }

    /// Count a copy in, where fewer than `most` are under way.
    pub fn begin(&self, most: u32) -> bool {
        let begun = self.in_flight.fetch_add(1, Relaxed) < most;
        if !begun {
            self.end(Mirrored::Busy);
        }
        begun
    }

    /// Count a copy out.
    pub fn end(&self, result: Mirrored) {
        self.in_flight.fetch_sub(1, Relaxed);
        self.count(result);
    }

    /// Count a request that was not copied.
    pub fn count(&self, result: Mirrored) {
        if let Some(counter) = self.results.get(result.place()) {
            counter.fetch_add(1, Relaxed);
        }
    }
}

/// A rollout at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct RolloutSample<'a> {
    /// The route it is about.
    pub route: &'a str,
    /// Share of the new cluster.
    pub percent: u32,
    /// The name of its phase.
    pub phase: &'a str,
}

/// The names of all phases.
const PHASES: [&str; 4] = ["rolling", "paused", "rolled-back", "complete"];

pub(super) fn render_mirrors(text: &mut Text<'_>, mirrors: &[Arc<MirrorMetrics>]) {
    if mirrors.is_empty() {
        return;
    }
    text.family(
        "weir_mirror_requests_total",
        "counter",
        "Requests that were to be copied, by the status of the copy's response or why there is none.",
    );
    for mirror in mirrors {
        for (result, count) in RESULTS.iter().zip(&mirror.results) {
            let labels = [("route", &*mirror.route), ("cluster", &*mirror.cluster), ("result", *result)];
            text.sample("weir_mirror_requests_total", &labels, count.load(Relaxed));
        }
    }
    text.family("weir_mirror_in_flight", "gauge", "Copies of requests under way.");
    for mirror in mirrors {
        let labels = [("route", &*mirror.route), ("cluster", &*mirror.cluster)];
        text.sample("weir_mirror_in_flight", &labels, mirror.in_flight.load(Relaxed));
    }
}

pub(super) fn render_rollouts(text: &mut Text<'_>, source: &dyn super::Source) {
    let (mut percents, mut phases) = (String::new(), String::new());
    let (mut percent, mut phase) = (Text::new(&mut percents), Text::new(&mut phases));
    percent.family("weir_rollout_percent", "gauge", "Share of a rollout's new cluster.");
    phase.family("weir_rollout_phase", "gauge", "1 for the phase a rollout is in.");
    let mut any = false;
    source.rollouts(&mut |sample| {
        any = true;
        percent.sample("weir_rollout_percent", &[("route", sample.route)], sample.percent);
        for name in PHASES {
            let labels = [("route", sample.route), ("phase", name)];
            phase.sample("weir_rollout_phase", &labels, u8::from(name == sample.phase));
        }
    });
    if any {
        text.append(&percents);
        text.append(&phases);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_bounded_and_counted() {
        let mirror = Arc::new(MirrorMetrics::new(&"r".into(), &"shadow".into()));
        assert!(mirror.begin(2) && mirror.begin(2) && !mirror.begin(2));
        mirror.end(Mirrored::Answered(204));
        mirror.end(Mirrored::Answered(599));
        mirror.count(Mirrored::TooLarge);
        let mut page = String::new();
        render_mirrors(&mut Text::new(&mut page), &[mirror]);
        for (result, count) in [("2xx", 1), ("5xx", 1), ("busy", 1), ("too-large", 1), ("failed", 0)] {
            let line =
                format!("weir_mirror_requests_total{{route=\"r\",cluster=\"shadow\",result=\"{result}\"}} {count}\n");
            assert!(page.contains(&line), "{page}");
        }
        assert!(page.contains("weir_mirror_in_flight{route=\"r\",cluster=\"shadow\"} 0\n"), "{page}");
    }
}
