//! Compiled plugins are kept on disk, and trusted only as far as they are ours and whole.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use weir_plugin::{Budget, Guests, Host, HostOptions, Role};

use crate::harness::{Asked, guest, plugin, three};

fn host(cache: &Path) -> Arc<Host> {
    Host::try_new(HostOptions { cache: Some(cache.to_owned()), ..HostOptions::default() }).unwrap()
}

fn works(cache: &Path) {
    let host = host(cache);
    let program = host.load(&plugin("p", &[]), &guest("misbehave")).unwrap();
    let bound = program.bind(Role::Balancer, &serde_json::json!({ "do": "least" })).unwrap();
    assert_eq!(Guests::new().pick(&bound, &Budget::default(), &Asked::default(), &three()), Ok(Some(1)));
}

fn compiled(cache: &Path) -> PathBuf {
    let mut files = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|ext| ext == "cwasm")).unwrap()
}

#[test]
fn a_second_host_does_not_compile_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    works(&cache);
    assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    let file = compiled(&cache);
    let made = fs::metadata(&file).unwrap();
    works(&cache);
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(&file).unwrap().ino(), made.ino(), "it was written again");
}

#[test]
fn a_damaged_file_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    works(&cache);
    let file = compiled(&cache);
    let good = fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(&file, &bad).unwrap();
    works(&cache);
    assert_eq!(fs::read(&file).unwrap(), good);
}

#[test]
fn a_file_that_others_may_write_is_not_trusted() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    works(&cache);
    let file = compiled(&cache);
    let made = fs::metadata(&file).unwrap().ino();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    works(&cache);
    assert_ne!(fs::metadata(&file).unwrap().ino(), made);
}

#[test]
fn a_folder_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let refused =
        Host::try_new(HostOptions { cache: Some(folder.path().to_owned()), ..HostOptions::default() }).err().unwrap();
    assert!(refused.to_string().contains("0700"), "{refused}");
}
