//! What keeps a session on its endpoint: a mark in a cookie that carries the answer itself, or a table
//! from the key of a session to its endpoint.
//!
//! Both know sessions within a *scope*, which whoever asks gives along: what was kept under one scope
//! means nothing under another. So the sessions of tenants stay apart even where they share an affinity.

mod secret;

mod cookie;
mod table;

pub use cookie::{CookieAffinity, CookieSession, prefixed, unprefixed};
pub use secret::{ProcessSecret, inherit_secret, process_secret};
pub use table::{AffinityTable, Kept, Key};

use std::{sync::Arc, time::Duration};

use weir_config::AffinityKind;

/// Longest time a session is given, so that no moment overflows: a hundred years.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Whose sessions are kept; their marks are sealed with a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// A cluster of this name.
    Cluster(&'a str),
    /// A tenant of this name, over all clusters.
    Tenant(&'a str),
}

/// What keeps sessions.
#[derive(Debug)]
pub enum Affinity {
    /// By a mark of ours.
    Cookie(CookieAffinity),
    /// By keys.
    Table(AffinityTable),
}

impl Affinity {
    /// Whether everything outside the configuration that [`Affinity::build`] reads is there: the secret.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn check(config: &weir_config::Affinity) -> Result<(), String> {
        cookie::check_secret(config)
    }

    /// The affinity of a configuration, with the sessions of the previous one wherever they still mean
    /// the same.
    pub fn build(
        owner: Owner<'_>,
        config: &weir_config::Affinity,
        before: Option<(&weir_config::Affinity, &Arc<Self>)>,
    ) -> Arc<Self> {
        if let Some((before, present)) = before
            && continues(before, config)
            && let Self::Table(table) = &**present
        {
            return match table.capacity() == config.capacity {
                true => Arc::clone(present),
                false => Arc::new(Self::Table(table.with_capacity(config.capacity))),
            };
        }
        Arc::new(match &config.kind {
            AffinityKind::Cookie(cookie) => Self::Cookie(CookieAffinity::build(owner, config, cookie)),
            AffinityKind::Key { .. } | AffinityKind::Plugin(_) => Self::Table(AffinityTable::new(config.capacity)),
        })
    }

    /// Its table, where it has one.
    pub fn table(&self) -> Option<&AffinityTable> {
        match self {
            Self::Cookie(_) => None,
            Self::Table(table) => Some(table),
        }
    }
}

/// Whether sessions of a table known under `before` are the same sessions under `now`: known by the
/// same values, or named by the same plugin, whatever its settings are.
fn continues(before: &weir_config::Affinity, now: &weir_config::Affinity) -> bool {
    match (&before.kind, &now.kind) {
        (AffinityKind::Key { by: before, .. }, AffinityKind::Key { by, .. }) => before == by,
        (AffinityKind::Plugin(before), AffinityKind::Plugin(binding)) => before.plugin == binding.plugin,
        _ => false,
    }
}
