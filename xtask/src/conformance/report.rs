//! The results as a table and as docs/conformance.md.

use std::fs;

use anyhow::Result;

use super::{Outcome, Suite, Verdict};
use crate::{
    paths,
    peers::Kind,
    tables::{dash, table, titles},
};

const PAGE: &str = include_str!("page.md");

/// Everything one run found out.
pub struct Report {
    /// The proxies in their own words.
    pub versions: Vec<String>,
    /// By suite.
    pub results: Vec<(&'static Suite, Outcome)>,
}

impl Report {
    /// Print it, and write docs/conformance.md when asked.
    pub fn publish(&self, page: bool) -> Result<()> {
        println!("\n{}\n\n{}", self.counts(), self.failing());
        if page {
            fs::write(paths::root().join("docs/conformance.md"), self.page())?;
        }
        Ok(())
    }

    fn page(&self) -> String {
        PAGE.replace("{versions}", &list(self.versions.iter().cloned()))
            .replace("{suites}", &list(self.results.iter().map(|(suite, outcome)| described(suite, outcome))))
            .replace("{counts}", &self.counts())
            .replace("{failing}", &self.failing())
    }

    fn counts(&self) -> String {
        let mut rows = vec![titles(&["passed of", "weir", "nginx", "haproxy"])];
        for (suite, outcome) in &self.results {
            let mut row = vec![suite.name.to_owned()];
            row.extend(Kind::ALL.map(|kind| outcome.of(kind).map_or_else(dash, Verdict::shown)));
            rows.push(row);
        }
        table(&rows)
    }

    /// What each proxy did not pass, suite by suite.
    fn failing(&self) -> String {
        let mut text = String::new();
        for (suite, outcome) in &self.results {
            for (kind, verdict) in outcome.verdicts.iter().filter(|(_, verdict)| !verdict.failing.is_empty()) {
                let cases = list(verdict.failing.iter().cloned());
                text.push_str(&format!("{}, {}:\n\n{cases}\n\n", suite.name, kind.name()));
            }
        }
        if text.is_empty() { "Every proxy passed every case.".to_owned() } else { text.trim_end().to_owned() }
    }
}

impl Outcome {
    fn of(&self, kind: Kind) -> Option<&Verdict> {
        self.verdicts.iter().find(|(of, _)| *of == kind).map(|(_, verdict)| verdict)
    }
}

impl Verdict {
    fn shown(&self) -> String {
        format!("{} of {}", self.of - self.failing.len(), self.of)
    }
}

fn described(suite: &Suite, outcome: &Outcome) -> String {
    format!("`{}` ({}): {}.", suite.name, outcome.tool, suite.what)
}

fn list(lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.map(|line| format!("* {line}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_named() {
        let mut verdict = Verdict::default();
        verdict.note(true, || "good".to_owned());
        verdict.note(false, || "bad".to_owned());
        let outcome = Outcome { tool: "tool 1".to_owned(), verdicts: vec![(Kind::Nginx, verdict)] };
        let report = Report { versions: vec!["weir 1".to_owned()], results: vec![(&super::super::SUITES[0], outcome)] };
        assert!(report.counts().contains("| 1 of 2 |"), "{}", report.counts());
        assert_eq!(report.failing(), "varnishtest, nginx:\n\n* bad");
        assert!(report.page().contains("`varnishtest` (tool 1)"), "{}", report.page());
    }
}
