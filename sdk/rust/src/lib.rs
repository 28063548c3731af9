//! Write plugins for Weir, the load balancer whose decisions are programs.
//!
//! A plugin is a type that is read from its settings (`serde::Deserialize`) and implements the trait
//! of a role: [`Router`], [`Balancer`], [`Affinity`] or [`Health`]. One line exports it:
//!
//! ```
//! use serde::Deserialize;
//! use weir_sdk::{Decision, Forward, Request, Router};
//!
//! /// Sends requests that carry a cookie to another cluster.
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Beta {
//!     cookie: String,
//!     cluster: String,
//! }
//!
//! impl Router for Beta {
//!     fn route(&mut self, request: &Request) -> Decision {
//!         match request.cookie(&self.cookie) {
//!             Some(_) => Forward::default().to_cluster(&self.cluster).into(),
//!             None => Decision::Pass,
//!         }
//!     }
//! }
//!
//! weir_sdk::export!(router: Beta);
//!
//! let mut beta: Beta = weir_sdk::settings::parse(r#"{ "cookie": "beta", "cluster": "next" }"#).unwrap();
//! let request = Request::builder().cookie("beta", "1").build();
//! assert_eq!(beta.route(&request), Forward::default().to_cluster("next").into());
//! ```
//!
//! The same code runs in the sandbox, where [`Request`], [`Candidates`] and [`Target`] ask the host,
//! and in native tests, where they are constructed and [`testing`] stands in for the host.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

#[doc(hidden)]
pub mod wit;

mod decision;
mod session;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod verdict;

pub mod clock;
pub mod hash;
pub mod kv;
pub mod log;
pub mod metrics;
pub mod random;
pub mod settings;

mod candidates;
mod request;
mod target;

mod roles;

#[doc(hidden)]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
mod convert;
mod export;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use export::under_way;

pub use candidates::{Candidates, Condition, Figures, KeySource};
pub use decision::{Decision, Forward, Response};
pub use request::{ClientCertificate, Request, Tls};
pub use roles::{Affinity, Balancer, Health, Router};
pub use session::{Mark, Session};
pub use target::{Answer, Connection, Target};
pub use verdict::{State, Verdict};

#[cfg(not(target_arch = "wasm32"))]
pub use {candidates::CandidatesBuilder, request::RequestBuilder, target::TargetBuilder};
