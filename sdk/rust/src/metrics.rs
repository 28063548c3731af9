//! Figures on the metrics page, as `weir_plugin_custom_NAME`. Grant `metrics`. At most 64 names a plugin.

#[cfg(not(target_arch = "wasm32"))]
use crate::testing::with;
#[cfg(target_arch = "wasm32")]
use crate::wit::host::metrics;

/// Add to a counter.
pub fn count(name: &str, by: u64) {
    #[cfg(target_arch = "wasm32")]
    metrics::count(name, by);
    #[cfg(not(target_arch = "wasm32"))]
    with(|host| *host.counters.entry(name.into()).or_default() += by);
}

/// Set a gauge.
pub fn gauge(name: &str, value: f64) {
    #[cfg(target_arch = "wasm32")]
    metrics::gauge(name, value);
    #[cfg(not(target_arch = "wasm32"))]
    with(|host| host.gauges.insert(name.into(), value));
}

/// Observe a value in a histogram.
pub fn observe(name: &str, value: f64) {
    #[cfg(target_arch = "wasm32")]
    metrics::observe(name, value);
    #[cfg(not(target_arch = "wasm32"))]
    with(|host| host.observed.entry(name.into()).or_default().push(value));
}
