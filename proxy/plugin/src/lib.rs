//! The plugin host: loads components, checks what they want, and asks them for decisions.
//!
//! [`Host`] belongs to the process, [`Program`] is one compiled version of a plugin, [`Bound`] one
//! use of it with its settings. Each worker owns a [`Guests`] and asks it on its own thread, without
//! locks and without waiting; health checks go through [`Host::check`] on the control runtime.
//!
//! A thread that owns a [`Guests`] needs a stack of at least 1 MiB: guests may take 512 KiB of it.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

// What goes in and out.
mod answer;
mod failure;
mod target;
mod view;
// The host.
mod host;

pub use answer::{
    Forward, HealthState, HealthVerdict, Mark, Response, RouteDecision, SESSION_KEY_LIMIT, Session,
};
pub use failure::{Failure, HostError, Refused};
pub use host::{Bound, Guests, Host, HostOptions, Program, Role};
pub use target::{BoxFuture, Target, TargetRequest, TargetResponse};
pub use view::{CandidatesView, Figures, RequestView, TlsFacts};
