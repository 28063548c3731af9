//! The host.
#![allow(unused, missing_docs)]
use crate::*;
use std::{path::PathBuf, sync::Arc, time::{Duration, SystemTime}};

/// What a plugin decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role { Router, Balancer, Affinity, Health }
#[derive(Debug, Clone, Default)]
pub struct HostOptions { pub cache: Option<PathBuf> }
pub struct Host {}
impl Host {
    pub fn try_new(options: HostOptions) -> Result<Arc<Host>, HostError> { Ok(Arc::new(Host {})) }
    pub fn load(&self, plugin: &weir_config::Plugin, component: &[u8]) -> Result<Arc<Program>, Refused> { Ok(Arc::new(Program {})) }
    pub fn metrics(&self, out: &mut String) {}
    pub async fn check(&self, bound: &Bound, target: Arc<dyn Target>, timeout: Duration) -> Result<HealthVerdict, Failure> { Err(Failure::Trap) }
}
#[derive(Debug)]
pub struct Program {}
impl Program {
    pub fn bind(self: &Arc<Self>, role: Role, settings: &serde_json::Value) -> Result<Bound, Refused> { Ok(Bound { program: self.clone() }) }
    pub fn name(&self) -> &Arc<str> { unimplemented_name() }
    pub fn sha256(&self) -> &str { "" }
    pub fn size(&self) -> usize { 0 }
    pub fn roles(&self) -> &[Role] { &[] }
    pub fn loaded(&self) -> SystemTime { SystemTime::UNIX_EPOCH }
    pub fn id(&self) -> u64 { 0 }
    pub fn on_failure(&self) -> weir_config::OnFailure { weir_config::OnFailure::Native }
}
fn unimplemented_name() -> &'static Arc<str> { static NAME: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| "".into()); &NAME }
#[derive(Debug, Clone)]
pub struct Bound { pub program: Arc<Program> }
impl Bound { pub fn role(&self) -> Role { Role::Router } pub fn settings(&self) -> &str { "" } }
pub struct Guests {}
impl Guests {
    pub fn new(host: &Arc<Host>) -> Guests { Guests {} }
    pub fn route(&self, bound: &Bound, request: &dyn RequestView) -> Result<RouteDecision, Failure> { Err(Failure::Trap) }
    pub fn pick(&self, bound: &Bound, request: &dyn RequestView, candidates: &dyn CandidatesView) -> Result<Option<u32>, Failure> { Err(Failure::Trap) }
    pub fn session(&self, bound: &Bound, request: &dyn RequestView) -> Result<Option<Session>, Failure> { Err(Failure::Trap) }
    pub fn bound(&self, bound: &Bound, request: &dyn RequestView, key: Option<&str>, endpoint: &str) -> Result<Mark, Failure> { Err(Failure::Trap) }
    /// The answer to the last decision could not be carried out (an unknown cluster).
    pub fn reject(&self, bound: &Bound, why: &str) -> Failure { Failure::BadAnswer(why.into()) }
    pub fn prune(&self) {}
    pub fn instances(&self) -> usize { 0 }
}
