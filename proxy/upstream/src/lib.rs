//! Where a request can go: clusters of endpoints with their weights, load and health, the balancers
//! that pick among them, the affinity that keeps a session where it was, and the connections.
//!
//! Two sides use it. Workers read [`Cluster::candidates`], pick, and count what is in flight; nothing
//! of that waits. The control side runs [`health::run`] and its like, which have something said of an
//! endpoint through [`Cluster::set_health`] and its neighbours. What all of it comes to is the endpoint's
//! [`Status`]; where that changes, another set of candidates is published under another epoch.
//!
//! Modules are listed ground floor first; each imports only from those above it.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod descriptors;
mod latency;
mod load_report;
mod peak;
mod rng;
mod room;
mod tls;

mod slots;

pub mod retry;
pub mod websocket;

mod hedging;

#[cfg(test)]
mod fixture;

mod figures;
mod standing;

mod outlier;

mod endpoint;

mod candidates;

pub mod affinity;
mod balance;

mod cluster;

pub mod rollout;
pub mod split;

mod follow;

pub mod agent;
pub mod dial;
pub mod health;

pub mod discovery;

pub mod connection;
pub mod h2_body;

pub use affinity::{Affinity, AffinityTable, CookieAffinity, CookieSession};
pub use balance::{Balancer, KeyHash, Occasion};
pub use candidates::{Candidates, Serving};
pub use cluster::{Admission, Cluster, Discovery, Lasting, Members, OperatorWord, Origin};
pub use endpoint::{Endpoint, LastCheck};
pub use figures::CheckFigures;
pub use hedging::Hedging;
pub use load_report::Unusable;
pub use outlier::{Asked, EjectionFigures, Met, Reason};
pub use retry::RetryBudget;
pub use rng::Rng;
pub use room::{Full, Place, Room};
pub use slots::{Recall, Slot};
pub use standing::{Moment, Order, Report, Reputation, Spared, Standing, State, Status, Verdict, Word};
pub use tls::{authorities, client_tls, read_authorities, trusting};
