//! A text and its lines: turns byte ranges into places.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

/// Where something stands, with the line it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    /// In characters; ends with the line.
    pub(crate) width: usize,
    pub(crate) source_line: String,
}

/// The text of a file.
#[derive(Debug)]
pub(crate) struct Source<'s> {
    text: &'s str,
    path: PathBuf,
    /// Byte offset of the first byte of every line.
    starts: Vec<usize>,
}

impl<'s> Source<'s> {
    pub(crate) fn new(text: &'s str, path: &Path) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { text, path: path.to_owned(), starts }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `path` as it is meant in this file: relative ones start at the file's folder.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let joined = folder.join(path);
        std::path::absolute(&joined).unwrap_or(joined)
    }

    /// The line of a byte offset, from 1.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// The byte offset of a line's first byte.
    pub(crate) fn start_of(&self, line: usize) -> Option<usize> {
        self.starts.get(line.checked_sub(1)?).copied()
    }

    pub(crate) fn place(&self, span: Range<usize>) -> Place {
        let line = self.line_of(span.start);
        let start = line.checked_sub(1).and_then(|index| self.starts.get(index)).copied();
        let rest = start.and_then(|start| self.text.get(start..)).unwrap_or_default();
        let source_line = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let from = span.start.saturating_sub(start.unwrap_or_default());
        let to = span.end.saturating_sub(start.unwrap_or_default());
        let before = characters(source_line, from);
        Place {
            line,
            column: before + 1,
            width: characters(source_line, to).saturating_sub(before),
            source_line: source_line.to_owned(),
        }
    }
}

/// The key `name` below `path`, quoted where TOML would.
pub(crate) fn join(path: &str, name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name = match name.is_empty() || !name.chars().all(bare) {
        true => format!("{name:?}"),
        false => name.to_owned(),
    };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

/// How many characters begin before byte `offset`.
fn characters(line: &str, offset: usize) -> usize {
    line.char_indices().take_while(|(at, _)| *at < offset).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_placed_by_characters_and_ends_with_its_line() {
        let source = Source::new("a = 1\r\nñ = \"x\ny\"\n", Path::new("f.toml"));
        let place = source.place(12..17);
        assert_eq!((place.line, place.column, place.width), (2, 5, 2));
        assert_eq!(place.source_line, "ñ = \"x");
        let end = source.place(18..18);
        assert_eq!((end.line, end.column, end.width), (4, 1, 0));
    }

    #[test]
    fn relative_paths_start_at_the_folder_of_the_file() {
        let source = Source::new("", Path::new("/etc/weir/weir.toml"));
        assert_eq!(source.resolve("a/b.wasm"), Path::new("/etc/weir/a/b.wasm"));
        assert_eq!(source.resolve("/c.wasm"), Path::new("/c.wasm"));
    }
}
