//! The plugin host: loads components, checks what they want, and asks them for decisions.
//!
//! [`Host`] belongs to the process, [`Program`] is one compiled version of a plugin, [`Bound`] one
//! use of it with its settings. Each worker owns a [`Guests`] and asks it on its own thread, without
//! locks and without waiting; health checks go through [`Host::check`] on the control runtime.
//!
//! A thread that owns a [`Guests`] needs a stack of at least 1 MiB, of which guests may take
//! 512 KiB; Rust's default of 2 MiB is right. A guest that wants more traps.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

// What goes in and out.
mod answer;
mod failure;
mod role;
mod target;
mod view;
// Ground: the engine, bounds, what is counted.
mod cache;
mod clock;
mod compiler;
mod custom;

mod allowance;
mod breaker;
mod bucket;
mod budget;
mod engine;
mod fault;
mod kv;
mod limits;
mod meter;
mod rate;
mod tally;
mod troubles;
// What a plugin's instances share.
mod ledger;
mod page;
// The contract: what guests export, what they may call.
mod component;
mod contract;
mod decision;
mod imports;
// Programs and their instances.
mod bodies;
mod checking;
mod guests;
mod instance;
mod prepared;
mod program;
mod slot;
// The host.
mod host;

pub use answer::{Forward, HealthState, HealthVerdict, Mark, Response, RouteDecision, SESSION_KEY_LIMIT, Session};
pub use bodies::Body;
pub use budget::Budget;
pub use cache::{Stored, sha256};
pub use compiler::{Cancel, ChildTask, CompileTerms, CompilerProgram, Compiling, compile_for_parent};
pub use failure::{Failure, HostError, Refused, Skip};
pub use guests::Guests;
pub use host::{Host, HostOptions};
pub use program::{Bound, Program};
pub use role::Role;
pub use target::{BoxFuture, Target, TargetRequest, TargetResponse};
pub use troubles::OpenBreaker;
pub use view::{CandidatesView, ClientCertificate, Figures, RequestView, TlsFacts};
