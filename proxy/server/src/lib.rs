//! The data plane and the process: what accepts, routes, decides, forwards and tells about it.
//!
//! Modules are listed ground floor first; each imports only from those above it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

// Ground.
pub mod access_log;
mod boxed;
mod capacity;
pub mod error;
mod fields;
mod http_date;
pub mod identity;
pub mod logging;
mod memory;
pub mod metrics;
mod notify;
mod pace;
mod peek;
mod plain_http;
pub mod pressure;
mod splice;
mod timer;
pub mod tls;
mod unix_socket;

pub mod acme;

mod datagrams;
mod duplex;

mod transport;

// What runs.
pub mod gate;
pub mod listening;

pub mod inherited;
mod origin;
mod proxy_protocol;
pub mod request;

mod compress;
mod grpc;
mod path;

pub mod upgrade;

pub mod edits;
pub mod redirect;
pub mod rollout;

pub mod snapshot;
pub mod tenant;

pub mod router;

// One request.
mod draining;
mod figures;

mod worker;

mod trace;

mod divide;
mod permit;

mod decide;
mod mirror;

mod downstream;
mod forwarded;
mod replay;

mod relay;

mod sessions;

mod tunnel;

mod forward;

mod exchange;

// Connections.
mod holdings;
mod http1;
mod http2;
mod tcp;

mod udp;

mod listener;

// The process.
pub mod admin;
pub mod cli;
mod plugin_health;
mod versions;

pub mod app;

pub mod watch;
