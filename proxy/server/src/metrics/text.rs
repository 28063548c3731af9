//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write};

/// Writes families and samples to a page.
#[derive(Debug)]
pub(super) struct Text<'a> {
    out: &'a mut String,
}

impl<'a> Text<'a> {
    pub(super) fn new(out: &'a mut String) -> Text<'a> {
        Text { out }
    }

    /// Opens a family; its samples follow. `help` is one line of ours.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.print(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// One sample. Labels may hold any text.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(name);
        let mut before = '{';
        for (label, text) in labels {
            self.out.push(before);
            before = ',';
            self.out.push_str(label);
            self.out.push_str("=\"");
            self.label_value(text);
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        self.print(format_args!(" {value}\n"));
    }

    /// Families that were written elsewhere.
    pub(super) fn append(&mut self, page: &str) {
        self.out.push_str(page);
    }

    fn label_value(&mut self, text: &str) {
        for char in text.chars() {
            match char {
                '\\' => self.out.push_str("\\\\"),
                '"' => self.out.push_str("\\\""),
                '\n' => self.out.push_str("\\n"),
                other => self.out.push(other),
            }
        }
    }

    fn print(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to memory cannot fail.
        let _ = self.out.write_fmt(text);
    }
}
