//! What a component wants and what it is made of, looked at before anything of it is compiled.
//!
//! Its size says little of what compiling it takes: a component that instantiates another one twice, which does
//! the same in turn, doubles with every level. So instances are counted as often as they come to be.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, Instance, Parser, Payload,
};
use weir_config::{Grant, PluginCompile};

use crate::{
    Refused,
    contract::{PACKAGE, VERSION},
    imports::{Needs, grant_of, interface_of},
};

/// The first eight bytes of a component and of a core module.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Most bytes of a component.
const BYTES: usize = 256 << 20;
/// Most core instances that come to be when a component is started: as many as the engine has places for.
const INSTANCES: u64 = 64;
/// Most components that are instantiated within a component.
const NESTED: u64 = 1_000;
/// Most functions that pass from one component or module to another, over all instances.
const CROSSINGS: u64 = 20_000;
/// Most functions with a body, over all modules.
const FUNCTIONS: u64 = 200_000;
/// Most components and modules around one another.
const DEPTH: usize = 32;
/// Memory that a byte of a function's body takes while it is compiled, roughly, when all of the body is one
/// straight piece.
const MEMORY_A_BYTE: u64 = 2_048;

/// Say what is wrong with bytes that are no component at all.
pub(crate) fn check_bytes(bytes: &[u8]) -> Result<(), Refused> {
    let problem = match bytes {
        _ if bytes.starts_with(COMPONENT) => return Ok(()),
        _ if bytes.starts_with(MODULE) => {
            "is a core module, not a component: build it with the SDK, or wrap it with \
             `wasm-tools component new`"
        }
        _ => "is not WebAssembly",
    };
    Err(Refused::NotAComponent(problem.into()))
}

/// Refuse a component of another contract, one that wants what it may not have (all of it at once), and one that
/// is made of more than can be compiled.
pub(crate) fn check(bytes: &[u8], plugin: &str, grants: &[Grant], compile: &PluginCompile) -> Result<(), Refused> {
    if bytes.len() > BYTES {
        return Err(too_much(format!("has {} bytes", bytes.len()), BYTES as u64));
    }
    let mut survey = Survey { longest: compile.memory.0 / MEMORY_A_BYTE, ..Survey::default() };
    for payload in Parser::new(0).parse_all(bytes) {
        survey.take(payload.map_err(damaged)?)?;
    }
    check_names(&survey, plugin, grants)?;
    survey.check()
}

fn check_names(survey: &Survey<'_>, plugin: &str, grants: &[Grant]) -> Result<(), Refused> {
    let mut names = survey.imports.iter().chain(&survey.exports);
    if let Some(found) = names.find_map(|name| foreign_version(name)) {
        return Err(Refused::Contract { found: found.into(), spoken: VERSION });
    }
    let missing = survey.imports.iter().filter_map(|name| match grant_of(interface(name)?)? {
        Needs::Grant(grant) => (!grants.contains(&grant)).then_some(grant),
        Needs::Nothing => None,
    });
    // The key takes the place of what is granted by default, so that it has to name all of it.
    let wanted: Vec<&str> = grants.iter().copied().chain(missing).map(interface_of).collect();
    let remedy = format!("set grants = {wanted:?} in [plugins.{plugin}]");
    let problems: Vec<_> = survey.imports.iter().filter_map(|name| problem(name, &remedy, grants)).collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Refused::Imports(problems)),
    }
}

/// The version of the contract that a name belongs to, if it isn't ours.
fn foreign_version(name: &str) -> Option<&str> {
    let (_, version) = name.strip_prefix(PACKAGE)?.split_once('@')?;
    let minor = |version: &str| version.rsplit_once('.').map(|(minor, _)| minor.to_owned());
    (minor(version) != minor(VERSION)).then_some(version)
}

/// The interface of ours that a name is of.
fn interface(name: &str) -> Option<&str> {
    name.strip_prefix(PACKAGE)?.split('@').next()
}

/// Why this import cannot be satisfied.
fn problem(name: &str, remedy: &str, grants: &[Grant]) -> Option<String> {
    let Some(interface) = interface(name) else {
        return Some(format!("imports {name}: a plugin may import only {PACKAGE}..."));
    };
    match grant_of(interface) {
        None => Some(format!("imports {name}, which this Weir has not")),
        Some(Needs::Grant(grant)) if !grants.contains(&grant) => {
            Some(format!("imports {PACKAGE}{interface}, which is not granted: {remedy}"))
        }
        Some(_) => None,
    }
}

fn damaged(error: wasmparser::BinaryReaderError) -> Refused {
    Refused::NotAComponent(format!("is not a valid component: {error}"))
}

fn too_much(what: String, most: u64) -> Refused {
    Refused::TooLarge(format!("{what}: a component may have at most {most}"))
}

/// What comes to be with an instance of a component.
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    instances: u64,
    nested: u64,
    crossings: u64,
}

