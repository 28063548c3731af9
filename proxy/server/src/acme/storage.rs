//! Accounts and certificates on disk, for nobody but us to read. What is there is whole: a file is
//! written beside its place and put there at once.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use weir_config::Acme;
use weir_upstream::split::hash;

/// The folder of one authority.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    folder: PathBuf,
}

/// What was kept, and since when.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) text: String,
    pub(super) since: SystemTime,
}

impl Storage {
    /// That of the authority's directory: those of a trial and of the real one are apart.
    pub(super) fn of(config: &Acme) -> Self {
        let url = config.directory.trim_start_matches("https://");
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '-' };
        let name: String = url.chars().map(plain).take(200).collect();
        Self { folder: config.storage.join(name.trim_matches(['.', '-'])) }
    }

    /// None where there is no account yet.
    pub(super) fn account(&self) -> io::Result<Option<Kept>> {
        read(&self.folder.join(ACCOUNT))
    }

    pub(super) fn keep_account(&self, text: &str) -> io::Result<()> {
        self.write(ACCOUNT, text)
    }

    /// The authority knows it no more.
    pub(super) fn forget_account(&self) -> io::Result<()> {
        fs::remove_file(self.folder.join(ACCOUNT))
    }

    /// Where the certificate of these names is: its key first, then the chain.
    pub(super) fn path(&self, names: &[String]) -> PathBuf {
        self.folder.join(file_name(names))
    }

    pub(super) fn certificate(&self, names: &[String]) -> io::Result<Option<Kept>> {
        read(&self.path(names))
    }

    pub(super) fn keep_certificate(&self, names: &[String], pem: &str) -> io::Result<()> {
        self.write(&file_name(names), pem)
    }

    /// What was noted of failures; none where nothing was.
    pub(super) fn setback(&self, names: &[String]) -> io::Result<Option<Kept>> {
        read(&self.folder.join(setback_name(names)))
    }

    /// Note what failures have come to, or that they are over.
    pub(super) fn keep_setback(&self, names: &[String], text: Option<&str>) -> io::Result<()> {
        let name = setback_name(names);
        match text {
            Some(text) => self.write(&name, text),
            None => match fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let draft = self.folder.join(format!(".{name}.{}", std::process::id()));
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, self.folder.join(name))?;
        File::open(&self.folder)?.sync_all()
    }
}

const ACCOUNT: &str = "account.json";

fn read(path: &Path) -> io::Result<Option<Kept>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let since = fs::metadata(path)?.modified()?;
    Ok(Some(Kept { text, since }))
}

fn file_name(names: &[String]) -> String {
    format!("{}.pem", name_of(names))
}

fn setback_name(names: &[String]) -> String {
    format!("{}.failed.json", name_of(names))
}

/// Longest part of a name that is part of a file's.
const MOST: usize = 180;

/// What people know a certificate by: its first name, and what tells it from others that begin with that.
pub(super) fn name_of(names: &[String]) -> String {
    let Some((first, more)) = names.split_first() else { return String::new() };
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    match more.len() {
        0 if first.len() <= MOST => first.clone(),
        more => {
            format!("{}_{more}_{:08x}", first.get(..MOST).unwrap_or(first), hash(sorted.join(",").as_bytes()) >> 32)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::acme::tests::authority as config;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_was_kept_is_there_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::of(&config(&folder.path().join("acme"), "https://ca.test:14000/dir"));
        let one = names(&["a.test"]);
        assert!(storage.account().unwrap().is_none() && storage.certificate(&one).unwrap().is_none());
        for text in ["first", "second"] {
            storage.keep_certificate(&one, text).unwrap();
            assert_eq!(storage.certificate(&one).unwrap().unwrap().text, text);
        }
        storage.keep_account("{}").unwrap();
        let path = folder.path().join("acme/ca.test-14000-dir/a.test.pem");
        assert_eq!(storage.path(&one), path);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2, "no drafts are left");
        storage.forget_account().unwrap();
        assert!(storage.account().unwrap().is_none());
    }

    #[test]
    fn what_failures_have_come_to_is_noted_until_they_are_over() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, one) = (Storage::of(&config(folder.path(), "https://ca.test/dir")), names(&["a.test"]));
        storage.keep_setback(&one, None).unwrap();
        storage.keep_setback(&one, Some("{}")).unwrap();
        assert_eq!(storage.setback(&one).unwrap().unwrap().text, "{}");
        storage.keep_setback(&one, None).unwrap();
        assert!(storage.setback(&one).unwrap().is_none());
    }

    #[test]
    fn the_longest_names_have_files() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::of(&config(folder.path(), "https://ca.test/dir"));
        let long = [63, 63, 63, 55].map(|length| "a".repeat(length)).join(".");
        for end in ["test", "tess"] {
            let one = [format!("{long}.{end}")];
            storage.keep_certificate(&one, end).unwrap();
            storage.keep_setback(&one, Some("{}")).unwrap();
            assert_eq!(storage.certificate(&one).unwrap().unwrap().text, end);
        }
        assert_eq!(fs::read_dir(&storage.folder).unwrap().count(), 4);
    }

    #[test]
    fn a_draft_that_was_left_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::of(&config(folder.path(), "https://ca.test/dir"));
        storage.keep_account("{}").unwrap();
        fs::write(storage.folder.join(format!(".{ACCOUNT}.{}", std::process::id())), "half").unwrap();
        storage.keep_account("{\"a\":1}").unwrap();
        assert_eq!(storage.account().unwrap().unwrap().text, "{\"a\":1}");
    }

    #[test]
    fn directories_and_sets_of_names_are_apart() {
        let folder = Path::new("/keep");
        let path = |directory: &str, list: &[&str]| Storage::of(&config(folder, directory)).path(&names(list));
        let (real, trial) = ("https://ca.test/directory", "https://staging.ca.test/directory");
        assert_ne!(path(real, &["a.test"]), path(trial, &["a.test"]));
        assert_ne!(path(real, &["a.test", "b.test"]), path(real, &["a.test", "c.test"]));
        assert!(path("https://../..", &["a.test"]).starts_with("/keep"));
        assert_eq!(path("https://../..", &["a.test"]).components().count(), 3);
    }
}
