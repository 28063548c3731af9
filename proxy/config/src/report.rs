//! Collects what is found in a file while it is read.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
    path::{Path, PathBuf},
};

use crate::{
    fault::{Fault, Faults, Severity},
    places::Places,
    secrets::{mask, mask_unread},
    source::{Place, Source},
};

/// The file under the readers' hands and what they found in it so far.
#[derive(Debug)]
pub(crate) struct Report<'s> {
    source: Source<'s>,
    found: RefCell<Vec<Fault>>,
    files: RefCell<Vec<(String, Place)>>,
    /// The file is TOML.
    is_read: Cell<bool>,
    /// Where values stand that are not to be shown.
    hidden: RefCell<Vec<Range<usize>>>,
    /// Files whose content is part of the configuration.
    followed: RefCell<Vec<PathBuf>>,
}

impl<'s> Report<'s> {
    pub(crate) fn new(source: Source<'s>) -> Self {
        let (found, files, is_read, hidden, followed) = Default::default();
        Self { source, found, files, is_read, hidden, followed }
    }

    pub(crate) fn source(&self) -> &Source<'s> {
        &self.source
    }

    /// Notes what is wrong at `span`; without one it is about the whole file.
    pub(crate) fn add(
        &self,
        severity: Severity,
        span: Option<Range<usize>>,
        key: &str,
        problem: String,
        remedy: Option<String>,
    ) {
        let place = span.map(|span| self.source.place(span));
        let (line, column, width, source_line) = match place {
            Some(place) => (place.line, place.column, place.width, place.source_line),
            None => (0, 0, 0, String::new()),
        };
        self.found.borrow_mut().push(Fault {
            severity,
            file: self.source.path().to_owned(),
            line,
            column,
            width,
            source_line,
            key: key.to_owned(),
            problem,
            remedy,
        });
    }

    /// Notes that the file is TOML: what is secret in it is known from now on.
    pub(crate) fn is_read(&self) {
        self.is_read.set(true);
    }

    /// Notes that what stands at `span`, in its quotes, is not to be shown.
    pub(crate) fn hide(&self, span: Range<usize>) {
        self.hidden.borrow_mut().push(span.start + 1..span.end.saturating_sub(1));
    }

    /// Notes a file whose content is part of the configuration.
    pub(crate) fn follow(&self, file: &Path) {
        self.followed.borrow_mut().push(file.to_owned());
    }

    /// The files whose content is part of the configuration.
    pub(crate) fn followed(&self) -> Vec<PathBuf> {
        self.followed.borrow().clone()
    }

    /// A line as it may be shown.
    fn shown(&self, line: usize, text: &str, is_read: bool) -> String {
        let Some(start) = self.source.start_of(line).filter(|_| is_read) else { return mask_unread(text) };
        let hidden = self.hidden.borrow();
        let within = |range: &Range<usize>| {
            (range.start.max(start) < range.end).then(|| range.start.saturating_sub(start)..range.end - start)
        };
        mask(text, &hidden.iter().filter_map(within).collect::<Vec<_>>())
    }

    /// Notes that a file is named at `span`.
    pub(crate) fn names_file(&self, span: Range<usize>, key: &str) {
        self.files.borrow_mut().push((key.to_owned(), self.source.place(span)));
    }

    /// Where files are named, as far as is known.
    pub(crate) fn places(&self) -> Places {
        let mut found = self.files.borrow().clone();
        for (_, place) in &mut found {
            place.source_line = self.shown(place.line, &place.source_line, true);
        }
        Places { file: self.source.path().to_owned(), found }
    }

    /// The errors and the warnings, each in file order.
    pub(crate) fn finish(self) -> (Faults, Faults) {
        let mut found = self.found.take();
        for fault in found.iter_mut().filter(|fault| fault.line > 0) {
            // Of a file that is not TOML no value is known.
            fault.source_line = self.shown(fault.line, &fault.source_line, self.is_read.get());
        }
        found.sort_by_key(|fault| (fault.line, fault.column));
        let (errors, warnings) = found.into_iter().partition(|fault| fault.severity == Severity::Error);
        (Faults(errors), Faults(warnings))
    }
}
