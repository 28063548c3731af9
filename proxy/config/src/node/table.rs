//! Tables: known keys are asked for by name, and what nobody asked for is unknown.

use std::{borrow::Cow, cell::RefCell, ops::Range, path::PathBuf};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::Node;
use crate::{fault::Severity, places::Places, report::Report, source::join, suggest};

/// A table under reading. Ask for every key it may have, then call [`Table::done`].
#[derive(Debug)]
pub(crate) struct Table<'a> {
    table: &'a DeTable<'a>,
    /// The table as a value; the whole file is none.
    node: Option<Node<'a>>,
    report: &'a Report<'a>,
    path: String,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub(super) fn new(table: &'a DeTable<'a>, node: Option<Node<'a>>, report: &'a Report<'a>, path: String) -> Self {
        Self { table, node, report, path, asked: RefCell::default() }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &'static str) -> Option<Node<'a>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        let (name, value) = self.table.get_key_value(key)?;
        Some(self.entry(name, value))
    }

    /// The value of a key that must be there.
    pub(crate) fn require(&self, key: &'static str, example: &str) -> Option<Node<'a>> {
        let found = self.get(key);
        if found.is_none() {
            self.fault(&format!("`{key}` is missing"), &format!("add `{key} = {example}`"));
        }
        found
    }

    /// What `read` makes of the value of a key.
    pub(crate) fn read<T>(&self, key: &'static str, read: impl FnOnce(&Node<'a>) -> Option<T>) -> Option<T> {
        read(&self.get(key)?)
    }

    /// Every key with its value, in file order.
    pub(crate) fn entries(&self) -> Vec<Node<'a>> {
        let mut entries: Vec<Node<'a>> = self.table.iter().map(|(name, value)| self.entry(name, value)).collect();
        entries.sort_by_key(|entry| entry.head().start);
        entries
    }

    fn entry(&self, name: &'a Spanned<Cow<'a, str>>, value: &'a Spanned<DeValue<'a>>) -> Node<'a> {
        let (name, span) = (name.get_ref().as_ref(), name.span());
        Node::child(self.report, value, Some((name, span)), join(&self.path, name))
    }

    /// Notes a fault of the table as a whole.
    pub(crate) fn fault(&self, problem: &str, remedy: &str) {
        self.add(Severity::Error, problem, remedy);
    }

    /// Notes that the table as a whole looks wrong.
    pub(crate) fn warn(&self, problem: &str, remedy: &str) {
        self.add(Severity::Warning, problem, remedy);
    }

    fn add(&self, severity: Severity, problem: &str, remedy: &str) {
        let (problem, remedy) = (problem.to_owned(), Some(remedy.to_owned()));
        self.report.add(severity, self.span(), &self.path, problem, remedy);
    }

    fn span(&self) -> Option<Range<usize>> {
        self.node.as_ref().map(Node::head)
    }

    /// Where files are named that were asked for.
    pub(crate) fn places(&self) -> Places {
        self.report.places()
    }

    /// Files whose content is part of the configuration.
    pub(crate) fn followed(&self) -> Vec<PathBuf> {
        self.report.followed()
    }

    /// Notes every key that was not asked for.
    pub(crate) fn done(&self) {
        let asked = self.asked.borrow();
        for entry in self.entries() {
            if !asked.contains(&entry.name()) {
                if entry.as_string().is_none() {
                    entry.hide();
                }
                let remedy = suggest::remedy(entry.name(), &asked, "keys here");
                entry.key_fault(format!("unknown key `{}`", entry.name()), remedy);
            }
        }
    }
}
