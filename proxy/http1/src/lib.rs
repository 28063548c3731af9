//! HTTP/1.1 on the wire (RFC 9112), both sides: heads parsed and written, bodies framed and unframed.
//!
//! One [`Connection`] serves either side of a transport. It refuses every message that two parties
//! could read differently, holds no buffer while it is idle, and never collects a body: data passes
//! as [`Frame`]s as it comes.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod error;
mod fields;
mod noted;

mod chunked;
mod framing;
mod head;
mod output;

mod connection;

pub use connection::{Connection, Frame};
pub use error::{Error, Fault};
pub use fields::{connection_has, is_hop_by_hop, strip_hop_by_hop, strip_trailers};
pub use framing::{Framing, Length};
pub use head::{Limits, RequestHead, ResponseHead, is_valid_authority};
