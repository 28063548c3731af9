//! Values without parts, typed.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::Duration,
};

use serde_json::Value;
use toml::de::{DeFloat, DeInteger, DeValue};

use super::{Known, Node};
use crate::{
    foreign,
    model::{ByteSize, Network},
    suggest, units,
};

impl<'a> Node<'a> {
    /// A string; `example` is one, with its quotes.
    pub(crate) fn string(&self, example: &str) -> Option<&'a str> {
        self.as_string().or_else(|| self.mistyped("a string", example))
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        self.value.as_bool().or_else(|| self.mistyped("`true` or `false`", "`true` or `false`"))
    }

    /// A whole number within `range`.
    pub(crate) fn integer(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let (low, high) = (range.start(), range.end());
        let wanted = format!("a whole number from {low} to {high}");
        let Some(integer) = self.value.as_integer() else {
            return self.mistyped(&wanted, &format!("{wanted}, without quotes"));
        };
        let number = whole(integer).and_then(|number| u32::try_from(number).ok());
        number
            .filter(|number| range.contains(number))
            .or_else(|| self.fault(format!("{integer} is out of range"), format!("write {wanted}")))
    }

    /// A number with at most two digits after its point, in hundredths within `range`.
    pub(crate) fn hundredths(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let show = |hundredths: u32| f64::from(hundredths) / 100.0;
        let wanted = format!("a number from {} to {}", show(*range.start()), show(*range.end()));
        let number = match self.value {
            DeValue::Integer(integer) => whole(integer).map(|number| number as f64),
            DeValue::Float(float) => float.as_str().replace('_', "").parse().ok(),
            _ => return self.mistyped(&wanted, &format!("{wanted}, without quotes")),
        };
        let hundredths = number.map(|number: f64| (number * 100.0).round());
        hundredths
            .filter(|number| (show(*range.start()) * 100.0..=show(*range.end()) * 100.0).contains(number))
            .map(|number| number as u32)
            .or_else(|| self.fault("this number is out of range", format!("write {wanted}")))
    }

    /// A duration within `range`.
    pub(crate) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.timed("a duration", "a number with its unit, as in `\"30s\"`")?;
        let Some(duration) = units::duration(text) else {
            let remedy = "write whole numbers with units, the larger first, as in `\"30s\"`, \
                          `\"5ms\"` or `\"1h30m\"`; units: ns, us, ms, s, m, h, d";
            return self.fault(format!("`{text}` is not a duration"), remedy);
        };
        if range.contains(&duration) {
            return Some(duration);
        }
        let (low, high) = (units::show_duration(*range.start()), units::show_duration(*range.end()));
        self.fault(format!("`{text}` is out of range"), format!("write {low} to {high}"))
    }

    /// A size within `range`; a bare number counts bytes.
    pub(crate) fn size(&self, range: RangeInclusive<u64>) -> Option<ByteSize> {
        let size = match self.value {
            DeValue::Integer(integer) => whole(integer).and_then(|bytes| u64::try_from(bytes).ok()).map(ByteSize),
            _ => units::size(self.timed("a size", "a number with its unit, as in `\"16MiB\"`")?),
        };
        let Some(size) = size else {
            let remedy = "write a whole number with a unit, as in `\"16MiB\"` or `\"64k\"`; \
                          units: k, m, g (powers of 1024), KiB, MiB, GiB, KB, MB, GB";
            return self.fault("this is not a size", remedy);
        };
        if range.contains(&size.0) {
            return Some(size);
        }
        let show = |bytes: &u64| units::show_size(ByteSize(*bytes));
        let remedy = format!("write {} to {}", show(range.start()), show(range.end()));
        self.fault(format!("{} is out of range", units::show_size(size)), remedy)
    }

    fn timed(&self, wanted: &str, example: &str) -> Option<&'a str> {
        self.as_string().or_else(|| self.mistyped(wanted, example))
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let Some(text) = self.as_string() else {
            return self.mistyped("a string", &format!("one of {}", suggest::list(&words)));
        };
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.or_else(|| {
            let remedy = suggest::remedy(text, &words, "possible values");
            self.fault(format!("`{text}` is not possible here"), remedy)
        })
    }

    /// A name of `known`.
    pub(crate) fn reference(&self, what: &str, known: &Known<'_>) -> Option<&'a str> {
        let name = self.string("a name in quotes")?;
        if known.contains(name) {
            return Some(name);
        }
        let remedy = suggest::remedy(name, known.as_slice(), &format!("{what}s in this file"));
        self.fault(format!("there is no {what} `{name}`"), remedy)
    }

    /// An IP address with its port.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let text = self.string("an address with a port, as in `\"127.0.0.1:8080\"`")?;
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let (problem, remedy) = address_fault(text);
        self.fault(problem, remedy)
    }

    /// A network, as in `10.0.0.0/8`; an address alone is a network of one.
    pub(crate) fn network(&self) -> Option<Network> {
        let text = self.string("a network, as in `\"10.0.0.0/8\"`")?;
        if let Ok(network) = text.parse() {
            return Some(network);
        }
        let (problem, remedy) = network_fault(text);
        self.fault(problem, remedy)
    }

    /// A path, absolute; nothing need be there.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        let text = self.string("a path in quotes")?;
        match text.is_empty() || text.contains('\0') {
            true => self.fault("this is not a path", "name a file"),
            false => Some(self.report.source().resolve(text)),
        }
    }

    /// A path as it would be meant here.
    pub(crate) fn beside(&self, path: &str) -> PathBuf {
        self.report.source().resolve(path)
    }

    /// A path to a file that is there.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let path = self.path()?;
        self.report.names_file(self.span.clone(), &self.path);
        let shown = path.display();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => self.fault(format!("{shown} is a folder"), "name a file"),
            Ok(_) => Some(path),
            Err(error) => self.fault(
                format!("cannot open {shown}: {error}"),
                "name an existing file; relative paths start at the configuration's folder",
            ),
        }
    }

    /// A path to a file that is there, and that is nobody else's business.
    pub(crate) fn private_file(&self) -> Option<PathBuf> {
        let path = self.file()?;
        let mode = fs::metadata(&path).map_or(0, |metadata| metadata.permissions().mode() & 0o7777);
        if mode & 0o007 != 0 {
            let shown = path.display();
            let problem = format!("{shown} is open to every user of this machine (mode {mode:04o})");
            self.warn(problem, format!("take their rights away: `chmod o= {shown}`"));
        }
        Some(path)
    }

    /// Any value, as JSON; dates become text.
    pub(crate) fn json(&self) -> Value {
        json(self.value)
    }
}

