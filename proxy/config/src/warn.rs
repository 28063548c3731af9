//! What is legal but surely not meant, seen over the whole file.

use std::collections::BTreeSet;

use crate::{
    model::{HostMatch, Match, PathMatch, Route},
    node::{Node, Table},
};

/// Routes that no request reaches, because an earlier one takes every request of theirs.
pub(crate) fn routes(routes: &[(Route, Node<'_>)]) {
    for (index, (route, node)) in routes.iter().enumerate() {
        let earlier = routes.iter().take(index);
        let covering =
            earlier.map(|(first, at)| (first, at.line())).find(|(first, _)| covers(&first.matcher, &route.matcher));
        if let Some((first, line)) = covering {
            node.warn(
                format!(
                    "the route `{}` never matches: `{}` on line {line} takes all its requests",
                    route.name, first.name
                ),
                format!("move it above `{}`, or narrow that one", first.name),
            );
        }
    }
}

/// Plugins or clusters that nothing names.
pub(crate) fn unused(what: &str, declared: &[Node<'_>], used: &BTreeSet<&str>) {
    for node in declared.iter().filter(|node| !used.contains(node.name())) {
        let problem = format!("the {what} `{}` is not used", node.name());
        node.key_warn(problem, format!("name it where it decides, or remove the {what}"));
    }
}

/// A process that does nothing.
pub(crate) fn empty(root: &Table<'_>, listeners: usize, routes: usize) {
    if listeners == 0 {
        root.warn("there is no listener: nothing is accepted", "add `[listeners.NAME]`");
    }
    if listeners > 0 && routes == 0 {
        root.warn("there is no route: every request gets 404", "add `[[routes]]`");
    }
}

/// Whether every request that fits `narrow` fits `wide`. May miss some, never claims too much.
fn covers(wide: &Match, narrow: &Match) -> bool {
    let subset = |wide: &[(String, String)], narrow: &[(String, String)]| wide.iter().all(|pair| narrow.contains(pair));
    covers_host(wide.host.as_ref(), narrow.host.as_ref())
        && covers_path(wide.path.as_ref(), narrow.path.as_ref())
        && subset(&wide.headers, &narrow.headers)
        && subset(&wide.query, &narrow.query)
        && subset(&wide.cookies, &narrow.cookies)
        && covers_methods(&wide.methods, &narrow.methods)
}

fn covers_host(wide: Option<&HostMatch>, narrow: Option<&HostMatch>) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(HostMatch::Suffix(wide)), Some(HostMatch::Exact(narrow) | HostMatch::Suffix(narrow))) => {
            narrow.ends_with(wide)
        }
        (Some(wide), Some(narrow)) => wide == narrow,
    }
}

fn covers_path(wide: Option<&PathMatch>, narrow: Option<&PathMatch>) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(PathMatch::Prefix(wide)), Some(PathMatch::Exact(narrow) | PathMatch::Prefix(narrow))) => {
            let below = narrow.strip_prefix(wide.trim_end_matches('/'));
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        (Some(wide), Some(narrow)) => wide == narrow,
    }
}

/// No methods is every method.
fn covers_methods(wide: &[String], narrow: &[String]) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|method| wide.contains(method)))
}
