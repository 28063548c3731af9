//! What a route changes on messages, and where copies of them go.

use regex::Regex;

use super::{Names, checked, text};
use crate::{
    foreign,
    model::{ByteSize, Edits, HeaderEdits, Mirror, PathMatch, PathRewrite, Piece, Rewrite, Template, Variable},
    node::{Node, Table},
    read::{
        actions::{cluster, whole},
        checks::host,
        matching::{header, header_name, header_text, pairs},
        secrets::secret,
    },
    suggest,
    syntax::{self, Wrong},
};

/// Headers that the connection or the body decides.
const OURS: [&str; 8] =
    ["connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// What `{NAME}` in a value may be.
const VARIABLES: [(&str, Variable); 11] = [
    ("client-address", Variable::ClientAddress),
    ("client-port", Variable::ClientPort),
    ("scheme", Variable::Scheme),
    ("host", Variable::Host),
    ("method", Variable::Method),
    ("path", Variable::Path),
    ("listener", Variable::Listener),
    ("route", Variable::Route),
    ("tenant", Variable::Tenant),
    ("cluster", Variable::Cluster),
    ("endpoint", Variable::Endpoint),
];

/// Which way a message goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

pub(super) fn edits(table: &Table<'_>, matched: Option<&PathMatch>) -> Edits {
    Edits {
        request: table.read("request-headers", |node| header_edits(node, Way::Up)).unwrap_or_default(),
        response: table.read("response-headers", |node| header_edits(node, Way::Down)).unwrap_or_default(),
        rewrite: table.read("rewrite", |node| rewrite(node, matched)).unwrap_or_default(),
    }
}

fn header_edits(node: &Node<'_>, way: Way) -> Option<HeaderEdits> {
    let table = node.table("`{ set = { x-team = \"blue\" }, remove = [\"x-debug\"] }`")?;
    let edits = HeaderEdits {
        set: templates(&table, "set", way),
        add: templates(&table, "add", way),
        remove: table
            .read("remove", |node| node.each("`[\"x-debug\"]`", |node| removed(node, way)))
            .unwrap_or_default(),
    };
    table.done();
    Some(edits)
}

fn templates(table: &Table<'_>, key: &'static str, way: Way) -> Vec<(String, Template)> {
    let read = |node: &Node<'_>| {
        let value = match node.is_table() {
            true => secret(node).map(|secret| Template(vec![Piece::Secret(secret)])),
            false => written(node, way),
        };
        let name = header_name(node)?;
        refuse(node, editable(&name, way));
        Some((name, value?))
    };
    pairs(table, key, read).unwrap_or_default()
}

fn written(node: &Node<'_>, way: Way) -> Option<Template> {
    let text = header_text(node)?;
    if let Some((foreign, remedy)) = foreign::variable(&text) {
        node.warn(format!("`{foreign}` is sent as it stands here"), remedy);
    }
    match template(&text, way) {
        Ok(template) => Some(template),
        Err((problem, remedy)) => {
            node.key_fault(problem, remedy);
            None
        }
    }
}

fn refuse(node: &Node<'_>, checked: Result<(), Wrong>) {
    if let Err((problem, remedy)) = checked {
        node.key_fault(problem, remedy);
    }
}

fn removed(node: &Node<'_>, way: Way) -> Option<String> {
    checked(node, "`\"x-debug\"`", |text| {
        let name = syntax::header_name(text)?;
        editable(&name, way).map(|()| name)
    })
}

/// The name of a header that we may set on requests, in lower case.
pub(super) fn request_header(text: &str) -> Result<String, Wrong> {
    let name = syntax::header_name(text)?;
    editable(&name, Way::Up).map(|()| name)
}

fn editable(name: &str, way: Way) -> Result<(), Wrong> {
    match name {
        "host" if way == Way::Up => {
            Err(("`host` is not an edit of headers".to_owned(), "write `rewrite = { host = \"..\" }`".to_owned()))
        }
        _ => ours(name),
    }
}

/// A header of a response of ours, its name in lower case.
pub(super) fn own_header(node: &Node<'_>) -> Option<(String, String)> {
    let (name, value) = header(node)?;
    refuse(node, ours(&name));
    Some((name, value))
}

fn ours(name: &str) -> Result<(), Wrong> {
    match OURS.contains(&name) {
        true => Err((format!("`{name}` is not for a route to set"), "leave it out".to_owned())),
        false => Ok(()),
    }
}

/// Text with `{NAME}` for what is known; `{{` and `}}` are braces.
fn template(text: &str, way: Way) -> Result<Template, Wrong> {
    let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at_checked(at).unwrap_or((rest, ""));
        plain.push_str(before);
        rest =
            match brace.strip_prefix("{{").map(|rest| ('{', rest)).or(brace.strip_prefix("}}").map(|rest| ('}', rest)))
            {
                Some((literal, rest)) => {
                    plain.push(literal);
                    rest
                }
                None => {
                    let (name, rest) =
                        brace.strip_prefix('{').and_then(|name| name.split_once('}')).ok_or_else(lone)?;
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(Piece::Variable(variable(name, way)?));
                    rest
                }
            };
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(Template(pieces))
}

