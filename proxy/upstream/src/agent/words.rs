//! What an agent's words come to: pure.

use crate::standing::{Report, Word};

/// As much of a reason as is kept, in characters.
const MOST_WHY: usize = 200;

/// What an agent has said so far. What an answer does not name stays as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    down: bool,
    admin: Admin,
    weight_percent: u32,
    max_connections: Option<u32>,
    why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admin {
    Ready,
    Drain,
    Maintenance,
}

impl Words {
    /// Of an agent whose last report is known, or that has not been heard.
    pub(super) fn after(report: Option<&Report>) -> Self {
        let word = report.map_or(Word::Up, |report| report.word);
        Self {
            down: word == Word::Down,
            admin: match word {
                Word::Up | Word::Down => Admin::Ready,
                Word::Drain => Admin::Drain,
                Word::Maintenance => Admin::Maintenance,
            },
            weight_percent: report.map_or(100, |report| report.weight_percent),
            max_connections: report.and_then(|report| report.max_connections),
            why: report.map_or(String::new(), |report| report.why.clone()),
        }
    }

    /// Take one line; gives the words that mean nothing.
    pub(super) fn hear<'l>(&mut self, line: &'l str) -> Vec<&'l str> {
        let (words, reason) = line.split_once('#').map_or((line, None), |(words, reason)| (words, Some(reason)));
        let apart = |c: char| c == ',' || c.is_whitespace();
        let unknown = words.split(apart).filter(|word| !word.is_empty() && !self.heed(word)).collect();
        let said = reason.map(str::trim).filter(|reason| !reason.is_empty()).unwrap_or(words.trim());
        let shown: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_WHY).collect();
        self.why = format!("agent: {shown}");
        unknown
    }

    fn heed(&mut self, word: &str) -> bool {
        match word.to_ascii_lowercase().as_str() {
            "up" => self.down = false,
            "down" | "fail" | "failed" | "stopped" => self.down = true,
            "ready" => self.admin = Admin::Ready,
            "drain" => self.admin = Admin::Drain,
            "maint" => self.admin = Admin::Maintenance,
            other => return self.heed_number(other),
        }
        true
    }

    fn heed_number(&mut self, word: &str) -> bool {
        if let Some(percent) = word.strip_suffix('%').and_then(|number| number.parse::<u32>().ok()) {
            self.weight_percent = percent;
            return true;
        }
        let most = word.strip_prefix("maxconn:").and_then(|number| number.parse::<u32>().ok());
        if let Some(most) = most {
            self.max_connections = Some(most).filter(|most| *most > 0);
        }
        most.is_some()
    }

    /// All of it, the gravest word first.
    pub(super) fn report(&self) -> Report {
        let word = match (self.admin, self.down) {
            (Admin::Maintenance, _) => Word::Maintenance,
            (_, true) => Word::Down,
            (Admin::Drain, false) => Word::Drain,
            (Admin::Ready, false) => Word::Up,
        };
        let (weight_percent, max_connections) = (self.weight_percent, self.max_connections);
        Report { word, weight_percent, max_connections, why: self.why.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(lines: &[&str]) -> Report {
        let mut words = Words::after(None);
        lines.iter().for_each(|line| assert_eq!(words.hear(line), Vec::<&str>::new(), "{line}"));
        words.report()
    }

    #[test]
    fn every_word_has_its_effect() {
        for (line, word) in [
            ("up", Word::Up),
            ("DOWN", Word::Down),
            ("fail", Word::Down),
            ("failed", Word::Down),
            ("stopped # by hand", Word::Down),
            ("drain", Word::Drain),
            ("maint", Word::Maintenance),
            ("ready", Word::Up),
        ] {
            assert_eq!(after(&[line]).word, word, "{line}");
        }
        let weighed = after(&["up, 75%\tmaxconn:30"]);
        assert_eq!((weighed.weight_percent, weighed.max_connections), (75, Some(30)));
        assert_eq!(after(&["maxconn:30", "maxconn:0"]).max_connections, None);
    }

    #[test]
    fn what_is_not_named_stays() {
        assert_eq!(after(&["down", "50%"]).word, Word::Down);
        assert_eq!(after(&["50%", "up"]).weight_percent, 50);
        assert_eq!(after(&["drain", "up"]).word, Word::Drain, "only `ready` ends a drain");
        assert_eq!(after(&["drain", "ready up"]).word, Word::Up);
        assert_eq!(after(&["maint", "down", "ready"]).word, Word::Down);
    }

    #[test]
    fn the_reason_is_what_follows_the_sharp_or_else_the_words() {
        assert_eq!(after(&["down # disk full "]).why, "agent: disk full");
        assert_eq!(after(&["up 20%"]).why, "agent: up 20%");
    }

    #[test]
    fn words_without_a_meaning_are_told_and_the_others_count() {
        let mut words = Words::after(None);
        assert_eq!(words.hear("up ready? 30% -5% maxconn:x"), ["ready?", "-5%", "maxconn:x"]);
        assert_eq!(words.report().weight_percent, 30);
    }

    proptest! {
        #[test]
        fn any_line_is_taken(lines in prop::collection::vec(".{0,80}", 0..4)) {
            let mut words = Words::after(None);
            for line in &lines {
                words.hear(line);
            }
            let report = words.report();
            prop_assert!(report.why.chars().count() <= MOST_WHY + 7);
            prop_assert_eq!(Words::after(Some(&report)).report(), report);
        }
    }
}
