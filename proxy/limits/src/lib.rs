//! What clients may take: how often, how many at a time, and from which networks.
//!
//! Times are arguments. What a limit knows is shared by all workers: a table in shards, each behind a lock that
//! is held for one look.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

// How often, for one key.
mod quota;

mod sliding_window;
mod token_bucket;

mod meter;

// For every key.
mod table;

mod limit;

mod announcement;

// From where.
mod access;

pub use access::Access;
pub use announcement::{announce_policy, announce_quota, whole_seconds};
pub use limit::{Digest, Held, Limit, Refused, Taken};
pub use quota::Quota;
pub use table::{Figures, Key};
