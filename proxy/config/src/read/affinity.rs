//! `affinity` of a cluster or a tenant.

use std::{path::PathBuf, time::Duration};

use super::{Names, checked, count, text};
use crate::{
    model::{Affinity, AffinityKind, MarkCookie, MarkMode, OnLost, RequestKey, ResponseKey},
    node::Node,
    read::bindings::{beside, one_of},
    syntax::{self, Wrong},
};

const IDLE: Duration = Duration::from_secs(30 * 60);
const MAX: Duration = Duration::from_secs(8 * 3_600);
/// Sessions may last as long as a browser keeps cookies.
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const SECOND: Duration = Duration::from_secs(1);

const KINDS: [&str; 6] = ["cookie", "header", "query", "source-ip", "learn", "plugin"];

pub(super) fn affinity<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<Affinity> {
    let table = node.table("`{ cookie = { name = \"weir\" } }`")?;
    let kinds = KINDS.map(|key| table.get(key));
    one_of(&table, &kinds.each_ref().map(Option::as_ref), &KINDS);
    let [cookie, header, query, source_ip, learn, plugin] = kinds;
    let own = table.get("settings");
    let outer = [table.get("idle"), table.get("max")];
    let capacity = table.get("capacity");
    let on_lost = [("rebind", OnLost::Rebind), ("reject", OnLost::Reject)];
    let on_lost = table.read("on-lost", |node| node.choice(&on_lost)).unwrap_or(OnLost::Rebind);
    table.done();
    let bound = beside(plugin.as_ref(), own.as_ref(), names).map(AffinityKind::Plugin);
    let (cookie, inner) = match cookie.and_then(|node| marked(&node)) {
        Some((kind, times)) => (Some(kind), times),
        None => (None, [None, None]),
    };
    let key = header.and_then(|node| header_name(&node)).map(RequestKey::Header);
    let key = key.or_else(|| query.and_then(|node| parameter(&node)).map(RequestKey::Query));
    let key = key.or_else(|| source_ip.and_then(|node| address(&node)));
    let key = key.map(|by| AffinityKind::Key { by, learn: None });
    let kind = cookie.or(key).or_else(|| learn.and_then(|node| learned(&node))).or(bound)?;
    if let (AffinityKind::Cookie(_), Some(node)) = (&kind, &capacity) {
        node.key_fault("cookies with a mark remember no sessions here", "leave out `capacity`");
    }
    let capacity = capacity.and_then(|node| count(&node, 1..=100_000_000)).unwrap_or(100_000);
    let [idle, max] = times(&kind, outer, inner);
    Some(Affinity { kind, idle, max, capacity, on_lost })
}

/// `idle` and `max` with their nodes.
type Times<'a> = [Option<Node<'a>>; 2];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Insert,
    Prefix,
    Passive,
}

fn marked<'a>(node: &Node<'a>) -> Option<(AffinityKind, Times<'a>)> {
    let table = node.table("`{ name = \"weir\" }`")?;
    let name = table.read("name", cookie_name).unwrap_or_else(|| "weir".to_owned());
    let modes = [("insert", Mode::Insert), ("prefix", Mode::Prefix), ("passive", Mode::Passive)];
    let mode = table.read("mode", |node| node.choice(&modes)).unwrap_or(Mode::Insert);
    let path_node = table.get("path");
    let secret_node = table.get("secret");
    let times = [table.get("idle"), table.get("max")];
    table.done();
    if let (Mode::Prefix | Mode::Passive, Some(path)) = (mode, &path_node) {
        path.key_fault("the application decides the path of its own cookie", "leave out `path`");
    }
    if let (Mode::Passive, Some(secret)) = (mode, &secret_node) {
        secret.key_fault("the mode `passive` has no mark to authenticate", "leave out `secret`");
    }
    let path = path_node.and_then(|node| text(&node, "`\"/\"`", cookie_path)).unwrap_or_else(|| "/".to_owned());
    let secret = secret_node.and_then(|node| secret(&node));
    let kind = match mode {
        Mode::Insert => AffinityKind::Cookie(MarkCookie { name, mode: MarkMode::Insert { path }, secret }),
        Mode::Prefix => AffinityKind::Cookie(MarkCookie { name, mode: MarkMode::Prefix, secret }),
        Mode::Passive => {
            AffinityKind::Key { by: RequestKey::Cookie(name.clone()), learn: Some(ResponseKey::Cookie(name)) }
        }
    };
    Some((kind, times))
}

