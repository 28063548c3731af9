//! Where things are in the repository and in cargo's target folder.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The weir binary of a cargo profile.
pub fn weir(profile: &str) -> PathBuf {
    target().join(profile).join("weir")
}

/// Where `cargo xtask guests` puts components, as the examples name it.
pub fn guests() -> PathBuf {
    root().join("target/guests")
}
