//! Plugins with their versions: which one decides, which were before it, and where each came from.

mod loader;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, Weak},
    time::SystemTime,
};

use serde_json::{Value, json};
use weir_config::{Config, Plugin, PluginCompile};
use weir_plugin::{Program, Role, Stored, sha256};

pub use self::loader::{Ahead, Loader, Wanted};
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
    about: Arc<About>,
    component: Octets,
    kept: Kept,
}

/// What is said of a version.
#[derive(Debug)]
struct About {
    sha256: String,
    roles: Vec<Role>,
    size: usize,
    loaded: SystemTime,
}

/// Where the code of a version is that does not decide.
#[derive(Debug, Clone)]
enum Kept {
    /// On disk, and in memory only as long as something else uses it.
    OnDisk { _stays: Stored, program: Weak<Program> },
    /// In memory, since there is no cache.
    InMemory(Arc<Program>),
}

/// All versions of one plugin, the latest loaded first.
#[derive(Debug, Clone)]
struct Versions {
    config: Plugin,
    /// sha256 of what its file held when it was last read.
    file: String,
    current: Version,
    /// The code of the current version.
    program: Arc<Program>,
    all: Vec<Version>,
    /// Versions that decided before, the latest last: where a rollback goes.
    former: Vec<Version>,
}

