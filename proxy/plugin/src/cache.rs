//! Compiled plugins on disk, so that a restart does not compile again.
//!
//! Compiled code is run as it is found. So it is taken only from a folder that is ours and closed to
//! everybody else, from a file that is ours, and only if its checksum is right; anything else is
//! compiled anew and written over.

use std::{
    collections::{HashMap, HashSet},
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, component::Component};

use crate::{HostError, Refused};

/// Compiled plugins that are kept beside those in use; those unused longest go first.
const KEPT: usize = 256;
/// Bytes that they may take.
const KEPT_BYTES: u64 = 4 << 30;
/// How old a file is that was begun and not finished by a process which has ended.
const ABANDONED: Duration = Duration::from_secs(3_600);

/// A folder of compiled plugins; none where there is no place for one.
pub(crate) struct Cache {
    folder: Option<PathBuf>,
    in_use: InUse,
}

/// Files in use, with how many use each.
type InUse = Arc<Mutex<HashMap<PathBuf, usize>>>;

/// Code on disk that stays there as long as this is kept.
#[derive(Debug)]
pub struct Stored {
    /// None where plugins are not cached.
    path: Option<PathBuf>,
    in_use: InUse,
}

impl Stored {
    fn new(path: Option<PathBuf>, in_use: &InUse) -> Self {
        if let Some(path) = &path {
            *lock(in_use).entry(path.clone()).or_default() += 1;
        }
        Self { path, in_use: Arc::clone(in_use) }
    }
}

impl Stored {
    /// Whether it is there at all: without a cache it is not.
    pub fn is_on_disk(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.exists())
    }
}

impl Clone for Stored {
    fn clone(&self) -> Self {
        Self::new(self.path.clone(), &self.in_use)
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let Some(path) = &self.path else { return };
        let mut in_use = lock(&self.in_use);
        if let Some(users) = in_use.get_mut(path) {
            *users -= 1;
            if *users == 0 {
                in_use.remove(path);
            }
        }
    }
}

fn lock(in_use: &InUse) -> MutexGuard<'_, HashMap<PathBuf, usize>> {
    in_use.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cache {
    /// The folder that was asked for, or the user's own. The latter is done without if need be.
    pub(crate) fn open(wanted: Option<PathBuf>) -> Result<Self, HostError> {
        if let Some(path) = wanted {
            return match prepare(&path) {
                Ok(()) => Ok(Self { folder: Some(path), in_use: InUse::default() }),
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
        Ok(Self { folder, in_use: InUse::default() })
    }

    /// The compiled component: from the cache, or made now by `compile` and put there.
    pub(crate) fn load(
        &self,
        engine: &Engine,
        sha256: &str,
        compile: impl FnOnce() -> Result<Vec<u8>, Refused>,
    ) -> Result<(Component, Stored), Refused> {
        let path = |folder: &PathBuf| folder.join(format!("{sha256}-{:016x}.cwasm", compatibility(engine)));
        // In use from here on, so that it does not go between being found and being taken up.
        let stored = Stored::new(self.folder.as_ref().map(path), &self.in_use);
        if let Some(component) = stored.path.as_deref().and_then(|path| read(engine, path)) {
            return Ok((component, stored));
        }
        let code = compile()?;
        if let (Some(folder), Some(path)) = (&self.folder, &stored.path) {
            match write(path, &code) {
                Ok(()) => self.evict(folder),
                Err(error) => tracing::warn!(path = %path.display(), %error, "compiled plugin not cached"),
            }
            // From the file, whose pages the system can take back and read again.
            if let Some(component) = read(engine, path) {
                return Ok((component, stored));
            }
        }
        // SAFETY: the code comes from this program's own compiler, a moment ago, and has arrived whole.
        let component = unsafe { Component::deserialize(engine, &code) }.map_err(damaged)?;
        Ok((component, stored))
    }

    /// Removes what has been unused for longest, beyond what is kept. What is in use stays, and is as if it had been
    /// used now, so that other processes with the same folder take it for that.
    fn evict(&self, folder: &Path) {
        let in_use: HashSet<PathBuf> = lock(&self.in_use).keys().cloned().collect();
        in_use.iter().for_each(|path| touch(path));
        let Ok(entries) = fs::read_dir(folder) else { return };
        let mut unused = Vec::new();
        for entry in entries.flatten() {
            let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
            let Ok(modified) = meta.modified() else { continue };
            match path.extension().and_then(|ext| ext.to_str()) {
                Some("cwasm") if !in_use.contains(&path) => unused.push((modified, meta.len(), path)),
                Some("draft") if modified.elapsed().is_ok_and(|age| age > ABANDONED) => drop(fs::remove_file(path)),
                _ => {}
            }
        }
        for path in surplus(unused) {
            _ = fs::remove_file(sum_of(&path));
            _ = fs::remove_file(path);
        }
    }
}

/// Those that are beyond what is kept.
fn surplus(mut unused: Vec<(SystemTime, u64, PathBuf)>) -> impl Iterator<Item = PathBuf> {
    unused.sort_unstable_by(|one, other| other.cmp(one));
    let mut bytes = 0;
    unused.into_iter().enumerate().filter_map(move |(before, (_, size, path))| {
        bytes += size;
        (before >= KEPT || bytes > KEPT_BYTES).then_some(path)
    })
}

fn touch(path: &Path) {
    _ = fs::File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

/// The SHA-256 in hexadecimal, in lower case.
pub fn sha256(bytes: &[u8]) -> String {
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
    touch(path);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn unused(number: u64, size: u64) -> (SystemTime, u64, PathBuf) {
        (SystemTime::UNIX_EPOCH + Duration::from_secs(number), size, PathBuf::from(number.to_string()))
    }

    #[test]
    fn what_was_unused_for_longest_goes_by_number_and_by_bytes() {
        let many = (0..KEPT as u64 + 2).map(|number| unused(number, 1)).collect();
        assert_eq!(Vec::from_iter(surplus(many)), [Path::new("1"), Path::new("0")]);
        let large = vec![unused(1, 1), unused(3, KEPT_BYTES / 2), unused(2, KEPT_BYTES / 2)];
        assert_eq!(Vec::from_iter(surplus(large)), [Path::new("1")]);
        assert_eq!(surplus(vec![unused(1, 1)]).count(), 0);
    }

    #[test]
    fn what_is_in_use_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { folder: Some(folder.path().to_owned()), in_use: InUse::default() };
        let file = |number: usize| folder.path().join(format!("{number}.cwasm"));
        let kept = Stored::new(Some(file(0)), &cache.in_use);
        let also = kept.clone();
        for number in 0..=KEPT + 1 {
            let written = fs::File::create(file(number)).unwrap();
            written.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64)).unwrap();
        }
        drop(kept);
        cache.evict(folder.path());
        assert!(file(0).exists() && !file(1).exists() && file(2).exists());
        drop(also);
        fs::File::open(file(0)).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        cache.evict(folder.path());
        assert!(!file(0).exists(), "nothing uses it any more");
    }
}
