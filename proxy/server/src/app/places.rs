//! Whether there is a place for every instance of a plugin.
//!
//! Every worker has an instance of each plugin that decides there, and a plugin of which another version comes has
//! two for a moment. The places are reserved when the process starts.

use std::{collections::HashSet, sync::Arc};

use weir_config::{Config, HealthKind};
use weir_plugin::{Host, HostOptions};

use super::workers;
use crate::cli;

/// Instances of a plugin that are kept for health checks, at most.
const FOR_CHECKS: usize = 4;

/// The host that a configuration asks for.
pub(super) fn host(config: &Config) -> Result<Arc<Host>, Vec<String>> {
    // Twice what is needed, for plugins that a reload adds.
    let instances = needed(config, workers(config)).saturating_mul(2);
    let options = HostOptions {
        cache: config.process.plugin_cache.clone(),
        compiler: cli::compiler(),
        instances: u32::try_from(instances).unwrap_or(u32::MAX),
    };
    Host::try_new(options).map_err(|error| vec![error.to_string()])
}

/// Whether all instances that this configuration may need at a time find a place.
///
/// # Errors
/// They do not: for people.
pub(super) fn check(host: &Host, config: &Config, workers: usize) -> Result<(), Vec<String>> {
    let (needed, Some(room)) = (needed(config, workers), host.instances()) else { return Ok(()) };
    let Some(last) = config.plugins.last().filter(|_| needed > room as usize) else { return Ok(()) };
    let plugins = config.plugins.len();
    let problem = format!(
        "{plugins} plugins on {workers} workers may take {needed} instances at a time, and this process has room for \
         {room}: lower `workers` in [process], or use fewer plugins; after a reload, a restart or `weir upgrade` \
         makes as much room as there can be, which is 12,000"
    );
    Err(vec![config.places.fault("plugins", &last.name, "path", problem).unlabelled()])
}

/// Instances at a time: one a plugin and worker, one a worker for the version that comes, those for checks.
fn needed(config: &Config, workers: usize) -> usize {
    if config.plugins.is_empty() {
        return 0;
    }
    let kinds = config.clusters.iter().filter_map(|cluster| cluster.health.as_ref().map(|health| &health.kind));
    let checking: HashSet<_> = kinds
        .filter_map(|kind| match kind {
            HealthKind::Plugin(binding) => Some(&binding.plugin),
            _ => None,
        })
        .collect();
    (config.plugins.len() + 1) * workers + checking.len() * FOR_CHECKS
}
