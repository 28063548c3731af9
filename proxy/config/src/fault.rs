//! What is wrong with a file, and how it is shown: the place, the line itself, the key and the remedy.

use std::{
    error::Error,
    fmt::{self, Display},
    io,
    path::{Path, PathBuf},
};

/// How much a [`Fault`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used; the operator should look.
    Warning,
}

/// One thing that is wrong, or looks wrong, in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// The file.
    pub file: PathBuf,
    /// From 1; 0 when it is about the whole file.
    pub line: usize,
    /// In characters, from 1; 0 when it is about the whole file.
    pub column: usize,
    /// How many characters of the line it is about.
    pub width: usize,
    /// The line without its end.
    pub source_line: String,
    /// Dotted path of the key, as in `clusters.api.endpoints[0]`; empty for faults of TOML syntax.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub remedy: Option<String>,
}

impl Fault {
    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => Some("name an existing file".to_owned()),
            io::ErrorKind::InvalidData => Some("TOML is UTF-8 text".to_owned()),
            _ => None,
        };
        Self {
            severity: Severity::Error,
            file: path.to_owned(),
            line: 0,
            column: 0,
            width: 0,
            source_line: String::new(),
            key: String::new(),
            problem: format!("cannot read the configuration: {error}"),
            remedy,
        }
    }

    /// All of it but the word for its severity, for those who say it themselves.
    pub fn unlabelled(&self) -> String {
        fmt::from_fn(|f| self.body(f)).to_string().trim_end().to_owned()
    }

    fn body(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", printable(&self.problem))?;
        let margin = " ".repeat(self.line.to_string().len());
        write!(f, "{margin}--> {}", self.file.display())?;
        if self.line > 0 {
            writeln!(f, ":{}:{}", self.line, self.column)?;
            self.snippet(f, &margin)?;
        } else {
            writeln!(f)?;
        }
        if !self.key.is_empty() {
            writeln!(f, "{margin} = key: {}", printable(&self.key))?;
        }
        if let Some(remedy) = &self.remedy {
            writeln!(f, "{margin} = help: {}", printable(remedy))?;
        }
        Ok(())
    }

    /// The line with the marked part underlined, in a margin as wide as the line number.
    fn snippet(&self, f: &mut fmt::Formatter<'_>, margin: &str) -> fmt::Result {
        let before = self.source_line.chars().take(self.column.saturating_sub(1));
        let indent: String = before.map(|c| if c == '\t' { c } else { ' ' }).collect();
        writeln!(f, "{margin} |")?;
        writeln!(f, "{} | {}", self.line, printable(&self.source_line))?;
        writeln!(f, "{margin} | {indent}{}", "^".repeat(self.width.max(1)))
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{label}: ")?;
        self.body(f)
    }
}

/// Text from a file must not steer the terminal that shows it.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(shown).collect()
}

/// Everything that is wrong with a file, in file order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In file order.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl Error for Faults {}
