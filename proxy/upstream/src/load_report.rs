//! Load reports of endpoints in the headers or trailers of their responses, as ORCA has them (Open Request Cost
//! Aggregation, CNCF xDS).
//!
//! `TEXT cpu_utilization=0.3, rps_fractional=250` or `JSON {"cpu_utilization": 0.3, "named_metrics":
//! {"queue": 0.1}}`; without the first word, a brace tells. JSON's other spelling, `cpuUtilization`, is
//! known as well. The binary form stands in a field of its own, or behind `BIN `. Figures nobody asks for are passed over, whatever they are called.

mod binary;
pub(crate) mod weights;

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use http::HeaderName;
use serde_json::Value;

/// Where a report stands.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("endpoint-load-metrics");
/// Where a report in the binary form stands.
pub(crate) const BINARY: HeaderName = HeaderName::from_static("endpoint-load-metrics-bin");

/// What counts where the configuration names no metric, the first that is there and above 0.
const USUAL: [&str; 2] = ["application_utilization", "cpu_utilization"];
const RATE: &str = "rps_fractional";

/// What an endpoint says about itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LoadReport {
    utilization: f32,
    rate: f32,
}

/// Why a report cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// None of the forms there are, or a figure that is no number from 0 up.
    #[error("malformed load report")]
    Malformed,
    /// The metric that weights go by is not in it.
    #[error("load report without the metric")]
    Missing,
}

impl LoadReport {
    /// The report of a field's value, by this metric.
    pub(crate) fn parse(value: &[u8], metric: Option<&str>) -> Result<Self, Unusable> {
        let text = std::str::from_utf8(value).map_err(|_| Unusable::Malformed)?.trim();
        if let Some(binary) = text.strip_prefix("BIN ") {
            return Self::parse_binary(binary.as_bytes(), metric);
        }
        let mut figures = Figures::new(metric);
        match text.strip_prefix("JSON ").or_else(|| text.starts_with('{').then_some(text)) {
            Some(json) => read_json(json, &mut figures)?,
            None => read_text(text.strip_prefix("TEXT ").unwrap_or(text), &mut figures)?,
        }
        figures.report().ok_or(Unusable::Missing)
    }

    /// The report of the value of a field for the binary form, by this metric.
    pub(crate) fn parse_binary(value: &[u8], metric: Option<&str>) -> Result<Self, Unusable> {
        let mut figures = Figures::new(metric);
        binary::read(value.trim_ascii(), &mut figures)?;
        figures.report().ok_or(Unusable::Missing)
    }

    /// Of whatever is scarce; 1 is all of it.
    pub(crate) fn utilization(self) -> f64 {
        self.utilization.into()
    }

    /// Requests a second, from all sides; 0 where it does not say.
    pub(crate) fn rate(self) -> f64 {
        self.rate.into()
    }
}

/// Figures that may be wanted, as they are found.
struct Figures<'a> {
    wanted: Option<&'a str>,
    found: Option<f64>,
    usual: [Option<f64>; USUAL.len()],
    rate: f64,
}

impl<'a> Figures<'a> {
    fn new(wanted: Option<&'a str>) -> Self {
        Self { wanted, found: None, usual: [None; USUAL.len()], rate: 0.0 }
    }

    /// A figure by its name, which may be in a map.
    fn take(&mut self, map: Option<&str>, name: &str, figure: f64) -> Result<(), Unusable> {
        if !figure.is_finite() || figure < 0.0 {
            return Err(Unusable::Malformed);
        }
        if self.wanted.is_some_and(|wanted| is_called(wanted, map, name)) {
            self.found = Some(figure);
        }
        if map.is_none() {
            for (usual, slot) in USUAL.iter().zip(&mut self.usual) {
                if is_same(usual, name) {
                    *slot = Some(figure);
                }
            }
            if is_same(RATE, name) {
                self.rate = figure;
            }
        }
        Ok(())
    }

    fn report(self) -> Option<LoadReport> {
        let above = self.usual.iter().flatten().find(|figure| **figure > 0.0);
        let usual = above.or_else(|| self.usual.iter().flatten().next()).copied();
        let utilization = if self.wanted.is_some() { self.found } else { usual }?;
        Some(LoadReport { utilization: utilization as f32, rate: self.rate as f32 })
    }
}

fn read_text(text: &str, figures: &mut Figures<'_>) -> Result<(), Unusable> {
    for pair in text.split(',') {
        let (name, figure) = pair.split_once('=').ok_or(Unusable::Malformed)?;
        let figure = figure.trim().parse().map_err(|_| Unusable::Malformed)?;
        match name.trim().split_once('.') {
            Some((map, name)) => figures.take(Some(map), name, figure)?,
            None => figures.take(None, name.trim(), figure)?,
        }
    }
    Ok(())
}

