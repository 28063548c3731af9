//! `discover` of a cluster, and what endpoints found elsewhere are written like.

use std::{net::IpAddr, ops::RangeInclusive, path::Path, time::Duration};

use serde_json::Value;

use super::{checked, clusters::endpoints};
use crate::{
    fault::{Fault, Faults},
    model::{Discover, Endpoint},
    node::{self, Node},
    report::Report,
    source::Source,
    syntax::{self, Wrong},
};

/// Bounds of the longest time an answer counts.
const TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// Where endpoints are found, and how long an answer of DNS counts at most.
pub(super) fn discover(node: &Node<'_>) -> Option<(Discover, Option<Duration>)> {
    let table = node.table("`{ dns = \"api.internal:8080\" }`")?;
    let (dns, srv, file, max_ttl) = (table.get("dns"), table.get("srv"), table.get("file"), table.get("max-ttl"));
    table.done();
    if let (Some(node), Some(_)) = (&max_ttl, &file) {
        node.key_fault("`max-ttl` is for DNS: a file is looked at every second", "leave out `max-ttl`");
    }
    let max_ttl = max_ttl.and_then(|node| node.duration(TTL));
    let ways = [dns.as_ref(), srv.as_ref(), file.as_ref()];
    let discover = match ways.iter().flatten().count() {
        0 => {
            table.fault("one of `dns`, `srv` and `file` is missing", "add `dns = \"api.internal:8080\"`");
            None
        }
        1 => dns
            .and_then(|node| checked(&node, "`\"api.internal:8080\"`", dns_name))
            .or_else(|| srv.and_then(|node| checked(&node, "`\"_http._tcp.api.internal\"`", srv_name)))
            .or_else(|| Some(Discover::File(file?.file()?))),
        _ => node.fault("`dns`, `srv` and `file` exclude each other", "keep one of them"),
    };
    Some((discover?, max_ttl))
}

/// A name with its port.
fn dns_name(text: &str) -> Result<Discover, Wrong> {
    let example = "write a name and a port, as in `api.internal:8080`";
    let Some((name, port)) = text.rsplit_once(':') else {
        return Err((format!("`{text}` has no port"), example.to_owned()));
    };
    let port = port.parse().ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| (format!("`{text}` has no valid port"), "ports are 1 to 65535".to_owned()))?;
    if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err((format!("`{name}` is an address, not a name"), "list it in `endpoints`".to_owned()));
    }
    syntax::host_name(name)?;
    Ok(Discover::Dns { name: name.to_ascii_lowercase(), port })
}

/// A name of RFC 2782, or any other that has SRV records.
fn srv_name(text: &str) -> Result<Discover, Wrong> {
    syntax::host_name(text)?;
    Ok(Discover::Srv(text.to_ascii_lowercase()))
}

/// The endpoints of a file of their own: TOML, or JSON where its name ends so.
///
/// # Errors
/// Every fault of the file; in JSON they have no line, only their key.
pub fn endpoints_of(text: &str, path: &Path) -> Result<Vec<Endpoint>, Faults> {
    if path.extension().is_none_or(|end| !end.eq_ignore_ascii_case("json")) {
        return read(text, path);
    }
    let value: Value = serde_json::from_str(text).map_err(|error| unlike(path, &error.to_string()))?;
    let text = as_toml(&value).map_err(|why| unlike(path, &why))?;
    read(&text, path).map_err(without_places)
}

/// The endpoint that a JSON object describes, with the keys one has in a file.
///
/// # Errors
/// What is wrong with it, for people.
pub fn endpoint_of(object: &Value) -> Result<Endpoint, String> {
    let list = serde_json::json!({ "endpoints": [object] });
    let text = as_toml(&list).map_err(|why| own_key(&why).to_owned())?;
    let faults = match read(&text, Path::new("")) {
        Ok(endpoints) => return endpoints.into_iter().next().ok_or_else(|| "nothing is described".to_owned()),
        Err(faults) => faults,
    };
    let told = faults.iter().map(|fault| {
        let key = own_key(&fault.key);
        let at = if key.is_empty() { String::new() } else { format!("{key}: ") };
        let remedy = fault.remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
        format!("{at}{}{remedy}", fault.problem)
    });
    Err(told.collect::<Vec<_>>().join("\n"))
}

/// Without what leads to the one endpoint that is described.
fn own_key(key: &str) -> &str {
    key.trim_start_matches("endpoints[0]").trim_start_matches('.')
}

/// What JSON says, as TOML, which has no null.
fn as_toml(value: &Value) -> Result<String, String> {
    match null(value) {
        Some(key) if key.is_empty() => Err("null is no value".to_owned()),
        Some(key) => Err(format!("{key}: null is no value; leave out the key, or write a value")),
        None => toml::to_string(value).map_err(|error| error.to_string()),
    }
}

/// The key of the first null, written like `endpoints[0].weight`.
fn null(value: &Value) -> Option<String> {
    let join = |key: String, rest: String| match rest.is_empty() || rest.starts_with('[') {
        true => key + &rest,
        false => key + "." + &rest,
    };
    match value {
        Value::Null => Some(String::new()),
        Value::Array(all) => {
            all.iter().enumerate().find_map(|(number, one)| Some(join(format!("[{number}]"), null(one)?)))
        }
        Value::Object(all) => all.iter().find_map(|(key, one)| Some(join(key.clone(), null(one)?))),
        _ => None,
    }
}

fn read(text: &str, path: &Path) -> Result<Vec<Endpoint>, Faults> {
    let report = Report::new(Source::new(text, path));
    let found = node::document(text, &report).and_then(|table| {
        let root = Node::root(&table, &report);
        let found = root.require("endpoints", "[\"127.0.0.1:9001\"]").and_then(|node| endpoints(&node));
        root.done();
        found
    });
    let (faults, _) = report.finish();
    match found {
        Some(found) if faults.is_empty() => Ok(found),
        _ => Err(faults),
    }
}

fn unlike(path: &Path, problem: &str) -> Faults {
    let report = Report::new(Source::new("", path));
    report.add(crate::Severity::Error, None, "", problem.to_owned(), Some("write `{\"endpoints\": [..]}`".to_owned()));
    report.finish().0
}

fn without_places(Faults(faults): Faults) -> Faults {
    let placeless = |fault: Fault| Fault { line: 0, column: 0, width: 0, source_line: String::new(), ..fault };
    Faults(faults.into_iter().map(placeless).collect())
}

#[cfg(test)]
mod tests;
