//! The parsed tree with its places: readers walk it, and whatever they cannot use becomes a fault.

mod known;
mod scalar;
mod table;

use std::{ops::Range, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub(crate) use known::Known;
pub(crate) use table::Table;

use crate::{fault::Severity, foreign, report::Report};

/// One value of the file. Readers that return `None` have said why in the report.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    report: &'a Report<'a>,
    value: &'a DeValue<'a>,
    span: Range<usize>,
    /// The key the value stands behind; elements of arrays have none.
    key: Option<(&'a str, Range<usize>)>,
    path: String,
}

/// Parses `text`. Faults of syntax end the reading: what follows one is guesswork. The parser bounds
/// how deeply a file may nest, so that readers may recurse.
pub(crate) fn document<'t>(text: &'t str, report: &Report<'_>) -> Option<Spanned<DeTable<'t>>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if let (Some(error), Some((looks, remedy))) = (errors.first(), foreign::file(text)) {
        let problem = format!("this is not TOML: it looks like a configuration {looks}");
        report.add(Severity::Error, error.span(), "", problem, Some(remedy.to_owned()));
        return None;
    }
    for error in &errors {
        let span = error.span().unwrap_or_default();
        let (problem, remedy) = match error.message().split_once(", expected ") {
            Some((problem, expected)) => (problem, Some(format!("expected {expected}"))),
            None => (error.message(), None),
        };
        report.add(Severity::Error, Some(span), "", problem.to_owned(), remedy);
    }
    if !errors.is_empty() {
        return None;
    }
    report.is_read();
    Some(table)
}

impl<'a> Node<'a> {
    /// The whole file.
    pub(crate) fn root(table: &'a Spanned<DeTable<'a>>, report: &'a Report<'a>) -> Table<'a> {
        Table::new(table.get_ref(), None, report, String::new())
    }

    fn child(
        report: &'a Report<'a>,
        value: &'a Spanned<DeValue<'a>>,
        key: Option<(&'a str, Range<usize>)>,
        path: String,
    ) -> Self {
        Self { report, value: value.get_ref(), span: value.span(), key, path }
    }

    /// Notes a fault of the value and gives the nothing that its reader returns.
    pub(crate) fn fault<T>(&self, problem: impl Into<String>, remedy: impl Into<String>) -> Option<T> {
        let (span, remedy) = (self.span.clone(), Some(remedy.into()));
        self.report.add(Severity::Error, Some(span), &self.path, problem.into(), remedy);
        None
    }

    /// Notes a fault of the value's key.
    pub(crate) fn key_fault(&self, problem: impl Into<String>, remedy: impl Into<String>) {
        let (span, remedy) = (self.head(), Some(remedy.into()));
        self.report.add(Severity::Error, Some(span), &self.path, problem.into(), remedy);
    }

    /// Notes that the value is legal but looks wrong.
    pub(crate) fn warn(&self, problem: impl Into<String>, remedy: impl Into<String>) {
        let (span, remedy) = (self.span.clone(), Some(remedy.into()));
        self.report.add(Severity::Warning, Some(span), &self.path, problem.into(), remedy);
    }

    /// Notes that having this key at all looks wrong.
    pub(crate) fn key_warn(&self, problem: impl Into<String>, remedy: impl Into<String>) {
        let (span, remedy) = (self.head(), Some(remedy.into()));
        self.report.add(Severity::Warning, Some(span), &self.path, problem.into(), remedy);
    }

    /// The name of its key; empty for an element of an array.
    pub(crate) fn name(&self) -> &'a str {
        self.key.as_ref().map(|(name, _)| *name).unwrap_or_default()
    }

    /// The line it begins on.
    pub(crate) fn line(&self) -> usize {
        self.report.source().line_of(self.head().start)
    }

    fn head(&self) -> Range<usize> {
        self.key.as_ref().map_or_else(|| self.span.clone(), |(_, span)| span.clone())
    }

    /// Notes that the texts in the value are not to be shown.
    pub(crate) fn hide(&self) {
        match self.value {
            DeValue::String(_) => self.report.hide(self.span.clone()),
            DeValue::Array(array) => array.iter().for_each(|one| self.below(one).hide()),
            DeValue::Table(table) => table.iter().for_each(|(_, one)| self.below(one).hide()),
            _ => {}
        }
    }

    fn below(&self, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self::child(self.report, value, None, String::new())
    }

    /// Notes that the content of a file is part of the configuration.
    pub(crate) fn follow(&self, file: &Path) {
        self.report.follow(file);
    }

    /// Whether it is a table.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// The value has the wrong type: `wanted` says which it should have, as in "a string".
    pub(crate) fn mistyped<T>(&self, wanted: &str, example: &str) -> Option<T> {
        if self.as_string().is_none() || ["headers", "cookies", "settings"].iter().any(|key| self.path.contains(key)) {
            self.hide();
        }
        let problem = format!("expected {wanted}, found {}", self.kind());
        self.fault(problem, format!("write {example}"))
    }

    /// What it is, with an article.
    fn kind(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }

    /// The string, when it is one.
    pub(crate) fn as_string(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// Whether it is a whole number.
    pub(crate) fn is_integer(&self) -> bool {
        self.value.is_integer()
    }

    /// Whether it is `true` or `false`.
    pub(crate) fn is_boolean(&self) -> bool {
        self.value.is_bool()
    }

    /// A table of known keys or of free names.
    pub(crate) fn table(&self, example: &str) -> Option<Table<'a>> {
        match self.value {
            DeValue::Table(table) => Some(Table::new(table, Some(self.clone()), self.report, self.path.clone())),
            _ => self.mistyped("a table", example),
        }
    }

    /// The elements of an array.
    pub(crate) fn array(&self, example: &str) -> Option<Vec<Node<'a>>> {
        let DeValue::Array(array) = self.value else {
            return self.mistyped("an array", example);
        };
        let element = |(index, value)| Node::child(self.report, value, None, format!("{}[{index}]", self.path));
        Some(array.iter().enumerate().map(element).collect())
    }

    /// Whether it is an array.
    pub(crate) fn is_array(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    /// Whether it is an array of nothing.
    pub(crate) fn is_empty_array(&self) -> bool {
        matches!(self.value, DeValue::Array(array) if array.is_empty())
    }

    /// Every element that `read` can use; the others have been reported.
    pub(crate) fn each<T>(&self, example: &str, read: impl Fn(&Node<'a>) -> Option<T>) -> Option<Vec<T>> {
        Some(self.array(example)?.iter().filter_map(read).collect())
    }
}
