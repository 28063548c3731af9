//! `cargo xtask guests`: every plugin and fixture guest as a component in `target/guests`.
//!
//! Guests live in workspaces of their own and share one build folder, so a run in which nothing changed
//! takes a second. A component is written only when its bytes changed.

mod hostile;
mod toolchain;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use wit_component::{ComponentEncoder, DecodedWasm};

use crate::{
    paths,
    process::{cargo, output, run as execute},
};
use toolchain::{TARGET, Toolchain};

/// All that a guest may import.
const CONTRACT: &str = "weir:plugin/";

/// Build every guest.
///
/// # Errors
/// When no toolchain for guests is here, a guest does not build, or a plugin imports what no host offers.
pub fn run() -> Result<()> {
    let toolchain = Toolchain::find_or_install()?;
    for (folder, ours) in [("plugins", true), ("tests/guests", false)] {
        let workspace = paths::root().join(folder);
        if workspace.join("Cargo.toml").is_file() {
            build(&toolchain, &workspace, ours).with_context(|| format!("cannot build the guests in {folder}"))?;
        }
    }
    hostile::build()
}

fn build(toolchain: &Toolchain, workspace: &Path, ours: bool) -> Result<()> {
    let folder = paths::root().join("target/guest-build");
    let mut command = toolchain.cargo_build();
    command.current_dir(workspace).arg("--workspace").arg("--target-dir").arg(&folder);
    execute(&mut command)?;
    for name in guest_names(workspace)? {
        let module = folder.join(TARGET).join("release").join(format!("{}.wasm", name.replace('-', "_")));
        let component = encode(&module).with_context(|| format!("cannot make a component of {}", module.display()))?;
        let (imports, exports) = interfaces(&component)?;
        if let (true, Some(foreign)) = (ours, imports.iter().find(|name| !name.starts_with(CONTRACT))) {
            bail!("{name} imports {foreign}, which no host offers");
        }
        let file = paths::guests().join(format!("{name}.wasm"));
        write(&file, &component)?;
        println!("{:<24} {:>5} KiB  {}", name, component.len().div_ceil(1024), roles(&exports));
    }
    Ok(())
}

/// Packages with a `cdylib`, as cargo names them.
fn guest_names(workspace: &Path) -> Result<Vec<String>> {
    let mut command = cargo();
    command.current_dir(workspace).args(["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&output(&mut command)?)?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("cargo metadata names no packages")?;
    let guests = packages.iter().filter(|package| is_guest(package));
    Ok(guests.filter_map(|package| Some(package.get("name")?.as_str()?.to_owned())).collect())
}

fn is_guest(package: &Value) -> bool {
    let targets = package.get("targets").and_then(Value::as_array).into_iter().flatten();
    targets.filter_map(|target| target.get("crate_types")?.as_array()).flatten().any(|kind| kind == "cdylib")
}

fn encode(module: &Path) -> Result<Vec<u8>> {
    let core = fs::read(module)?;
    ComponentEncoder::default().validate(true).module(&core)?.encode()
}

/// Names of what a component imports and exports.
fn interfaces(component: &[u8]) -> Result<(Vec<String>, Vec<String>)> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component)? else {
        bail!("this is not a component");
    };
    let world = resolve.worlds.get(world).context("the component has no world")?;
    let names = |items: Vec<_>| items.into_iter().map(|key| resolve.name_world_key(key)).collect();
    Ok((names(world.imports.keys().collect()), names(world.exports.keys().collect())))
}

fn roles(exports: &[String]) -> String {
    let names = exports.iter().filter_map(|name| name.strip_prefix(CONTRACT)?.split('@').next());
    names.filter(|name| *name != "lifecycle").collect::<Vec<_>>().join(", ")
}

/// All at once, and only when it changed: someone may be watching the file.
fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let partial: PathBuf = file.with_extension(format!("{}.partial", std::process::id()));
    fs::create_dir_all(file.parent().context("a file without a folder")?)?;
    fs::write(&partial, bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, file).with_context(|| format!("cannot write {}", file.display()))
}
