//! `weir check`: every fault at once, or an explanation of what the file does.

use std::{path::Path, process::ExitCode};

use weir_config::Config;

use super::{FAULT, exit, explain, say};

/// What only the running parts can find in a configuration, for people.
#[derive(Debug, Default)]
pub struct Found {
    /// It cannot run.
    pub faults: Vec<String>,
    /// It can, and deserves a look.
    pub warnings: Vec<String>,
}

/// Loads the file, runs `deep` on what it means (certificates, plugins: what only the running parts
/// can judge), and prints the explanation. Faults and warnings go to standard error.
///
/// `deep` returns what it finds, one text each.
pub fn check(path: &Path, deep: impl FnOnce(&Config) -> Found) -> ExitCode {
    let loaded = match weir_config::load(path) {
        Ok(loaded) => loaded,
        Err(faults) => {
            eprintln!("{faults}\n{} cannot be used: {}", path.display(), count(faults.len(), "fault"));
            return exit(FAULT);
        }
    };
    if !loaded.warnings.is_empty() {
        eprintln!("{}", loaded.warnings);
    }
    let Found { faults, warnings } = deep(&loaded.config);
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    if !faults.is_empty() {
        faults.iter().for_each(|fault| eprintln!("error: {fault}"));
        eprintln!("{} cannot be used: {}", path.display(), count(faults.len(), "fault"));
        return exit(FAULT);
    }
    say(&format!("{} is valid.\n\n{}", path.display(), explain(&loaded.config)));
    ExitCode::SUCCESS
}

/// `1 fault`, `2 faults`
pub(super) fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
