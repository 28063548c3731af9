//! What a component wants and what it offers, looked at before any of it runs.

use wasmtime::{Engine, component::Component};
use weir_config::Grant;

use crate::{
    Refused,
    contract::{PACKAGE, VERSION},
    imports::{Needs, grant_of},
};

/// The first eight bytes of a component and of a core module.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

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

/// Refuse a component of another contract, and one that wants what it may not have: all of it at once.
pub(crate) fn check(component: &Component, engine: &Engine, plugin: &str, grants: &[Grant]) -> Result<(), Refused> {
    let ty = component.component_type();
    let exports = ty.exports(engine).map(|(name, _)| name);
    let mut names = ty.imports(engine).map(|(name, _)| name).chain(exports);
    if let Some(found) = names.find_map(foreign_version) {
        return Err(Refused::Contract { found: found.into(), spoken: VERSION });
    }
    let problems: Vec<_> = ty.imports(engine).filter_map(|(name, _)| problem(name, plugin, grants)).collect();
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

/// Why this import cannot be satisfied.
fn problem(name: &str, plugin: &str, grants: &[Grant]) -> Option<String> {
    let Some(ours) = name.strip_prefix(PACKAGE) else {
        return Some(format!("imports {name}: a plugin may import only {PACKAGE}..."));
    };
    let interface = ours.split('@').next().unwrap_or(ours);
    match grant_of(interface) {
        None => Some(format!("imports {name}, which this Weir has not")),
        Some(Needs::Grant(grant)) if !grants.contains(&grant) => Some(format!(
            "imports {PACKAGE}{interface}, which is not granted: add grants = [\"{interface}\"] \
             to [plugins.{plugin}]"
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_versions_are_ours() {
        assert_eq!(foreign_version("weir:plugin/kv@0.1.7"), None);
        assert_eq!(foreign_version("weir:plugin/kv@0.2.0"), Some("0.2.0"));
        assert_eq!(foreign_version("wasi:cli/stdout@0.2.0"), None);
    }
}
