//! What keeps a session on its endpoint: a cookie that carries the answer itself, or a table from
//! session key to endpoint for keys that a plugin finds in the request.

mod cookie;
mod table;

pub(crate) use cookie::check_secret;
pub use cookie::{CookieAffinity, CookieSession};
pub use table::AffinityTable;

use std::sync::Arc;

use weir_config::AffinityKind;

/// Affinity of a cluster.
#[derive(Debug)]
pub enum Affinity {
    /// By a cookie of ours.
    Cookie(CookieAffinity),
    /// By keys that a plugin names.
    Table(AffinityTable),
}

impl Affinity {
    /// The affinity of a cluster, with the sessions of the previous one wherever they still mean
    /// the same.
    pub(crate) fn build(
        cluster: &weir_config::Cluster,
        previous: Option<&weir_config::Cluster>,
        present: Option<&Arc<Self>>,
    ) -> Option<Arc<Self>> {
        let config = cluster.affinity.as_ref()?;
        let before = previous.and_then(|previous| previous.affinity.as_ref());
        if let (Some(before), Some(present)) = (before, present)
            && continues(before, config)
        {
            return Some(Arc::clone(present));
        }
        Some(Arc::new(match &config.kind {
            AffinityKind::Plugin(_) => Self::Table(AffinityTable::new(config.capacity)),
            AffinityKind::Cookie { .. } => {
                let kept = present.and_then(|present| present.as_cookie());
                Self::Cookie(CookieAffinity::build(cluster, config, kept))
            }
        }))
    }

    fn as_cookie(&self) -> Option<&CookieAffinity> {
        match self {
            Self::Cookie(cookie) => Some(cookie),
            Self::Table(_) => None,
        }
    }
}

/// Whether sessions of a table known under `before` are the same sessions under `now`: keys of the
/// same plugin with the same settings, in a table of the same size.
fn continues(before: &weir_config::Affinity, now: &weir_config::Affinity) -> bool {
    let plugins = (&before.kind, &now.kind);
    match plugins {
        (AffinityKind::Plugin(before_binding), AffinityKind::Plugin(binding)) => {
            before_binding == binding && before.capacity == now.capacity
        }
        _ => false,
    }
}