fn learned(node: &Node<'_>) -> Option<AffinityKind> {
    let table = node.table("`{ cookie = \"SESSION\" }`")?;
    let header = table.get("header");
    let cookie = table.get("cookie");
    one_of(&table, &[header.as_ref(), cookie.as_ref()], &["header", "cookie"]);
    let found = table.read("match", learn_match);
    table.done();
    let header = header.and_then(|node| header_name(&node));
    let cookie = cookie.and_then(|node| cookie_name(&node));
    let (same, learn) = match (header, cookie) {
        (Some(name), _) => (RequestKey::Header(name.clone()), ResponseKey::Header(name)),
        (None, Some(name)) => (RequestKey::Cookie(name.clone()), ResponseKey::Cookie(name)),
        (None, None) => return None,
    };
    Some(AffinityKind::Key { by: found.unwrap_or(same), learn: Some(learn) })
}

fn learn_match(node: &Node<'_>) -> Option<RequestKey> {
    let table = node.table("`{ query = \"sid\" }`")?;
    let keys = [table.get("header"), table.get("cookie"), table.get("query")];
    table.done();
    if keys.iter().flatten().count() != 1 {
        return node.fault("exactly one of `header`, `cookie` and `query` is needed", "write `{ query = \"sid\" }`");
    }
    let [header, cookie, query] = keys;
    let header = header.and_then(|node| header_name(&node)).map(RequestKey::Header);
    let cookie = cookie.and_then(|node| cookie_name(&node)).map(RequestKey::Cookie);
    header.or(cookie).or_else(|| query.and_then(|node| parameter(&node)).map(RequestKey::Query))
}

fn address(node: &Node<'_>) -> Option<RequestKey> {
    match node.boolean()? {
        true => Some(RequestKey::SourceIp),
        false => node.fault("`source-ip` can only be on", "write `source-ip = true`, or another kind"),
    }
}

pub(super) fn header_name(node: &Node<'_>) -> Option<String> {
    checked(node, "`\"x-session\"`", syntax::header_name)
}

pub(super) fn parameter(node: &Node<'_>) -> Option<String> {
    match node.string("`\"session\"`")? {
        "" => node.fault("a query parameter has a name", "write `\"session\"`"),
        name => Some(name.to_owned()),
    }
}

/// What holds of times that may stand in two places; none is unlimited.
fn times(kind: &AffinityKind, outer: Times<'_>, inner: Times<'_>) -> [Option<Duration>; 2] {
    let [outer_idle, outer_max] = outer;
    let [inner_idle, inner_max] = inner;
    let prefixed = matches!(kind, AffinityKind::Cookie(MarkCookie { mode: MarkMode::Prefix, .. }));
    if let (true, Some(node)) = (prefixed, inner_idle.as_ref().or(outer_idle.as_ref())) {
        node.key_fault(
            "the mode `prefix` knows no `idle`: a mark changes only when the application sets its cookie",
            "leave out `idle`; `max` ends the session",
        );
    }
    let (idle_node, idle) = time(outer_idle, inner_idle, IDLE);
    let (max_node, max) = time(outer_max, inner_max, MAX);
    if prefixed {
        return [None, max];
    }
    if let (Some(node), Some(idle), Some(max)) = (idle_node.or(max_node), idle, max)
        && idle > max
    {
        node.warn("`idle` is longer than `max`: it never ends a session", "make `idle` the shorter");
    }
    [idle, max]
}

fn time<'a>(
    outer: Option<Node<'a>>,
    inner: Option<Node<'a>>,
    default: Duration,
) -> (Option<Node<'a>>, Option<Duration>) {
    if let (Some(outer), Some(_)) = (&outer, &inner) {
        outer.key_fault(format!("`{}` is also inside `cookie`", outer.name()), "write it once");
    }
    let Some(node) = inner.or(outer) else { return (None, Some(default)) };
    if node.as_string() == Some("unlimited") {
        node.warn(
            format!("without `{}` sessions pile up, and load moves to new endpoints only slowly", node.name()),
            "give it a time",
        );
        return (Some(node), None);
    }
    let time = node.duration(SECOND..=YEAR).unwrap_or(default);
    (Some(node), Some(time))
}

pub(super) fn cookie_name(node: &Node<'_>) -> Option<String> {
    text(node, "`\"weir\"`", |name| match syntax::is_token(name) {
        true => Ok(()),
        false => Err((format!("`{name}` is not a cookie name"), "use letters, digits, `-` and `_`".to_owned())),
    })
}

fn cookie_path(path: &str) -> Result<(), Wrong> {
    syntax::path(path)?;
    match path.contains(';') {
        true => Err((format!("`{path}` has a `;`"), "leave it out".to_owned())),
        false => Ok(()),
    }
}

/// A file that is long enough to be a secret.
fn secret(node: &Node<'_>) -> Option<PathBuf> {
    let path = node.private_file()?;
    match path.metadata().map(|metadata| metadata.len()) {
        Ok(bytes @ 0..32) => node.fault(
            format!("{} has {bytes} bytes: too few for a secret", path.display()),
            "write at least 32 random bytes, as from `head -c 32 /dev/urandom`",
        ),
        _ => Some(path),
    }
}
