//! One line of the process log for every change and for every change that is refused: the caller, where it
//! connects from, the action, and the state of its subject before and after.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Answer, access::Caller};

/// Why a reload failed.
pub const REFUSED: &str = "the configuration was refused";
/// Refused changes that are logged in a second.
const DENIED: u32 = 20;

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A plugin by name.
    Plugin(String),
    /// A certificate by name.
    Certificate(String),
    /// An endpoint: its cluster and address.
    Endpoint(String, String),
    /// The rollout of a route.
    Rollout(String),
    /// A certificate of an authority.
    Order(String),
    /// The configuration.
    Configuration,
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plugin(name) => write!(f, "plugin {name}"),
            Self::Certificate(name) | Self::Order(name) => write!(f, "certificate {name}"),
            Self::Endpoint(cluster, address) => write!(f, "endpoint {cluster}/{address}"),
            Self::Rollout(route) => write!(f, "rollout {route}"),
            Self::Configuration => f.write_str("configuration"),
        }
    }
}

/// A change that a caller asks for.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) caller: Caller,
    pub(super) action: &'static str,
    pub(super) subject: Subject,
}

impl Change {
    /// After it was done or refused.
    pub(super) fn log(&self, before: &Value, after: &Value, outcome: &Answer) {
        let why = outcome.as_ref().err().map(|error| match self.subject {
            // Its faults, which quote the file, are told once.
            Subject::Configuration => REFUSED,
            _ => &*error.message,
        });
        line(self, before, after, if why.is_some() { "failed" } else { "done" }, why);
    }

    /// The caller may not do it. Callers that may nothing must not fill the log.
    pub(super) fn denied(&self, why: &str) {
        static WINDOW: Mutex<Option<(Instant, u32)>> = Mutex::new(None);
        let mut window = WINDOW.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (began, logged) = window.filter(|(began, _)| now - *began < Duration::from_secs(1)).unwrap_or((now, 0));
        *window = Some((began, logged.saturating_add(1)));
        if logged >= DENIED {
            return;
        }
        line(self, &Value::Null, &Value::Null, "denied", Some(why));
    }
}

fn line(change: &Change, before: &Value, after: &Value, outcome: &'static str, why: Option<&str>) {
    let Change { caller, action, subject } = change;
    tracing::info!(
        target: "weir::audit",
        who = caller.who,
        role = caller.role.as_str(),
        from = caller.from,
        action,
        subject = %subject,
        before = %before,
        after = %after,
        outcome,
        why,
        "audit"
    );
}

/// A change that comes from elsewhere than the admin interface, such as a signal.
pub fn other(who: &str, action: &'static str, subject: &str, outcome: Result<String, String>) {
    let (done, after, why) = match outcome {
        Ok(after) => ("done", Some(after), None),
        Err(why) => ("failed", None, Some(why)),
    };
    tracing::info!(target: "weir::audit", who, action, subject, after, outcome = done, why, "audit");
}