fn lone() -> Wrong {
    let remedy = "write `{NAME}` for a variable, `{{` and `}}` for braces";
    ("a brace without its partner".to_owned(), remedy.to_owned())
}

fn variable(name: &str, way: Way) -> Result<Variable, Wrong> {
    let found = VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, variable)| *variable);
    match found {
        Some(Variable::Endpoint) if way == Way::Up => Err((
            "which endpoint takes a request is not known when its headers are edited".to_owned(),
            "use `{endpoint}` in `response-headers`".to_owned(),
        )),
        Some(variable) => Ok(variable),
        None => {
            let known = VARIABLES.map(|(known, _)| known);
            let remedy = suggest::remedy(name, &known, "variables");
            let is_word = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            let shown = if is_word { name } else { "NAME" };
            Err((format!("there is no variable `{{{shown}}}`"), format!("{remedy} (`{{{{` is a brace)")))
        }
    }
}

fn rewrite(node: &Node<'_>, matched: Option<&PathMatch>) -> Option<Rewrite> {
    let table = node.table("`{ prefix = \"/\" }`")?;
    let in_place = path_in_place(&table, matched);
    let regex = table.get("regex");
    let with = table.get("with");
    let host = table.read("host", host);
    table.done();
    let path = match (in_place, regex, with) {
        (Some(_), Some(regex), _) => {
            regex.key_fault("`regex` excludes `prefix` and `path`", "keep one of them");
            None
        }
        (in_place, None, Some(with)) => {
            with.key_fault("`with` belongs to a `regex`", "add `regex`, or leave `with` out");
            in_place
        }
        (in_place, None, None) => in_place,
        (None, Some(regex), None) => {
            regex.key_fault("it is not said what the match is replaced with", "add `with = \"/$1\"`");
            None
        }
        (None, Some(regex), Some(with)) => by_regex(&regex, &with),
    };
    if path.is_none() && host.is_none() {
        table.warn("nothing is rewritten", "give one of `prefix`, `path`, `regex` and `host`");
    }
    Some(Rewrite { path, host })
}

/// `prefix` or `path` of a rewrite or redirect.
pub(super) fn path_in_place(table: &Table<'_>, matched: Option<&PathMatch>) -> Option<PathRewrite> {
    let prefix = table.get("prefix");
    let path = table.get("path");
    if let (Some(_), Some(path)) = (&prefix, &path) {
        path.key_fault("`prefix` and `path` exclude each other", "keep `prefix` to replace what the route matched");
    }
    let path = path.as_ref().and_then(whole);
    let Some(prefix) = prefix else { return path };
    let Some(PathMatch::Prefix(matched)) = matched else {
        prefix.key_fault("there is no prefix to replace", "add `path-prefix` to `match`, or write `path`");
        return path;
    };
    let with = text(&prefix, "`\"/\"`", syntax::path)?;
    Some(PathRewrite::Prefix { matched: matched.clone(), with })
}

fn by_regex(regex: &Node<'_>, with: &Node<'_>) -> Option<PathRewrite> {
    let pattern = regex.string("a regular expression in quotes")?;
    let replacement = text(with, "`\"/$1\"`", replacement)?;
    match Regex::new(pattern) {
        Ok(_) => Some(PathRewrite::Regex { pattern: pattern.to_owned(), with: replacement }),
        Err(error) => {
            let shown = error.to_string();
            let why = shown.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            regex.fault(format!("this is not a regular expression: {why}"), "as in `\"^/v1/(.*)$\"`")
        }
    }
}

/// What stands in a path, groups apart.
fn replacement(text: &str) -> Result<(), Wrong> {
    match text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#')) {
        true => Ok(()),
        false => Err((
            format!("`{text}` cannot be part of a path"),
            "leave out `?` and `#`, and write spaces percent-encoded, as in `%20`".to_owned(),
        )),
    }
}

pub(super) fn mirror<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<Mirror> {
    let table = node.table("`{ cluster = \"shadow\" }`")?;
    let cluster = table.require("cluster", "\"CLUSTER\"").and_then(|node| cluster(&node, names));
    let percent = table.read("percent", |node| node.integer(1..=100)).unwrap_or(100);
    let max_in_flight = table.read("max-in-flight", |node| node.integer(1..=100_000)).unwrap_or(64);
    let max_body = table.read("max-body", |node| node.size(0..=16 << 20)).unwrap_or(ByteSize(64 << 10));
    table.done();
    Some(Mirror { cluster: cluster?, percent, max_in_flight, max_body })
}
