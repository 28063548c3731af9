//! Figures that guests keep for the metrics page: at most 64 names a plugin.
//!
//! A name with the ending of a histogram's own series, or of a series of ours, is not taken: on the page it
//! would be the same series twice, and a scraper refuses the whole page.
//!
//! Looking a name up takes no lock. A further name copies the map, which happens 64 times at most.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;

/// Names a plugin may use.
const NAMES: usize = 64;
/// Longest name in bytes.
const NAME_LIMIT: usize = 64;
/// Endings of the series that a histogram is written as.
const OF_HISTOGRAMS: [&str; 3] = ["_bucket", "_sum", "_count"];
/// Names of the host's own series about these figures.
const OURS: [&str; 2] = ["dropped_total", "hidden"];
/// Upper bounds of a histogram's buckets.
const BOUNDS: [f64; 16] =
    [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0, 10_000.0, 100_000.0];
const BUCKETS: usize = BOUNDS.len() + 1;

/// One figure.
#[derive(Debug)]
pub(crate) enum Metric {
    Counter(AtomicU64),
    /// Bits of a float.
    Gauge(AtomicU64),
    Histogram {
        buckets: [AtomicU64; BUCKETS],
        /// Bits of a float.
        sum: AtomicU64,
    },
}

/// What a figure is: a name keeps its first kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// All figures of a plugin.
#[derive(Default)]
pub(crate) struct Custom {
    metrics: ArcSwap<BTreeMap<String, Arc<Metric>>>,
    writing: Mutex<()>,
    dropped: AtomicU64,
}

impl Custom {
    pub(crate) fn count(&self, name: &str, by: u64) {
        self.with(name, Kind::Counter, |metric| {
            if let Metric::Counter(counter) = metric {
                counter.fetch_add(by, Relaxed);
            }
        });
    }

    pub(crate) fn gauge(&self, name: &str, value: f64) {
        self.with(name, Kind::Gauge, |metric| {
            if let Metric::Gauge(gauge) = metric {
                gauge.store(value.to_bits(), Relaxed);
            }
        });
    }

    pub(crate) fn observe(&self, name: &str, value: f64) {
        if value.is_nan() {
            return self.drop_one();
        }
        self.with(name, Kind::Histogram, |metric| {
            if let Metric::Histogram { buckets, sum } = metric {
                let bucket = BOUNDS.iter().position(|b| value <= *b).unwrap_or(BOUNDS.len());
                buckets.get(bucket).map(|bucket| bucket.fetch_add(1, Relaxed));
                let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
                _ = sum.fetch_update(Relaxed, Relaxed, add);
            }
        });
    }

    /// What was dropped: names beyond the limit, names that are none or are reserved, names of another
    /// kind, observations that are no number.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Figures by name.
    pub(crate) fn metrics(&self) -> Arc<BTreeMap<String, Arc<Metric>>> {
        self.metrics.load_full()
    }

    fn with(&self, name: &str, kind: Kind, write: impl FnOnce(&Metric)) {
        let known = self.metrics.load();
        match known.get(name) {
            Some(metric) if metric.kind() == kind => write(metric),
            None if is_name(name) && known.len() < NAMES => match self.add(name, kind) {
                Some(metric) => write(&metric),
                None => self.drop_one(),
            },
            _ => self.drop_one(),
        }
    }

    fn add(&self, name: &str, kind: Kind) -> Option<Arc<Metric>> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut metrics = BTreeMap::clone(&self.metrics.load());
        if metrics.len() >= NAMES && !metrics.contains_key(name) {
            return None;
        }
        let metric = Arc::clone(metrics.entry(name.to_owned()).or_insert_with(|| Arc::new(Metric::new(kind))));
        self.metrics.store(Arc::new(metrics));
        (metric.kind() == kind).then_some(metric)
    }

    fn drop_one(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }
}

impl Metric {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter(AtomicU64::new(0)),
            Kind::Gauge => Self::Gauge(AtomicU64::new(0)),
            Kind::Histogram => Self::Histogram { buckets: Default::default(), sum: AtomicU64::new(0) },
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) => Kind::Counter,
            Self::Gauge(_) => Kind::Gauge,
            Self::Histogram { .. } => Kind::Histogram,
        }
    }

    /// Lines of this figure for one plugin.
    pub(crate) fn write(&self, name: &str, plugin: &str, out: &mut String) {
        let full = format!("weir_plugin_custom_{name}");
        match self {
            Self::Counter(value) => {
                _ = writeln!(out, "{full}{{plugin=\"{plugin}\"}} {}", value.load(Relaxed));
            }
            Self::Gauge(bits) => {
                let value = number(f64::from_bits(bits.load(Relaxed)));
                _ = writeln!(out, "{full}{{plugin=\"{plugin}\"}} {value}");
            }
            Self::Histogram { buckets, sum } => {
                write_histogram(&full, plugin, buckets, sum, out);
            }
        }
    }
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

fn write_histogram(full: &str, plugin: &str, buckets: &[AtomicU64], sum: &AtomicU64, out: &mut String) {
    let mut below = 0;
    for (bucket, bound) in buckets.iter().zip(BOUNDS.into_iter().chain([f64::INFINITY])) {
        below += bucket.load(Relaxed);
        let bound = number(bound);
        _ = writeln!(out, "{full}_bucket{{plugin=\"{plugin}\",le=\"{bound}\"}} {below}");
    }
    let sum = number(f64::from_bits(sum.load(Relaxed)));
    _ = writeln!(out, "{full}_sum{{plugin=\"{plugin}\"}} {sum}");
    _ = writeln!(out, "{full}_count{{plugin=\"{plugin}\"}} {below}");
}

/// As the exposition format writes it.
fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        value => value.to_string(),
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_LIMIT
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_')
        && !OF_HISTOGRAMS.iter().any(|ending| name.ends_with(ending))
        && !OURS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_first_kind() {
        let custom = Custom::default();
        custom.count("hits", 2);
        custom.gauge("hits", 1.0);
        custom.count("hits", 3);
        let mut text = String::new();
        custom.metrics().iter().for_each(|(name, metric)| metric.write(name, "p", &mut text));
        assert_eq!(text, "weir_plugin_custom_hits{plugin=\"p\"} 5\n");
        assert_eq!(custom.dropped(), 1);
    }

    #[test]
    fn names_are_bounded() {
        let custom = Custom::default();
        (0..70).for_each(|i| custom.count(&format!("n{i}"), 1));
        ["", "1a", "a-b", "a\nb"].iter().for_each(|name| custom.count(name, 1));
        assert_eq!(custom.metrics().len(), 64);
        assert_eq!(custom.dropped(), 10);
    }

    #[test]
    fn names_of_other_series_are_reserved() {
        let custom = Custom::default();
        custom.observe("x", 1.0);
        ["x_sum", "x_count", "x_bucket", "dropped_total", "hidden"].iter().for_each(|name| custom.count(name, 1));
        custom.observe("x", f64::NAN);
        assert_eq!(custom.metrics().keys().collect::<Vec<_>>(), ["x"]);
        assert_eq!(custom.dropped(), 6);
    }
}