/// The plugins of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Plugins {
    by_name: HashMap<Arc<str>, Versions>,
    order: Vec<Arc<str>>,
    compile: PluginCompile,
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
    /// that decides now, pushed or not. Blocking: reads, and compiles what was not made ahead.
    ///
    /// # Errors
    /// Every plugin that cannot be loaded, for people.
    pub fn load(&self, loader: &Loader<'_>, config: &Config) -> Result<Self, Vec<String>> {
        Self::gather(config, |plugin| self.load_one(loader, plugin))
    }

    /// Components that [`Plugins::load`] would have to load. Those that cannot be read are left to it. Blocking: reads.
    pub fn wanted(&self, config: &Config) -> Vec<Wanted> {
        let read = config.plugins.iter().filter_map(|plugin| Some((plugin, File::read(plugin).ok()?)));
        let changed = read.filter(|(plugin, file)| self.before(plugin).is_none_or(|before| before.file != file.sha256));
        changed.map(|(plugin, file)| file.wanted(plugin)).collect()
    }

    /// The component that [`Plugins::push`] loads.
    ///
    /// # Errors
    /// No such plugin.
    pub fn wanted_by_push(&self, name: &str, component: &[u8]) -> Result<Wanted, Fault> {
        let plugin = &self.of(name)?.config;
        Ok(Wanted { plugin: plugin.clone(), sha256: sha256(component), component: component.into() })
    }

    /// The component that [`Plugins::rollback`] loads, where its code is not in memory.
    pub fn wanted_by_rollback(&self, name: &str, version: Option<&str>) -> Option<Wanted> {
        let versions = self.of(name).ok()?;
        let earlier = versions.earlier(version).filter(|earlier| earlier.program().is_none())?;
        let (sha256, component) = (earlier.sha256().to_owned(), earlier.component.clone());
        Some(Wanted { plugin: versions.config.clone(), sha256, component })
    }

    /// What compiling a plugin may take.
    pub fn compile(&self) -> PluginCompile {
        self.compile
    }

    /// The plugins of `config` at the start, with the versions that another process leaves: they go on as over
    /// a reload. Blocking: reads and compiles.
    ///
    /// # Errors
    /// Every plugin that cannot be loaded, or not as the version that decides in the other process, for people.
    pub fn inherit(
        loader: &Loader<'_>,
        config: &Config,
        left: &BTreeMap<String, PluginVersions>,
    ) -> Result<Self, Vec<String>> {
        for name in left.keys().filter(|name| config.plugins.iter().all(|plugin| *plugin.name != ***name)) {
            tracing::info!(plugin = name, "not configured any more, its versions are forgotten");
        }
        Self::gather(config, |plugin| {
            let held = File::read(plugin)?.load(loader, plugin)?;
            match left.get(&*plugin.name) {
                Some(left) => Versions::inherit(loader, plugin, left, held),
                None => Ok(Versions::first(plugin, held)),
            }
        })
    }

    fn gather(config: &Config, load: impl Fn(&Plugin) -> Result<Versions, String>) -> Result<Self, Vec<String>> {
        let mut next = Self { compile: config.process.plugin_compile, ..Self::default() };
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

    fn load_one(&self, loader: &Loader<'_>, plugin: &Plugin) -> Result<Versions, String> {
        let file = File::read(plugin)?;
        let Some(before) = self.before(plugin) else {
            return Ok(Versions::first(plugin, file.load(loader, plugin)?));
        };
        let mut versions = Versions { config: plugin.clone(), ..before.clone() };
        if versions.file != file.sha256 {
            versions.file_holds(file.load(loader, plugin)?);
        }
        Ok(versions)
    }

    /// Its versions so far. Those made under other limits or grants are not brought back under these.
    fn before(&self, plugin: &Plugin) -> Option<&Versions> {
        self.by_name.get(&plugin.name).filter(|before| has_same_limits(&before.config, plugin))
    }

    /// The same with another version of one plugin. Blocking: compiles what was not made ahead.
    ///
    /// # Errors
    /// No such plugin, or the component is refused.
    pub fn push(&self, loader: &Loader<'_>, name: &str, component: &Octets) -> Result<Self, Fault> {
        let mut next = self.clone();
        let versions = next.versions(name)?;
        let program = loader.load(&versions.config, &sha256(component), component);
        let program = program.map_err(|refused| Fault::Refused(refused.to_string()))?;
        versions.add(Loaded { version: Version::new(&program, component.clone()), program });
        Ok(next)
    }

    /// The same with an earlier version of one plugin: the one whose sha256 starts so, or the one
    /// before the current one. Blocking: its code comes from the cache.
    ///
    /// # Errors
    /// No such plugin or version.
    pub fn rollback(&self, loader: &Loader<'_>, name: &str, version: Option<&str>) -> Result<Self, Fault> {
        let mut next = self.clone();
        let versions = next.versions(name)?;
        let earlier = versions.earlier(version).cloned().ok_or_else(|| {
            Fault::Unknown(match version {
                Some(version) => format!("plugin {name} has no version {version}: see `weir plugin list`"),
                None => format!("plugin {name} has no version before this one"),
            })
        })?;
        let program = match earlier.program() {
            Some(program) => Ok(program),
            None => loader.load(&versions.config, earlier.sha256(), &earlier.component),
        };
        let program = program.map_err(|refused| Fault::Refused(refused.to_string()))?;
        let earlier = Loaded { version: earlier.found_as(&program), program };
        match version {
            None => versions.go_back(earlier),
            Some(_) => versions.decide(earlier),
        }
        Ok(next)
    }

    fn of(&self, name: &str) -> Result<&Versions, Fault> {
        self.by_name.get(name).ok_or_else(|| self.unknown(name))
    }

    fn versions(&mut self, name: &str) -> Result<&mut Versions, Fault> {
        let unknown = self.unknown(name);
        self.by_name.get_mut(name).ok_or(unknown)
    }

    fn unknown(&self, name: &str) -> Fault {
        Fault::Unknown(match &*self.order {
            [] => format!("there is no plugin {name}: the configuration has none"),
            known => format!("there is no plugin {name}; there is: {}", known.join(", ")),
        })
    }

    /// sha256 of the version that decides.
    pub fn current(&self, name: &str) -> Option<String> {
        self.by_name.get(name).map(|versions| versions.current.sha256().to_owned())
    }

    /// The versions that decide.
    pub fn programs(&self) -> Programs {
        self.by_name.iter().map(|(name, versions)| (Arc::clone(name), Arc::clone(&versions.program))).collect()
    }

    /// Have instances of the versions that decide ready for this many workers, where a worker would be felt to make
    /// one. Blocking, with the bindings of a snapshot that is about to be in force.
    pub fn prepare(&self, workers: usize) {
        self.by_name.values().for_each(|versions| versions.program.prepare(workers));
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
            .map(|(name, versions)| json!({ "name": &**name, "versions": versions.all.iter().map(|version| version.describe(&versions.current)).collect::<Vec<_>>() }))
            .collect();
        json!({ "plugins": plugins })
    }
}

/// What a plugin's file holds.
struct File {
    sha256: String,
    component: Octets,
}

impl File {
    fn read(plugin: &Plugin) -> Result<Self, String> {
        let component = std::fs::read(&plugin.path).map_err(|error| format!("{}: {error}", plugin.path.display()))?;
        Ok(Self { sha256: sha256(&component), component: Octets::from(&*component) })
    }

    fn load(self, loader: &Loader<'_>, plugin: &Plugin) -> Result<Loaded, String> {
        let program = loader.load(plugin, &self.sha256, &self.component);
        let program = program.map_err(|refused| format!("{}: {refused}", plugin.path.display()))?;
        Ok(Loaded { version: Version::new(&program, self.component), program })
    }

    fn wanted(self, plugin: &Plugin) -> Wanted {
        Wanted { plugin: plugin.clone(), sha256: self.sha256, component: self.component }
    }
}

/// A version with its code.
#[derive(Debug, Clone)]
struct Loaded {
    version: Version,
    program: Arc<Program>,
}

