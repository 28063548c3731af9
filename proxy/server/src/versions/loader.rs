//! Where programs come from: made ahead, while nothing waits for it, or made now.

use std::{collections::HashMap, sync::Arc};

use weir_config::{Plugin, PluginCompile};
use weir_plugin::{CompileTerms, Host, Program, Refused};

use super::has_same_limits;
use crate::upgrade::Octets;

/// A component that is to be loaded as a version of a plugin.
#[derive(Debug)]
pub struct Wanted {
    /// Under which limits and grants.
    pub plugin: Plugin,
    /// Of the component.
    pub sha256: String,
    /// The component.
    pub component: Octets,
}

/// What came of a component, with the plugin as it was configured then.
type Made = (Plugin, Result<Arc<Program>, Refused>);

/// What was loaded ahead, by the plugin's name and the component's sha256.
#[derive(Debug, Default)]
pub struct Ahead(HashMap<(Arc<str>, String), Made>);

impl Ahead {
    /// Loads all of them. Blocking: compiles.
    pub fn make(host: &Host, wanted: Vec<Wanted>, terms: &CompileTerms) -> Self {
        let made = wanted.into_iter().map(|Wanted { plugin, sha256, component }| {
            let program = host.load_under(&plugin, &component, terms);
            ((Arc::clone(&plugin.name), sha256), (plugin, program))
        });
        Self(made.collect())
    }
}

/// Loads programs.
#[derive(Clone, Copy)]
pub struct Loader<'a> {
    /// Compiles.
    pub host: &'a Host,
    /// What compiling may take.
    pub compile: PluginCompile,
    /// What need not be loaded any more.
    pub ahead: &'a Ahead,
}

impl Loader<'_> {
    /// The program of a component: the one made ahead, unless the plugin is configured otherwise by now.
    ///
    /// # Errors
    /// As [`Host::load`].
    pub fn load(&self, plugin: &Plugin, sha256: &str, component: &[u8]) -> Result<Arc<Program>, Refused> {
        let made = self.ahead.0.get(&(Arc::clone(&plugin.name), sha256.to_owned()));
        match made.filter(|(config, _)| has_same_limits(config, plugin)) {
            Some((_, program)) => program.clone(),
            None => {
                let terms = CompileTerms { limits: self.compile, ..CompileTerms::default() };
                self.host.load_under(plugin, component, &terms)
            }
        }
    }
}
