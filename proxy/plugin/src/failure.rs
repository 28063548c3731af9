//! Why a decision did not come about, why a plugin was refused, and why there is no host.

use std::path::PathBuf;

/// A decision that a plugin owed and did not give. Its instance is gone; the next call gets a new one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The guest trapped: a panic, an access out of bounds, its stack used up.
    #[error("the plugin trapped")]
    Trap,
    /// It did not answer within its deadline.
    #[error("the plugin passed its deadline")]
    Deadline,
    /// It ended for want of memory.
    #[error("the plugin reached its memory limit")]
    Memory,
    /// It answered what cannot be done.
    #[error("the plugin answered badly: {0}")]
    BadAnswer(String),
    /// There was no instance to ask.
    #[error("the plugin could not be started: {0}")]
    Start(String),
    /// It was not asked.
    #[error("the plugin was not asked: {0}")]
    Skipped(Skip),
}

/// Why a plugin is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Skip {
    /// The binding has failed too often in a row.
    #[error("it failed too often in a row")]
    Breaker,
    /// The request has spent its time for plugins, or is over.
    #[error("the request has spent its time for plugins")]
    Budget,
    /// The plugin has had its share of the worker's time.
    #[error("it has had its share of the worker's time")]
    Share,
    /// Its instance is being made, beside the traffic because that takes long.
    #[error("its instance is not ready yet")]
    NotReady,
}

impl Skip {
    pub(crate) const ALL: [Self; 4] = [Self::Breaker, Self::Budget, Self::Share, Self::NotReady];

    /// As logs and metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::Budget => "budget",
            Self::Share => "share",
            Self::NotReady => "not-ready",
        }
    }
}

impl Failure {
    /// The kinds that are counted as failures, in the order of [`Failure::index`].
    pub(crate) const KINDS: [&'static str; 5] = ["trap", "deadline", "memory", "bad-answer", "start"];

    /// Its kind as logs and metrics name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::BadAnswer(_) => "bad-answer",
            Self::Start(_) => "start",
            Self::Skipped(skip) => skip.name(),
        }
    }

    /// None for what is no failure of a call.
    pub(crate) fn index(&self) -> Option<usize> {
        match self {
            Self::Trap => Some(0),
            Self::Deadline => Some(1),
            Self::Memory => Some(2),
            Self::BadAnswer(_) => Some(3),
            Self::Start(_) => Some(4),
            Self::Skipped(_) => None,
        }
    }
}

/// Why a component or a binding is not taken. The text is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not WebAssembly, a core module, or damaged.
    #[error("{0}")]
    NotAComponent(String),
    /// It imports what a plugin may not have, or what it was not granted.
    #[error("{}", .0.join("; "))]
    Imports(Vec<String>),
    /// It is made of more than is compiled, or compiling it takes more than is allowed.
    #[error("{0}")]
    TooLarge(String),
    /// Nothing waits for it any more.
    #[error("it is not wanted any more")]
    Cancelled,
    /// It was made for a contract of another version.
    #[error("contract version {found}, this Weir speaks {spoken}")]
    Contract {
        /// The version of the component.
        found: String,
        /// Ours.
        spoken: &'static str,
    },
    /// It exports nothing that could decide.
    #[error("exports no role: a plugin exports weir:plugin/lifecycle and one of {0}")]
    NoRole(&'static str),
    /// It is bound where it has nothing to say.
    #[error("has not the role `{wanted}` (it has: {has})")]
    MissingRole {
        /// The role of the binding.
        wanted: &'static str,
        /// Roles of the component.
        has: String,
    },
    /// `configure` said no.
    #[error("refuses its settings: {0}")]
    Settings(String),
    /// It failed while it was started for a trial.
    #[error("{0}")]
    Failed(#[from] Failure),
    /// Our own limits or machinery.
    #[error("{0}")]
    Host(String),
}

/// Why the host could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The engine refused its settings or could not reserve address space.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
    /// The folder for compiled plugins was named and cannot be used.
    #[error("plugin cache {}: {problem}", path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}
