//! The host with real guests: one behaviour a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;

mod caching;
mod checks;
mod decisions;
mod failures;
mod grants;
mod lives;
mod refusals;
