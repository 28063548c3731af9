//! Collects what is found in a file while it is read.

use std::{cell::RefCell, ops::Range};

use crate::{
    fault::{Fault, Faults, Severity},
    places::Places,
    source::{Place, Source},
};

/// The file under the readers' hands and what they found in it so far.
#[derive(Debug)]
pub(crate) struct Report<'s> {
    source: Source<'s>,
    found: RefCell<Vec<Fault>>,
    files: RefCell<Vec<(String, Place)>>,
}

impl<'s> Report<'s> {
    pub(crate) fn new(source: Source<'s>) -> Self {
        Self { source, found: RefCell::default(), files: RefCell::default() }
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

    /// Notes that a file is named at `span`.
    pub(crate) fn names_file(&self, span: Range<usize>, key: &str) {
        self.files.borrow_mut().push((key.to_owned(), self.source.place(span)));
    }

    /// Where files are named, as far as is known.
    pub(crate) fn places(&self) -> Places {
        Places { file: self.source.path().to_owned(), found: self.files.borrow().clone() }
    }

    /// The errors and the warnings, each in file order.
    pub(crate) fn finish(self) -> (Faults, Faults) {
        let mut found = self.found.into_inner();
        found.sort_by_key(|fault| (fault.line, fault.column));
        let (errors, warnings) = found.into_iter().partition(|fault| fault.severity == Severity::Error);
        (Faults(errors), Faults(warnings))
    }
}
