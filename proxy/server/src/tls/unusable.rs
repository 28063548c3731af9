//! Files that cannot be used for TLS.

/// Why one cannot be used, and where the configuration names it.
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
