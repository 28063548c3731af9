//! Hostile guests: short modules in WebAssembly's text form, each made to do one kind of harm.
//!
//! A file in `tests/guests/hostile` holds what is particular to it. What every guest has to export is added
//! where it is missing, and the whole becomes a component of the world whose role it exports.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::write;
use crate::paths;

/// Exports of every guest: what each is found by, and what it is where a file has none.
const USUAL: [(&str, &str); 4] = [
    ("(memory (export \"memory\")", "(memory (export \"memory\") 1)"),
    (
        "(export \"cabi_realloc\")",
        "(func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) i32.const 8192)",
    ),
    (
        "/lifecycle@0.1.0#configure",
        "(func (export \"weir:plugin/lifecycle@0.1.0#configure\") (param i32 i32 i32 i32) (result i32) i32.const 16)",
    ),
    ("/lifecycle@0.1.0#release", "(func (export \"weir:plugin/lifecycle@0.1.0#release\") (param i32))"),
];

/// Build each into `target/guests/hostile`.
///
/// # Errors
/// A file is no text form, or the module has not what its world wants.
pub(super) fn build() -> Result<()> {
    let folder = paths::root().join("tests/guests/hostile");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wat"));
    files.sort();
    for file in &files {
        let component = component(file).with_context(|| format!("cannot make a component of {}", file.display()))?;
        let name = file.file_stem().context("a file without a name")?;
        write(&paths::guests().join("hostile").join(name).with_extension("wasm"), &component)?;
    }
    println!("{:<24} {:>5}", "hostile", files.len());
    Ok(())
}

fn component(file: &Path) -> Result<Vec<u8>> {
    let own = fs::read_to_string(file)?;
    let missing: String = USUAL.iter().filter(|(mark, _)| !own.contains(mark)).map(|(_, usual)| *usual).collect();
    let mut module = wat::parse_str(format!("(module\n{own}\n{missing})"))?;
    let role = if own.contains("/router@") { "router-plugin" } else { "balancer-plugin" };
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(paths::root().join("wit"))?;
    let world = resolve.select_world(&[package], Some(role))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    // Not validated: what is wrong with a guest is for the host to find.
    ComponentEncoder::default().validate(false).module(&module)?.encode()
}
