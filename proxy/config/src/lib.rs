//! What the operator wrote, checked.
//!
//! A file goes through three hands: the TOML parser gives a tree in which every value knows its
//! place (`node`), the readers turn it into a [`Config`] and collect every fault on the way (`read`),
//! and a last look at the whole finds what is legal but surely not meant (`warn`). A file with a fault
//! gives no configuration at all.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

// Ground: places in a file and what is said about them.
mod fault;
mod places;
mod report;
mod secrets;
mod source;
// What single values mean.
mod foreign;
mod suggest;
mod syntax;
mod units;
// The tree and its readers.
mod node;
mod read;
mod warn;
// The file's shape, for editors.
mod schema;
mod shape;

pub mod model;
pub mod paths;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use fault::{Fault, Faults, Severity};
pub use model::*;
pub use places::{Places, Unusable};
pub use read::{endpoint_of, endpoints_of, read_token};
pub use schema::json_schema;
pub use secrets::{Secret, is_secret_name};

/// A configuration without faults, and what deserves a look all the same.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What to run.
    pub config: Config,
    /// Legal, but probably not meant.
    pub warnings: Faults,
}

/// Reads and checks the file at `path`.
///
/// # Errors
/// Every fault of the file, in file order; one without a line when it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, path),
        Err(error) => Err(Faults(vec![Fault::unreadable(path, &error)])),
    }
}

/// Checks `text` as if it had been read from `path`, which names it in messages and is what relative
/// paths in it are relative to.
///
/// Looks on disk for the files that the text names, and changes nothing there.
///
/// # Errors
/// Every fault of the text, in file order.
pub fn parse(text: &str, path: &Path) -> Result<Loaded, Faults> {
    let report = report::Report::new(source::Source::new(text, path));
    let config = node::document(text, &report).and_then(|table| read::config(&node::Node::root(&table, &report)));
    let (faults, warnings) = report.finish();
    match config {
        Some(config) if faults.is_empty() => Ok(Loaded { config, warnings }),
        _ => Err(faults),
    }
}