impl Version {
    fn new(program: &Arc<Program>, component: Octets) -> Self {
        let about = About {
            sha256: program.sha256().to_owned(),
            roles: program.roles().to_vec(),
            size: program.size(),
            loaded: program.loaded(),
        };
        Self { about: Arc::new(about), component, kept: Kept::of(program) }
    }

    /// The same, once its code is in memory again.
    fn found_as(self, program: &Arc<Program>) -> Self {
        Self { kept: Kept::of(program), ..self }
    }

    fn sha256(&self) -> &str {
        &self.about.sha256
    }

    fn program(&self) -> Option<Arc<Program>> {
        match &self.kept {
            Kept::OnDisk { program, .. } => program.upgrade(),
            Kept::InMemory(program) => Some(Arc::clone(program)),
        }
    }

    fn describe(&self, current: &Self) -> Value {
        json!({
            "sha256": self.sha256(),
            "current": self.sha256() == current.sha256(),
            "roles": self.about.roles.iter().map(|role| role.name()).collect::<Vec<_>>(),
            "size": self.about.size,
            "loaded": rfc3339(self.about.loaded),
        })
    }
}

impl Kept {
    fn of(program: &Arc<Program>) -> Self {
        match program.stored().is_on_disk() {
            true => Self::OnDisk { _stays: program.stored().clone(), program: Arc::downgrade(program) },
            false => Self::InMemory(Arc::clone(program)),
        }
    }
}

impl Versions {
    /// None but what the file holds.
    fn first(plugin: &Plugin, held: Loaded) -> Self {
        let Loaded { version, program } = held;
        let (file, all) = (version.sha256().to_owned(), vec![version.clone()]);
        Self { config: plugin.clone(), file, current: version, program, all, former: Vec::new() }
    }

    /// Those of another process, unless they were made under other limits or grants.
    fn inherit(loader: &Loader<'_>, plugin: &Plugin, left: &PluginVersions, held: Loaded) -> Result<Self, String> {
        let name = &*plugin.name;
        if !terms(plugin).iter().all(|(key, value)| left.terms.get(key).is_none_or(|theirs| theirs == value)) {
            tracing::info!(plugin = name, "limits, grants or path have changed, the file decides");
            return Ok(Self::first(plugin, held));
        }
        let file_decides = held.version.sha256() != left.file;
        let mut current = (held.version.sha256() == left.current).then(|| held.clone());
        let mut known = HashMap::from([(held.version.sha256().to_owned(), held.version.clone())]);
        for (sha256, component) in &left.components {
            if known.contains_key(sha256) {
                continue;
            }
            match loader.load(plugin, sha256, component) {
                Ok(program) => {
                    let version = Version::new(&program, component.clone());
                    known.insert(sha256.clone(), version.clone());
                    if *sha256 == left.current {
                        current = Some(Loaded { version, program });
                    }
                }
                Err(refused) if *sha256 == left.current && !file_decides => {
                    return Err(format!("version {sha256:.12}, which decides, cannot go on: {refused}"));
                }
                Err(refused) => {
                    tracing::warn!(plugin = name, version = sha256, why = %refused, "plugin version cannot go on");
                }
            }
        }
        let of = |names: &[String]| names.iter().filter_map(|name| known.get(name).cloned()).collect();
        let (all, former) = (of(&left.all), of(&left.former));
        let Loaded { version, program } = current.unwrap_or_else(|| held.clone());
        let mut versions =
            Self { config: plugin.clone(), file: left.file.clone(), current: version, program, all, former };
        if file_decides {
            versions.file_holds(held);
        }
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

    /// The one whose sha256 starts so, or the one before the current one.
    fn earlier(&self, version: Option<&str>) -> Option<&Version> {
        match version {
            None => self.former.last(),
            Some(start) => self.all.iter().find(|version| version.sha256().starts_with(start)),
        }
    }

    /// What the file holds decides, now that it has changed.
    fn file_holds(&mut self, held: Loaded) {
        self.file = held.version.sha256().to_owned();
        self.add(held);
    }

    fn add(&mut self, loaded: Loaded) {
        self.all.retain(|known| known.sha256() != loaded.version.sha256());
        self.all.insert(0, loaded.version.clone());
        self.all.truncate(KEPT);
        self.decide(loaded);
    }

    fn decide(&mut self, Loaded { version, program }: Loaded) {
        let former = std::mem::replace(&mut self.current, version);
        self.program = program;
        if former.sha256() != self.current.sha256() {
            self.former.push(former);
        }
        let surplus = self.former.len().saturating_sub(KEPT);
        self.former.drain(..surplus);
    }

    fn go_back(&mut self, Loaded { version, program }: Loaded) {
        self.former.pop();
        (self.current, self.program) = (version, program);
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
