//! Plugins with their versions: which one decides, which were before it, and where each came from.

use std::{collections::HashMap, path::Path, sync::Arc};

use serde_json::{Value, json};
use weir_config::{Config, Plugin};
use weir_plugin::{Host, Program};

use crate::{access_log::rfc3339, snapshot::Programs};

/// Versions kept of a plugin, the current one among them.
const KEPT: usize = 8;

/// All versions of one plugin, the latest loaded first.
#[derive(Debug, Clone)]
struct Versions {
    config: Plugin,
    /// sha256 of what its file held when it was last read.
    file: String,
    current: Arc<Program>,
    all: Vec<Arc<Program>>,
    /// Versions that decided before, the latest last: where a rollback goes.
    former: Vec<Arc<Program>>,
}

/// The plugins of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Plugins {
    by_name: HashMap<Arc<str>, Versions>,
    order: Vec<Arc<str>>,
}

/// Why a version cannot be taken up.
#[derive(Debug)]
pub enum Fault {
    /// There is no plugin or version of this name.
    Unknown(String),
    /// The component is refused.
    Refused(String),
}

impl Plugins {
    /// The plugins of `config`: one whose file and settings are as before goes on with the version
    /// that decides now, pushed or not. Blocking: reads and compiles.
    ///
    /// # Errors
    /// Every plugin that cannot be loaded, for people.
    pub fn load(&self, host: &Host, config: &Config) -> Result<Self, Vec<String>> {
        let mut next = Self::default();
        let mut faults = Vec::new();
        for plugin in &config.plugins {
            match self.load_one(host, plugin) {
                Ok(versions) => {
                    next.order.push(Arc::clone(&plugin.name));
                    next.by_name.insert(Arc::clone(&plugin.name), versions);
                }
                Err(fault) => {
                    let problem = format!("plugin {}: {fault}", plugin.name);
                    faults.push(config.places.fault("plugins", &plugin.name, "path", problem).unlabelled());
                }
            }
        }
        if faults.is_empty() { Ok(next) } else { Err(faults) }
    }

    fn load_one(&self, host: &Host, plugin: &Plugin) -> Result<Versions, String> {
        let component = std::fs::read(&plugin.path).map_err(|error| format!("{}: {error}", plugin.path.display()))?;
        let program =
            host.load(plugin, &component).map_err(|refused| format!("{}: {refused}", plugin.path.display()))?;
        let before = self.by_name.get(&plugin.name);
        // Versions made under other limits or grants are not brought back under these.
        let Some(before) = before.filter(|before| has_same_limits(&before.config, plugin)) else {
            let (file, all) = (program.sha256().to_owned(), vec![Arc::clone(&program)]);
            return Ok(Versions { config: plugin.clone(), file, current: program, all, former: Vec::new() });
        };
        let mut versions = Versions { config: plugin.clone(), ..before.clone() };
        if versions.file != program.sha256() {
            versions.file = program.sha256().to_owned();
            versions.add(program);
        }
        Ok(versions)
    }

    /// The same with another version of one plugin, and that version. Blocking: compiles.
    ///
    /// # Errors
    /// No such plugin, or the component is refused.
    pub fn push(&self, host: &Host, name: &str, component: &[u8]) -> Result<Self, Fault> {
        let mut next = self.clone();
        let versions = next.versions(name)?;
        let program = host.load(&versions.config, component).map_err(|refused| Fault::Refused(refused.to_string()))?;
        versions.add(program);
        Ok(next)
    }

    /// The same with an earlier version of one plugin: the one whose sha256 starts so, or the one
    /// before the current one.
    ///
    /// # Errors
    /// No such plugin or version.
    pub fn rollback(&self, name: &str, version: Option<&str>) -> Result<Self, Fault> {
        let mut next = self.clone();
        let versions = next.versions(name)?;
        let earlier = match version {
            None => versions.former.pop(),
            Some(start) => versions.all.iter().find(|program| program.sha256().starts_with(start)).cloned(),
        };
        let earlier = earlier.ok_or_else(|| {
            Fault::Unknown(match version {
                Some(version) => format!("plugin {name} has no version {version}: see `weir plugin list`"),
                None => format!("plugin {name} has no version before this one"),
            })
        })?;
        match version {
            None => versions.current = earlier,
            Some(_) => versions.decide(earlier),
        }
        Ok(next)
    }

    fn versions(&mut self, name: &str) -> Result<&mut Versions, Fault> {
        let unknown = match &*self.order {
            [] => format!("there is no plugin {name}: the configuration has none"),
            known => format!("there is no plugin {name}; there is: {}", known.join(", ")),
        };
        self.by_name.get_mut(name).ok_or(Fault::Unknown(unknown))
    }

    /// sha256 of the version that decides.
    pub fn current(&self, name: &str) -> Option<String> {
        self.by_name.get(name).map(|versions| versions.current.sha256().to_owned())
    }

    /// The versions that decide.
    pub fn programs(&self) -> Programs {
        self.by_name.iter().map(|(name, versions)| (Arc::clone(name), Arc::clone(&versions.current))).collect()
    }

    /// The files they come from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.by_name.values().map(|versions| versions.config.path.as_path())
    }

    /// For the admin interface.
    pub fn list(&self) -> Value {
        let plugins = self.order.iter().filter_map(|name| Some((name, self.by_name.get(name)?)));
        let plugins: Vec<Value> = plugins
            .map(|(name, versions)| json!({ "name": &**name, "versions": versions.all.iter().map(|program| describe(program, &versions.current)).collect::<Vec<_>>() }))
            .collect();
        json!({ "plugins": plugins })
    }
}

impl Versions {
    fn add(&mut self, program: Arc<Program>) {
        self.all.retain(|known| known.sha256() != program.sha256());
        self.all.insert(0, Arc::clone(&program));
        self.all.truncate(KEPT);
        self.decide(program);
    }

    fn decide(&mut self, program: Arc<Program>) {
        let former = std::mem::replace(&mut self.current, program);
        if former.sha256() != self.current.sha256() {
            self.former.push(former);
        }
        let surplus = self.former.len().saturating_sub(KEPT);
        self.former.drain(..surplus);
    }
}

/// Settings are each binding's own: everything else is part of a version.
fn has_same_limits(before: &Plugin, now: &Plugin) -> bool {
    Plugin { settings: Value::Null, ..before.clone() } == Plugin { settings: Value::Null, ..now.clone() }
}

fn describe(program: &Arc<Program>, current: &Arc<Program>) -> Value {
    json!({
        "sha256": program.sha256(),
        "current": Arc::ptr_eq(program, current),
        "roles": program.roles().iter().map(|role| role.name()).collect::<Vec<_>>(),
        "size": program.size(),
        "loaded": rfc3339(program.loaded()),
    })
}