fn read_json(json: &str, figures: &mut Figures<'_>) -> Result<(), Unusable> {
    let Ok(Value::Object(report)) = serde_json::from_str(json) else { return Err(Unusable::Malformed) };
    let number = |value: &Value| value.as_f64().ok_or(Unusable::Malformed);
    for (name, value) in &report {
        match value {
            Value::Object(map) => {
                map.iter().try_for_each(|(key, value)| figures.take(Some(name), key, number(value)?))?;
            }
            value => figures.take(None, name, number(value)?)?,
        }
    }
    Ok(())
}

/// Whether a configured name means this figure. Keys of maps are the application's own words.
fn is_called(wanted: &str, map: Option<&str>, name: &str) -> bool {
    match (wanted.split_once('.'), map) {
        (Some((wanted_map, key)), Some(map)) => is_same(wanted_map, map) && key == name,
        (None, None) => is_same(wanted, name),
        _ => false,
    }
}

/// Whether two names are the same in `snake_case` and in `camelCase`.
fn is_same(snake: &str, name: &str) -> bool {
    plain(snake).eq(plain(name))
}

fn plain(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase())
}

/// The last report of an endpoint, for all workers to write.
#[derive(Debug, Default)]
pub(crate) struct LastReport {
    /// Bits of an `f32`.
    utilization: AtomicU32,
    /// Bits of an `f32`.
    rate: AtomicU32,
    count: AtomicU32,
}

impl LastReport {
    pub(crate) fn put(&self, report: LoadReport) {
        self.utilization.store(report.utilization.to_bits(), Relaxed);
        self.rate.store(report.rate.to_bits(), Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    /// The report, and how many there have been.
    pub(crate) fn look(&self) -> (LoadReport, u32) {
        let read = |bits: &AtomicU32| f32::from_bits(bits.load(Relaxed));
        (LoadReport { utilization: read(&self.utilization), rate: read(&self.rate) }, self.count.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str, metric: Option<&str>) -> Result<(f32, f32), Unusable> {
        LoadReport::parse(text.as_bytes(), metric).map(|report| (report.utilization, report.rate))
    }

    #[test]
    fn both_forms_are_read() {
        for text in [
            "TEXT cpu_utilization=0.25, mem_utilization=0.5,rps_fractional=100,named_metrics.queue=0.75",
            "cpu_utilization=0.25,mem_utilization=0.5,rps_fractional=100, named_metrics.queue = 0.75",
            r#"JSON {"cpu_utilization":0.25,"mem_utilization":0.5,"rps_fractional":100,"named_metrics":{"queue":0.75}}"#,
            r#"{"cpuUtilization":0.25,"memUtilization":0.5,"rpsFractional":1e2,"namedMetrics":{"queue":0.75},"x":1}"#,
        ] {
            assert_eq!(parse(text, None), Ok((0.25, 100.0)), "{text}");
            assert_eq!(parse(text, Some("mem_utilization")), Ok((0.5, 100.0)), "{text}");
            assert_eq!(parse(text, Some("named_metrics.queue")), Ok((0.75, 100.0)), "{text}");
            assert_eq!(parse(text, Some("named_metrics.Queue")), Err(Unusable::Missing), "{text}");
            assert_eq!(parse(text, Some("application_utilization")), Err(Unusable::Missing), "{text}");
        }
    }

    #[test]
    fn the_application_knows_better_than_the_processor() {
        assert_eq!(parse("TEXT cpu_utilization=0.9,application_utilization=0.2", None), Ok((0.2, 0.0)));
        assert_eq!(parse("TEXT application_utilization=0,cpu_utilization=0.9", None), Ok((0.9, 0.0)));
        assert_eq!(parse("TEXT application_utilization=0", None), Ok((0.0, 0.0)));
        assert_eq!(parse("TEXT mem_utilization=0.5", None), Err(Unusable::Missing));
    }

    #[test]
    fn what_is_no_report_is_told() {
        for text in [
            "",
            "TEXT ",
            "TEXT cpu_utilization",
            "TEXT cpu_utilization=high",
            "TEXT cpu_utilization=-0.1",
            "TEXT cpu_utilization=NaN",
            "TEXT cpu_utilization=inf",
            "JSON [0.5]",
            "JSON {\"cpu_utilization\":\"0.5\"}",
            "JSON {\"cpu_utilization\":0.5",
            "JSON {\"named_metrics\":{\"a\":{}}}",
            "BIN CAESBQ==",
        ] {
            assert_eq!(parse(text, None), Err(Unusable::Malformed), "{text}");
        }
        assert_eq!(LoadReport::parse(b"TEXT cpu_utilization=\xff", None), Err(Unusable::Malformed));
    }

    proptest! {
        #[test]
        fn no_value_harms(value: Vec<u8>, text in "(TEXT |JSON )?[a-z_.={}\":0-9, -]{0,60}") {
            let _ = LoadReport::parse(&value, None);
            if let Ok(report) = LoadReport::parse(text.as_bytes(), None) {
                prop_assert!(report.utilization >= 0.0 && report.rate >= 0.0);
            }
        }
    }
}
