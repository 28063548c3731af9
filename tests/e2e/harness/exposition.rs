//! A reader of the metrics page that is as strict as a scraper: one type a family, before its series and
//! with all of them together; no series twice; histograms whose buckets add up.

use std::collections::{BTreeMap, BTreeSet};

/// What a scraper would refuse the page for.
pub fn check(page: &str) -> Result<(), String> {
    let mut reader = Reader::default();
    for (number, line) in page.lines().enumerate() {
        reader.read(line).map_err(|problem| format!("line {}: {problem}: {line}", number + 1))?;
    }
    reader.end_family()
}

#[derive(Default)]
struct Reader {
    /// The family that is being read, and its type.
    family: String,
    kind: String,
    /// Families that have been read or are being read.
    families: BTreeSet<String>,
    /// Families whose help was told.
    helped: BTreeSet<String>,
    series: BTreeSet<String>,
    /// Buckets of a histogram in order, and counts, by labels without `le`.
    buckets: BTreeMap<String, Vec<f64>>,
    counts: BTreeMap<String, f64>,
}

impl Reader {
    fn read(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next()) {
            (Some("#"), Some("TYPE")) => {
                let name = words.next().unwrap_or_default();
                self.begin_family(name, words.next().unwrap_or_default())
            }
            (Some("#"), Some("HELP")) => match self.helped.insert(words.next().unwrap_or_default().to_owned()) {
                true => Ok(()),
                false => Err("help for the second time".into()),
            },
            (Some("#" | ""), _) => Ok(()),
            _ => self.sample(line),
        }
    }

    fn begin_family(&mut self, name: &str, kind: &str) -> Result<(), String> {
        self.end_family()?;
        if !is_name(name) || !["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind) {
            return Err("no name and type".into());
        }
        (self.family, self.kind) = (name.to_owned(), kind.to_owned());
        match self.families.insert(name.to_owned()) {
            true => Ok(()),
            false => Err("a family for the second time".into()),
        }
    }

    fn end_family(&mut self) -> Result<(), String> {
        let counts = std::mem::take(&mut self.counts);
        for (labels, buckets) in std::mem::take(&mut self.buckets) {
            if !buckets.is_sorted() {
                return Err(format!("buckets of {}{{{labels}}} fall: {buckets:?}", self.family));
            }
            if buckets.last() != counts.get(&labels) {
                return Err(format!("the buckets of {}{{{labels}}} and its count differ", self.family));
            }
        }
        Ok(())
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let end = line.find(['{', ' ']).ok_or("no value")?;
        let (name, rest) = line.split_at(end);
        let (mut labels, rest) = labels(rest)?;
        let value = match rest.trim() {
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            "NaN" => f64::NAN,
            text => text.parse().map_err(|_| "no number")?,
        };
        if !is_name(name) {
            return Err("no name".into());
        }
        if !self.series.insert(format!("{name}{labels:?}")) {
            return Err("a series for the second time".into());
        }
        let part = name.strip_prefix(self.family.as_str());
        match (part, self.kind.as_str()) {
            (Some(""), "counter" | "gauge" | "untyped") => Ok(()),
            (Some("_sum"), "histogram" | "summary") => Ok(()),
            (Some("_count"), "histogram" | "summary") => {
                self.counts.insert(format!("{labels:?}"), value);
                Ok(())
            }
            (Some("_bucket"), "histogram") => {
                labels.remove("le").ok_or("a bucket without a bound")?;
                self.buckets.entry(format!("{labels:?}")).or_default().push(value);
                Ok(())
            }
            _ => Err(format!("a series outside its family (this is {} {})", self.kind, self.family)),
        }
    }
}

/// Labels by name, and what follows them.
fn labels(text: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    let Some(mut rest) = text.strip_prefix('{') else { return Ok((labels, text)) };
    while !rest.starts_with('}') {
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        let (value, after) = quoted(after)?;
        if !is_name(name) || labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("label {name} is no name, or is there twice"));
        }
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Ok((labels, rest.get(1..).unwrap_or_default()))
}

/// Text up to the quotation mark that ends it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                _ => return Err("an escape that is none".into()),
            },
            character => value.push(character),
        }
    }
    Err("a label without an end".into())
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}
