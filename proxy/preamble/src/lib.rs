//! What a connection says before its own protocol begins: the PROXY protocol's header, and the
//! ClientHello of TLS that a passthrough looks at without taking part in.
//!
//! Readers are pure: they get the octets that have come so far and say that more are needed, what
//! was said, or why it cannot be right. They never claim octets that are not theirs.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod name;
mod octets;

pub mod hello;
pub mod proxy;

pub use hello::Hello;
pub use proxy::Header;
