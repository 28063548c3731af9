//! Whole files in, configurations or faults out.

mod acme;
mod admin;
mod bounds;
mod document;
mod example;
mod faults;
mod layer4;
mod limits;
mod places;
mod robust;
mod schema;
mod tls;
mod traffic;
mod warnings;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{Faults, Loaded, parse};

/// A folder of its own with the files that the example names; gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-config-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&folder.0).unwrap();
        for name in ["canary", "consistent-hash", "tenant-affinity", "json-health"] {
            folder.write(&format!("{name}.wasm"), "");
        }
        folder.write("cert.pem", "");
        folder.write("key.pem", "");
        folder.write("deploy.token", &"d".repeat(32));
        folder.write("monitoring.token", &"m".repeat(32));
        folder.write("secret", &"s".repeat(32));
        folder
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.0.join("weir.toml")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn parse(&self, text: &str) -> Result<Loaded, Faults> {
        parse(text, &self.file())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file of this repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A file with one of everything.
const EXAMPLE: &str = include_str!("tests/example.toml");
