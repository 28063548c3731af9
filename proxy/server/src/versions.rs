//! Plugins with their versions: which one decides, which were before it, and where each came from.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use serde_json::{Value, json};
use weir_config::{Config, Plugin};
use weir_plugin::{Host, Program};

use crate::{
    access_log::rfc3339,
    snapshot::Programs,
    upgrade::{Octets, PluginVersions},
};

/// Versions kept of a plugin, the current one among them.
const KEPT: usize = 8;

/// One version, with what it was made of.
#[derive(Debug, Clone)]
struct Version {
    program: Arc<Program>,
    component: Octets,
}

/// All versions of one plugin, the latest loaded first.
#[derive(Debug, Clone)]
struct Versions {
    config: Plugin,
    /// sha256 of what its file held when it was last read.
    file: String,
    current: Version,
    all: Vec<Version>,
    /// Versions that decided before, the latest last: where a rollback goes.
    former: Vec<Version>,
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
        Self::gather(config, |plugin| self.load_one(host, plugin))
    }

    /// The plugins of `config` at the start, with the versions that another process leaves: they go on as over
    /// a reload. Blocking: reads and compiles.
    ///
    /// # Errors
    /// Every plugin that cannot be loaded, or not as the version that decides in the other process, for people.
    pub fn inherit(host: &Host, config: &Config, left: &BTreeMap<String, PluginVersions>) -> Result<Self, Vec<String>> {
        for name in left.keys().filter(|name| config.plugins.iter().all(|plugin| *plugin.name != ***name)) {
            tracing::info!(plugin = name, "not configured any more, its versions are forgotten");
        }
        Self::gather(config, |plugin| {
            let held = Version::read(host, plugin)?;
            match left.get(&*plugin.name) {
                Some(left) => Versions::inherit(host, plugin, left, held),
                None => Ok(Versions::first(plugin, held)),
            }
        })
    }

    fn gather(config: &Config, load: impl Fn(&Plugin) -> Result<Versions, String>) -> Result<Self, Vec<String>> {
        let mut next = Self::default();
        let mut faults = Vec::new();
        for plugin in &config.plugins {
            match load(plugin) {
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
        let held = Version::read(host, plugin)?;
        let before = self.by_name.get(&plugin.name);
        // Versions made under other limits or grants are not brought back under these.
        let Some(before) = before.filter(|before| has_same_limits(&before.config, plugin)) else {
            return Ok(Versions::first(plugin, held));
        };
        let mut versions = Versions { config: plugin.clone(), ..before.clone() };
        versions.file_holds(held);
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
        versions.add(Version { program, component: component.into() });
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
            Some(start) => versions.all.iter().find(|version| version.sha256().starts_with(start)).cloned(),
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
        self.by_name.iter().map(|(name, versions)| (Arc::clone(name), Arc::clone(&versions.current.program))).collect()
    }

    /// Have instances of the versions that decide ready for this many workers, where a worker would be felt to make
    /// one. Blocking, with the bindings of a snapshot that is about to be in force.
    pub fn prepare(&self, workers: usize) {
        self.by_name.values().for_each(|versions| versions.current.program.prepare(workers));
    }

    /// The files they come from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.by_name.values().map(|versions| versions.config.path.as_path())
    }

    /// For the process that takes the place of this one.
    pub fn belongings(&self) -> BTreeMap<String, PluginVersions> {
        self.by_name.iter().map(|(name, versions)| (name.to_string(), versions.belongings())).collect()
    }

    /// For the admin interface.
    pub fn list(&self) -> Value {
        let plugins = self.order.iter().filter_map(|name| Some((name, self.by_name.get(name)?)));
        let plugins: Vec<Value> = plugins
            .map(|(name, versions)| json!({ "name": &**name, "versions": versions.all.iter().map(|version| describe(&version.program, &versions.current.program)).collect::<Vec<_>>() }))
            .collect();
        json!({ "plugins": plugins })
    }
}

