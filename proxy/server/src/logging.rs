//! The process log: `tracing` to standard error. Text for people at a terminal, one JSON object a
//! line for everything else.

use std::{
    env,
    io::{self, IsTerminal},
};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Says what is logged: `debug`, or by module, `info,weir_plugin=debug`.
pub const VARIABLE: &str = "WEIR_LOG";

/// Starts the process log, at `info` where [`VARIABLE`] is not set. Only the first call counts.
pub fn start() {
    let wanted = env::var(VARIABLE).ok();
    let (filter, fault) = filter(wanted.as_deref());
    let registry = tracing_subscriber::registry().with(filter);
    let started = if io::stderr().is_terminal() {
        registry.with(fmt::layer().with_writer(io::stderr).with_target(false)).try_init()
    } else {
        registry
            .with(
                fmt::layer()
                    .with_writer(io::stderr)
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_span_list(false),
            )
            .try_init()
    };
    if let (Ok(()), Some(fault)) = (started, fault) {
        tracing::warn!(variable = VARIABLE, %fault, "the log filter is not understood: info is used");
    }
}

/// The filter, and why it is not the one that was wanted.
fn filter(wanted: Option<&str>) -> (EnvFilter, Option<String>) {
    match wanted.map(str::trim).filter(|wanted| !wanted.is_empty()) {
        None => (EnvFilter::new("info"), None),
        Some(wanted) => match EnvFilter::try_new(wanted) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new("info"), Some(error.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_unless_told() {
        assert_eq!(filter(None).0.to_string(), "info");
        assert_eq!(filter(Some(" ")).0.to_string(), "info");
        assert_eq!(filter(Some("weir_plugin=debug")).0.to_string(), "weir_plugin=debug");
    }

    #[test]
    fn a_filter_that_is_not_understood_is_named() {
        let (filter, fault) = filter(Some("weir=loud"));
        assert_eq!(filter.to_string(), "info");
        assert!(fault.is_some());
    }
}