/// Tells what is wrong with an address and what would be right.
fn address_fault(text: &str) -> (String, String) {
    if let Some(fault) = foreign::address(text) {
        return fault;
    }
    let problem = |why: &str| format!("`{text}` {why}");
    if let Ok(ip) = text.parse::<IpAddr>() {
        let remedy = format!("add a port, as in `{}`", SocketAddr::new(ip, 8080));
        return (problem("has no port"), remedy);
    }
    let example = "write an IP address and a port, as in `127.0.0.1:8080` or `[::1]:8080`";
    let Some((host, port)) = text.rsplit_once(':') else {
        return (problem("is not an address"), example.to_owned());
    };
    if port.parse::<u16>().is_err() {
        return (problem("has no valid port"), "ports are 0 to 65535".to_owned());
    }
    if host.is_empty() || host == "*" {
        let remedy = format!("write `0.0.0.0:{port}` for every IPv4 address, `[::]:{port}` for IPv6");
        return (problem("names no address"), remedy);
    }
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.chars().all(name) && host.chars().any(|c| c.is_ascii_alphabetic()) {
        let remedy = format!("names are not resolved: write its IP address, as in `127.0.0.1:{port}`");
        return (problem("is a host name, not an address"), remedy);
    }
    (problem("is not an address"), example.to_owned())
}

/// Tells what is wrong with a network and what would be right.
fn network_fault(text: &str) -> (String, String) {
    let example = "write an IP address and a number of bits, as in `10.0.0.0/8` or `2001:db8::/32`";
    let around = text.split_once('/').and_then(|(address, bits)| Some((address.parse().ok()?, bits.parse().ok()?)));
    match around.and_then(|(address, bits)| Network::around(address, bits)) {
        Some(network) => (format!("`{text}` has bits beyond its length"), format!("did you mean `{network}`?")),
        None => (format!("`{text}` is not a network"), example.to_owned()),
    }
}

fn whole(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(integer) => json_integer(integer),
        DeValue::Float(float) => json_float(float),
        DeValue::Boolean(boolean) => Value::from(*boolean),
        DeValue::Datetime(datetime) => Value::from(datetime.to_string()),
        DeValue::Array(array) => array.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let entry = |(key, value): (&toml::Spanned<std::borrow::Cow<'_, str>>, _)| {
                let value: &toml::Spanned<DeValue<'_>> = value;
                (key.get_ref().to_string(), json(value.get_ref()))
            };
            Value::Object(table.iter().map(entry).collect())
        }
    }
}

/// Numbers beyond 64 bits lose digits rather than meaning.
fn json_integer(integer: &DeInteger<'_>) -> Value {
    match (whole(integer), u64::from_str_radix(integer.as_str(), integer.radix())) {
        (Some(number), _) => Value::from(number),
        (None, Ok(number)) => Value::from(number),
        (None, Err(_)) => integer.as_str().parse::<f64>().map_or(Value::Null, Value::from),
    }
}

/// JSON has no infinity and no NaN: they become null.
fn json_float(float: &DeFloat<'_>) -> Value {
    float.as_str().parse::<f64>().map_or(Value::Null, Value::from)
}