impl Version {
    /// What the plugin's file holds.
    fn read(host: &Host, plugin: &Plugin) -> Result<Self, String> {
        let path = plugin.path.display();
        let component = std::fs::read(&plugin.path).map_err(|error| format!("{path}: {error}"))?;
        let program = host.load(plugin, &component).map_err(|refused| format!("{path}: {refused}"))?;
        Ok(Self { program, component: Octets::from(&*component) })
    }

    fn sha256(&self) -> &str {
        self.program.sha256()
    }
}

impl Versions {
    /// None but what the file holds.
    fn first(plugin: &Plugin, held: Version) -> Self {
        let (file, all) = (held.sha256().to_owned(), vec![held.clone()]);
        Self { config: plugin.clone(), file, current: held, all, former: Vec::new() }
    }

    /// Those of another process, unless they were made under other limits or grants.
    fn inherit(host: &Host, plugin: &Plugin, left: &PluginVersions, held: Version) -> Result<Self, String> {
        let name = &*plugin.name;
        if !terms(plugin).iter().all(|(key, value)| left.terms.get(key).is_none_or(|theirs| theirs == value)) {
            tracing::info!(plugin = name, "limits, grants or path have changed, the file decides");
            return Ok(Self::first(plugin, held));
        }
        let file_decides = held.sha256() != left.file;
        let mut known = HashMap::from([(held.sha256().to_owned(), held.clone())]);
        for (sha256, component) in &left.components {
            if known.contains_key(sha256) {
                continue;
            }
            match host.load(plugin, component) {
                Ok(program) => drop(known.insert(sha256.clone(), Version { program, component: component.clone() })),
                Err(refused) if *sha256 == left.current && !file_decides => {
                    return Err(format!("version {sha256:.12}, which decides, cannot go on: {refused}"));
                }
                Err(refused) => {
                    tracing::warn!(plugin = name, version = sha256, why = %refused, "plugin version cannot go on");
                }
            }
        }
        let of = |names: &[String]| names.iter().filter_map(|name| known.get(name).cloned()).collect();
        let mut versions = Self {
            config: plugin.clone(),
            file: left.file.clone(),
            current: known.get(&left.current).unwrap_or(&held).clone(),
            all: of(&left.all),
            former: of(&left.former),
        };
        versions.file_holds(held);
        Ok(versions)
    }

    fn belongings(&self) -> PluginVersions {
        let names = |versions: &[Version]| versions.iter().map(|version| version.sha256().to_owned()).collect();
        let every = self.all.iter().chain(&self.former).chain([&self.current]);
        PluginVersions {
            terms: terms(&self.config),
            file: self.file.clone(),
            current: self.current.sha256().to_owned(),
            all: names(&self.all),
            former: names(&self.former),
            components: every.map(|version| (version.sha256().to_owned(), version.component.clone())).collect(),
        }
    }

    /// What the file holds decides where it has changed.
    fn file_holds(&mut self, held: Version) {
        if self.file != held.sha256() {
            self.file = held.sha256().to_owned();
            self.add(held);
        }
    }

    fn add(&mut self, version: Version) {
        self.all.retain(|known| known.sha256() != version.sha256());
        self.all.insert(0, version.clone());
        self.all.truncate(KEPT);
        self.decide(version);
    }

    fn decide(&mut self, version: Version) {
        let former = std::mem::replace(&mut self.current, version);
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

/// The same as text, for a process that may know more of them or fewer.
fn terms(plugin: &Plugin) -> BTreeMap<String, String> {
    let terms = [
        ("path", plugin.path.display().to_string()),
        ("deadline", format!("{} ns", plugin.deadline.as_nanos())),
        ("worker-share", plugin.worker_share.to_string()),
        ("check-cpu", format!("{} ns", plugin.check_cpu.as_nanos())),
        ("memory", plugin.memory.0.to_string()),
        ("on-failure", format!("{:?}", plugin.on_failure)),
        ("grants", format!("{:?}", plugin.grants)),
    ];
    terms.map(|(key, value)| (key.to_owned(), value)).into()
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
