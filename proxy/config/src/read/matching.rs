//! `match` of a route.

use std::sync::Arc;

use crate::{
    model::{EncodedSlashes, HostMatch, Match, PathMatch, Scheme},
    node::{Node, Table},
    paths::{self, Normal},
    read::{Names, checked, text},
    syntax,
};

pub(super) fn matcher(node: &Node<'_>, names: &Names<'_>) -> Option<Match> {
    let table = node.table("`{ path-prefix = \"/v1\" }`")?;
    let matcher = Match {
        host: table.read("host", host),
        scheme: table.read("scheme", scheme),
        path: path(&table),
        headers: pairs(&table, "headers", matched_header).unwrap_or_default(),
        query: pairs(&table, "query", |node| plain(node, false)).unwrap_or_default(),
        cookies: pairs(&table, "cookies", |node| plain(node, true)).unwrap_or_default(),
        methods: table.read("methods", methods).unwrap_or_default(),
        sni: table.read("sni", host),
        alpn: table.read("alpn", |node| one_or_more(node, "alpn", alpn)).unwrap_or_default(),
        client: table.read("client", |node| one_or_more(node, "client", |node| node.network())).unwrap_or_default(),
        listener: table.read("listener", |node| node.reference("listener", &names.listeners)).map(Arc::from),
        tenant: table.read("tenant", |node| node.reference("tenant", &names.tenants)).map(Arc::from),
    };
    table.done();
    Some(matcher)
}

pub(super) fn host(node: &Node<'_>) -> Option<HostMatch> {
    if node.is_array() {
        let remedy = "write a route for each host, or `host = \"*.example.com\"` for all below a name";
        return node.fault("a match has one host", remedy);
    }
    checked(node, "`\"api.example.com\"`", syntax::host)
}

/// `"http"` or `"https"`
pub(super) fn scheme(node: &Node<'_>) -> Option<Scheme> {
    node.choice(&[("http", Scheme::Http), ("https", Scheme::Https)])
}

fn path(table: &Table<'_>) -> Option<PathMatch> {
    let exact = table.get("path");
    let prefix = table.get("path-prefix");
    if let (Some(_), Some(prefix)) = (&exact, &prefix) {
        prefix.key_fault(
            "`path` and `path-prefix` exclude each other",
            "keep `path` for one path, `path-prefix` for all below it",
        );
    }
    let read = |node: &Node<'_>| {
        let path = text(node, "`\"/v1\"`", syntax::path)?;
        warn_of_star(node, &path);
        normal(node, path)
    };
    let exact = exact.as_ref().and_then(read).map(PathMatch::Exact);
    let prefix = prefix.as_ref().and_then(read).map(|prefix| PathMatch::Prefix(trimmed(&prefix)));
    exact.or(prefix)
}

/// Warns of a `*`, which other proxies take for any text.
fn warn_of_star(node: &Node<'_>, path: &str) {
    if let Some((before, _)) = path.split_once('*') {
        let prefix = trimmed(before);
        let problem = format!("`*` means itself: `{path}` matches no other path");
        node.warn(problem, format!("write `path-prefix = \"{prefix}\"` for all below it"));
    }
}

/// A path as requests are compared with it.
fn normal(node: &Node<'_>, path: String) -> Option<String> {
    match paths::normalise(&path, EncodedSlashes::Keep) {
        Err(reason) => node.fault(format!("every request is refused that has the path `{path}`: {reason}"), "mend it"),
        Ok(Normal { path: Some(normal), .. }) => {
            let problem = format!("paths are compared in their normal form: `{path}` is matched as `{normal}`");
            node.warn(problem, format!("write `{normal}`"));
            Some(normal)
        }
        Ok(Normal { doubtful: true, .. }) => {
            let problem = format!("endpoints may read `{path}` in more than one way");
            let remedy =
                "leave out `;`, `%2F` and `%5C`: such a request is refused unless each reading is this route's";
            node.warn(problem, remedy);
            Some(path)
        }
        Ok(_) => Some(path),
    }
}

