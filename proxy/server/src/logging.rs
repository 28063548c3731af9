//! The process log: `tracing` to standard error. Text for people at a terminal, one JSON object a
//! line for everything else.
//!
//! No thread that logs writes to standard error itself: lines wait in a bounded queue for a thread of
//! their own, so that a reader that has stopped reading stops nothing but the log.

mod queue;

use std::{
    env,
    io::{self, IsTerminal},
    panic::{self, PanicHookInfo},
    thread,
    time::Duration,
};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

pub use self::queue::{Queue, dropped};

/// Says what is logged: `debug`, or by module, `info,weir_plugin=debug`.
pub const VARIABLE: &str = "WEIR_LOG";

/// Longest wait of a thread that panicked, until its message is written: the process may be about to abort.
const PANIC_FLUSH: Duration = Duration::from_millis(200);

/// Starts the process log, at `info` where [`VARIABLE`] is not set. Call it once.
///
/// # Errors
/// Of the system: no thread, or no descriptor.
pub fn start() -> io::Result<Queue> {
    let queue = Queue::open()?;
    let wanted = env::var(VARIABLE).ok();
    let (filter, fault) = filter(wanted.as_deref());
    let registry = tracing_subscriber::registry().with(filter);
    let started = if io::stderr().is_terminal() {
        registry.with(fmt::layer().with_writer(queue.clone()).with_target(false)).try_init()
    } else {
        registry
            .with(
                fmt::layer()
                    .with_writer(queue.clone())
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
    let at_panic = queue.clone();
    panic::set_hook(Box::new(move |panicked| report(&at_panic, panicked)));
    Ok(queue)
}

/// Logs a panic as the default hook prints it, but by the queue.
fn report(queue: &Queue, panicked: &PanicHookInfo<'_>) {
    let why = panicked.payload_as_str().unwrap_or("no message");
    let place = panicked.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = std::backtrace::Backtrace::capture();
    let thread = thread::current();
    tracing::error!(thread = thread.name().unwrap_or("unnamed"), place, why, %backtrace, "panicked");
    queue.flush(PANIC_FLUSH);
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
