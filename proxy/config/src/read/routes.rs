//! `[[routes]]`

use std::{collections::HashMap, sync::Arc};

use super::{Names, WAIT, text};
use crate::{
    model::{Action, Respond, Route},
    node::{Node, Table},
    read::{
        attempts::retries,
        bindings::{binding, exactly_one},
        matching::{header, matcher, pairs},
    },
    syntax::{self, Wrong},
};

/// Headers that the connection or the body decides.
const OURS: [&str; 7] = ["connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// Every route with the node of its name.
pub(super) fn routes<'a>(root: &Table<'a>, names: &Names<'a>) -> Vec<(Route, Node<'a>)> {
    let nodes = root.read("routes", |node| node.array("`[[routes]]` above the keys of each"));
    let mut routes = Vec::new();
    let mut lines: HashMap<&str, usize> = HashMap::new();
    for node in nodes.unwrap_or_default() {
        routes.extend(route(&node, names, &mut lines));
    }
    routes
}

fn route<'a>(node: &Node<'a>, names: &Names<'a>, lines: &mut HashMap<&'a str, usize>) -> Option<(Route, Node<'a>)> {
    let table = node.table("`[[routes]]` above the keys of each")?;
    let name = table.require("name", "\"NAME\"");
    let checked = name.as_ref().and_then(|node| own_name(node, lines));
    let matcher = table.read("match", |node| matcher(node, names)).unwrap_or_default();
    let plugins = table.read("plugins", |node| node.each("`[\"NAME\"]`", |node| binding(node, names)));
    let action = action(&table, names);
    let timeout = table.read("timeout", |node| node.duration(WAIT));
    let attempt_timeout = table.read("attempt-timeout", |node| node.duration(WAIT));
    let retries = table.read("retries", retries);
    table.done();
    let plugins = plugins.unwrap_or_default();
    let (checked, action) = (checked?, action?);
    Some((Route { name: checked, matcher, plugins, action, timeout, attempt_timeout, retries }, name?))
}

/// A name that no earlier route has.
fn own_name<'a>(node: &Node<'a>, lines: &mut HashMap<&'a str, usize>) -> Option<Arc<str>> {
    text(node, "a name in quotes", syntax::name)?;
    let name = node.as_string()?;
    match lines.insert(name, node.line()) {
        Some(line) => node
            .fault(format!("the route name `{name}` is already taken on line {line}"), "give each route its own name"),
        None => Some(Arc::from(name)),
    }
}

fn action<'a>(table: &Table<'a>, names: &Names<'a>) -> Option<Action> {
    let cluster = table.get("cluster");
    let answer = table.get("respond");
    exactly_one(table, ("cluster", cluster.as_ref()), ("respond", answer.as_ref()));
    let forward = cluster.and_then(|node| node.reference("cluster", &names.clusters));
    if let Some(name) = forward {
        names.used_clusters.borrow_mut().insert(name);
        names.routed_clusters.borrow_mut().insert(name);
    }
    let answer = answer.and_then(|node| respond(&node)).map(Action::Respond);
    forward.map(|name| Action::Cluster(Arc::from(name))).or(answer)
}

fn respond(node: &Node<'_>) -> Option<Respond> {
    let table = node.table("`{ status = 200, body = \"..\" }`")?;
    let status = table.read("status", |node| node.integer(200..=599));
    let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
    let body_node = table.get("body");
    let body = body_node.as_ref().and_then(|node| node.string("the body in quotes"));
    let headers = pairs(&table, "headers", own_header).unwrap_or_default();
    table.done();
    let body = body.unwrap_or_default().to_owned();
    if let (204 | 304, false, Some(node)) = (status, body.is_empty(), body_node) {
        node.key_fault(format!("a response with status {status} has no body"), "leave out `body`");
    }
    Some(Respond { status, body, headers })
}

fn own_header(node: &Node<'_>) -> Option<(String, String)> {
    let (name, value) = header(node)?;
    if let Err((problem, remedy)) = ours(&name) {
        node.key_fault(problem, remedy);
    }
    Some((name, value))
}

fn ours(name: &str) -> Result<(), Wrong> {
    match OURS.contains(&name) {
        true => Err((format!("`{name}` is not for a route to set"), "leave it out".to_owned())),
        false => Ok(()),
    }
}
