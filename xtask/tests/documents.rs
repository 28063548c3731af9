//! Configurations that the documentation shows are valid, given the files they name.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// A folder with an empty file for each component that may be named.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    for guest in ["canary", "consistent-hash", "json-health"] {
        fs::write(folder.join(guest).with_extension("wasm"), "").unwrap();
    }
    folder
}

fn faults(text: &str, name: &str) -> String {
    match weir_config::parse(text, &folder(name).join("weir.toml")) {
        Ok(loaded) => loaded.warnings.to_string(),
        Err(faults) => faults.to_string(),
    }
}

#[test]
fn the_readme_shows_a_valid_configuration() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("```toml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    assert_eq!(faults(text, "readme"), "");
}

#[test]
fn the_quickstart_is_valid() {
    let text = fs::read_to_string(root().join("examples/quickstart/weir.toml")).unwrap();
    assert_eq!(faults(&text.replace("../../target/guests/", ""), "quickstart"), "");
}