impl Weight {
    fn add(&mut self, other: Self) {
        self.instances = self.instances.saturating_add(other.instances);
        self.nested = self.nested.saturating_add(other.nested);
        self.crossings = self.crossings.saturating_add(other.crossings);
    }
}

/// A component or a module that is being read.
#[derive(Debug, Default)]
struct Scope {
    is_module: bool,
    /// Components that it knows; none is one that comes from elsewhere.
    components: Vec<Option<Weight>>,
    weight: Weight,
}

/// What has been seen of a component.
#[derive(Default)]
struct Survey<'a> {
    /// Names that the outermost component imports and exports.
    imports: Vec<&'a str>,
    exports: Vec<&'a str>,
    scopes: Vec<Scope>,
    /// Of the outermost component.
    weight: Weight,
    functions: u64,
    /// Most bytes of a function's body.
    longest: u64,
    /// The first that has more.
    too_long: Option<u64>,
}

impl<'a> Survey<'a> {
    fn take(&mut self, payload: Payload<'a>) -> Result<(), Refused> {
        let outermost = self.scopes.len() == 1;
        match payload {
            Payload::Version { .. } if self.scopes.is_empty() => self.scopes.push(Scope::default()),
            Payload::ComponentSection { .. } => self.enter(false)?,
            Payload::ModuleSection { .. } => self.enter(true)?,
            Payload::End(_) => self.leave(),
            Payload::CodeSectionEntry(body) => self.function(body.range().len() as u64),
            Payload::InstanceSection(section) => {
                for instance in section {
                    let is_started = matches!(instance.map_err(damaged)?, Instance::Instantiate { .. });
                    self.weigh(Weight { instances: u64::from(is_started), ..Weight::default() });
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                self.weigh(Weight { crossings: u64::from(section.count()), ..Weight::default() });
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance.map_err(damaged)? {
                        self.instantiate(component_index)?;
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    self.alias(&alias.map_err(damaged)?);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import.map_err(damaged)?;
                    self.imports.extend(outermost.then_some(import.name.name));
                    self.know(import.ty.kind(), None);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export.map_err(damaged)?;
                    self.exports.extend(outermost.then_some(export.name.name));
                    let exported = self.component(0, export.index);
                    self.know(export.kind, exported);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn enter(&mut self, is_module: bool) -> Result<(), Refused> {
        if self.scopes.len() >= DEPTH {
            return Err(too_much("has components within components".to_owned(), DEPTH as u64));
        }
        self.scopes.push(Scope { is_module, ..Scope::default() });
        Ok(())
    }

    fn leave(&mut self) {
        let Some(Scope { is_module, weight, .. }) = self.scopes.pop() else { return };
        match self.scopes.last_mut() {
            Some(around) if !is_module => around.components.push(Some(weight)),
            Some(_) => {}
            None => self.weight = weight,
        }
    }

    fn function(&mut self, bytes: u64) {
        self.functions += 1;
        if bytes > self.longest {
            self.too_long.get_or_insert(bytes);
        }
    }

    fn weigh(&mut self, weight: Weight) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.weight.add(weight);
        }
    }

    fn instantiate(&mut self, index: u32) -> Result<(), Refused> {
        let Some(mut weight) = self.component(0, index) else {
            let what = "instantiates a component that it is given: a plugin may instantiate only its own";
            return Err(Refused::TooLarge(what.to_owned()));
        };
        weight.add(Weight { nested: 1, ..Weight::default() });
        self.weigh(weight);
        Ok(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) {
        match *alias {
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                let outer = self.component(count, index);
                self.know(ComponentExternalKind::Component, outer);
            }
            ComponentAlias::InstanceExport { kind, .. } => self.know(kind, None),
            _ => {}
        }
    }

    /// A component that the scope knows which is so many levels up.
    fn component(&self, levels: u32, index: u32) -> Option<Weight> {
        let place = self.scopes.len().checked_sub(levels as usize + 1)?;
        *self.scopes.get(place)?.components.get(index as usize)?
    }

    fn know(&mut self, kind: ComponentExternalKind, component: Option<Weight>) {
        if kind == ComponentExternalKind::Component
            && let Some(scope) = self.scopes.last_mut()
        {
            scope.components.push(component);
        }
    }

    fn check(&self) -> Result<(), Refused> {
        if let Some(bytes) = self.too_long {
            return Err(Refused::TooLarge(format!(
                "has a function of {bytes} bytes: compiling it may take more memory than `memory` of \
                 `plugin-compile` in [process] allows, which is enough for {}",
                self.longest
            )));
        }
        let Weight { instances, nested, crossings } = self.weight;
        for (count, most, what) in [
            (instances, INSTANCES, "core instances"),
            (nested, NESTED, "instances of components within it"),
            (crossings, CROSSINGS, "functions between its instances"),
            (self.functions, FUNCTIONS, "functions"),
        ] {
            if count > most {
                return Err(too_much(format!("has {count} {what}"), most));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