/// A prefix goes by whole segments, so that the `/` at its end says nothing.
fn trimmed(prefix: &str) -> String {
    match prefix.trim_end_matches('/') {
        "" => "/".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

/// One value, or an array of at least one.
fn one_or_more<T>(node: &Node<'_>, key: &str, read: impl Fn(&Node<'_>) -> Option<T>) -> Option<Vec<T>> {
    if node.as_string().is_some() {
        return read(node).map(|value| vec![value]);
    }
    let values = node.each("a value in quotes, or an array of them", read)?;
    if node.array("")?.is_empty() {
        return node.fault("nothing is listed", format!("leave out `{key}` to take any"));
    }
    Some(values)
}

/// A list that must not be empty.
pub(super) fn list<'a, T>(
    table: &Table<'a>,
    key: &'static str,
    example: &str,
    read: impl Fn(&Node<'a>) -> Option<T>,
) -> Vec<T> {
    let read = table.read(key, |node| match node.array(example)?.is_empty() {
        true => node.fault(format!("an empty `{key}` fits nothing"), format!("write {example}, or leave it out")),
        false => node.each(example, read),
    });
    read.unwrap_or_default()
}

/// A protocol's name as ALPN has it (RFC 7301).
pub(super) fn alpn(node: &Node<'_>) -> Option<String> {
    let name = node.string("`\"h2\"`")?;
    match (1..=255).contains(&name.len()) {
        true => Some(name.to_owned()),
        false => node.fault("the name of a protocol has 1 to 255 octets", "write one, as in `\"h2\"`"),
    }
}

fn methods(node: &Node<'_>) -> Option<Vec<String>> {
    let methods = node.each("`[\"GET\"]`", |node| checked(node, "`\"GET\"`", syntax::method))?;
    if node.array("`[\"GET\"]`")?.is_empty() {
        return node.fault("no method is listed", "leave out `methods` to take every method");
    }
    Some(methods)
}

/// The entries of a table of names with their values.
pub(super) fn pairs<T>(
    table: &Table<'_>,
    key: &'static str,
    read: impl Fn(&Node<'_>) -> Option<(String, T)>,
) -> Option<Vec<(String, T)>> {
    let entries = table.read(key, |node| node.table("`{ NAME = \"VALUE\" }`"))?.entries();
    let mut pairs: Vec<(String, T)> = Vec::new();
    for node in &entries {
        let Some((name, value)) = read(node) else { continue };
        if pairs.iter().any(|(other, _)| *other == name) {
            node.key_fault(format!("`{name}` is already there"), "write it once");
        }
        pairs.push((name, value));
    }
    Some(pairs)
}

/// A header field that requests are compared with.
fn matched_header(node: &Node<'_>) -> Option<(String, String)> {
    let (name, value) = header(node)?;
    if value == "*" || value.ends_with(" *") {
        node.warn(format!("`*` means itself in the value of `{name}`"), "write the whole value that requests have");
    }
    Some((name, value))
}

/// A header field, its name in lower case.
pub(super) fn header(node: &Node<'_>) -> Option<(String, String)> {
    let value = header_text(node);
    header_name(node).zip(value)
}

/// What a header field has as its value, which is not shown.
pub(super) fn header_text(node: &Node<'_>) -> Option<String> {
    node.hide();
    text(node, "the value in quotes", syntax::header_value)
}

/// The name of a header field, in lower case.
pub(super) fn header_name(node: &Node<'_>) -> Option<String> {
    match syntax::header_name(node.name()) {
        Ok(name) => Some(name),
        Err((problem, remedy)) => {
            node.key_fault(problem, remedy);
            None
        }
    }
}

/// A name with a value of any kind of text.
fn plain(node: &Node<'_>, token: bool) -> Option<(String, String)> {
    if token && !syntax::is_token(node.name()) {
        let problem = format!("`{}` is not a cookie name", node.name());
        node.key_fault(problem, "use letters, digits, `-` and `_`");
    }
    node.hide();
    let value = node.string("the value in quotes")?;
    Some((node.name().to_owned(), value.to_owned()))
}
