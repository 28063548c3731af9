//! Where a file names other files, for what is found wrong with these later.

use std::path::PathBuf;

use crate::{
    fault::{Fault, Severity},
    source::{Place, join},
};

/// Places of the values that name files, by key.
#[derive(Debug, Clone, Default)]
pub struct Places {
    pub(crate) file: PathBuf,
    pub(crate) found: Vec<(String, Place)>,
}

/// Where something stands is no part of what it means.
impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Why a file cannot be used, and where the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// Key below what is read, as in `certificates[0].key`.
    pub key: String,
    /// What is wrong, for people.
    pub why: String,
}

impl Unusable {
    /// Of the file that this key names.
    pub fn new(key: &str, why: impl Into<String>) -> Self {
        Self { key: key.to_owned(), why: why.into() }
    }

    /// The same for those who read it as a part of something.
    pub fn below(self, parent: &str) -> Self {
        Self { key: format!("{parent}.{}", self.key), why: self.why }
    }
}

impl Places {
    /// A fault of a key of `[SECTION.NAME]`, as in `listeners`, `web` and `tls.ticket-keys`. It has no line where
    /// the key names no file.
    pub fn fault(&self, section: &str, name: &str, key: &str, problem: String) -> Fault {
        let key = format!("{}.{key}", join(section, name));
        let place = self.found.iter().find(|(found, _)| *found == key).map(|(_, place)| place.clone());
        let Place { line, column, width, source_line } = place.unwrap_or_default();
        let file = self.file.clone();
        Fault { severity: Severity::Error, file, line, column, width, source_line, key, problem, remedy: None }
    }
}
