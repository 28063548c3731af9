//! Compiled plugins on disk, so that a restart does not compile again.
//!
//! Compiled code is run as it is found. So it is taken only from a folder that is ours and closed to
//! everybody else, from a file that is ours, and only if its checksum is right; anything else is
//! compiled anew and written over.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, component::Component};

use crate::{HostError, Refused};

/// Compiled plugins that are kept; those unused longest go first.
const KEPT: usize = 64;

/// A folder of compiled plugins; none where there is no place for one.
pub(crate) struct Cache {
    folder: Option<PathBuf>,
}

impl Cache {
    /// The folder that was asked for, or the user's own. The latter is done without if need be.
    pub(crate) fn open(wanted: Option<PathBuf>) -> Result<Self, HostError> {
        if let Some(path) = wanted {
            return match prepare(&path) {
                Ok(()) => Ok(Self { folder: Some(path) }),
                Err(problem) => Err(HostError::Cache { path, problem }),
            };
        }
        let folder = own_folder().filter(|path| {
            let prepared = prepare(path);
            if let Err(error) = &prepared {
                tracing::warn!(path = %path.display(), error, "plugins are not cached");
            }
            prepared.is_ok()
        });
        Ok(Self { folder })
    }

    /// The compiled component: from the cache, or compiled now and put there.
    pub(crate) fn load(&self, engine: &Engine, sha256: &str, bytes: &[u8]) -> Result<Component, Refused> {
        let Some(folder) = &self.folder else {
            return Component::new(engine, bytes).map_err(damaged);
        };
        let path = folder.join(format!("{sha256}-{:016x}.cwasm", compatibility(engine)));
        if let Some(component) = read(engine, &path) {
            return Ok(component);
        }
        let code = engine.precompile_component(bytes).map_err(damaged)?;
        if let Err(error) = write(&path, &code) {
            tracing::warn!(path = %path.display(), %error, "compiled plugin not cached");
        }
        evict(folder);
        // SAFETY: the code comes from this engine, a moment ago.
        unsafe { Component::deserialize(engine, &code) }.map_err(damaged)
    }
}

/// Lower case hexadecimal of the SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn damaged(error: wasmtime::Error) -> Refused {
    Refused::NotAComponent(format!("is not a valid component: {error:#}"))
}

fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

fn read(engine: &Engine, path: &Path) -> Option<Component> {
    let sum = fs::read_to_string(sum_of(path)).ok()?;
    if !is_ours(&fs::symlink_metadata(path).ok()?) || sha256(&fs::read(path).ok()?) != sum {
        return None;
    }
    // SAFETY: file and folder belong to us and nobody else may write to them, so the code is what
    // an engine with these settings made; its checksum says that it is whole.
    let component = unsafe { Component::deserialize_file(engine, path) }.ok()?;
    _ = fs::File::open(path).and_then(|file| file.set_modified(std::time::SystemTime::now()));
    Some(component)
}

/// Whole or not at all: the checksum comes last, and each file by a rename.
fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    replace(path, code)?;
    replace(&sum_of(path), sha256(code).as_bytes())
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let unique = WRITES.fetch_add(1, Relaxed);
    let draft = path.with_extension(format!("{}-{unique}.draft", process::id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(content).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        _ = fs::remove_file(&draft);
    }
    written
}

fn sum_of(path: &Path) -> PathBuf {
    path.with_extension("sum")
}

/// Create the folder, or see that the one that is there can be trusted.
fn prepare(path: &Path) -> Result<(), String> {
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|error| error.to_string())?;
    let meta = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    match meta.is_dir() && meta.mode() & 0o077 == 0 && Some(meta.uid()) == own_id() {
        true => Ok(()),
        false => Err("is not a folder of this user alone (mode 0700)".into()),
    }
}

fn is_ours(meta: &fs::Metadata) -> bool {
    meta.is_file() && meta.mode() & 0o022 == 0 && Some(meta.uid()) == own_id()
}

/// The user this process acts as.
fn own_id() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|meta| meta.uid())
}

fn own_folder() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("XDG_CACHE_HOME") {
        return Some(folder.join("weir"));
    }
    match own_id() {
        Some(0) => Some("/var/cache/weir".into()),
        _ => set("HOME").map(|home| home.join(".cache/weir")),
    }
}

fn evict(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut compiled: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|ext| ext == "cwasm"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    compiled.sort();
    let above = compiled.len().saturating_sub(KEPT);
    for (_, path) in compiled.into_iter().take(above) {
        _ = fs::remove_file(sum_of(&path));
        _ = fs::remove_file(path);
    }
}
