//! The host with real guests: one behaviour a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../../../tests/e2e/harness/exposition.rs"]
mod exposition;
mod harness;

mod caching;
mod checks;
mod damaged;
mod decisions;
mod failures;
mod grants;
mod hostile;
mod lives;
mod metrics;
mod refusals;
