//! `[[routes]]`

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc, time::Duration};

use super::{Names, WAIT, body, text};
use crate::{
    model::{Action, Listener, Match, Mirror, Protocol, Route},
    node::{Node, Table},
    read::{
        actions::{action, warn_of_loop},
        attempts::{hedge, retries},
        bindings::binding,
        compression::{compression, warn_of_compression},
        edits::{edits, mirror},
        limits::{access, used},
        matching::matcher,
    },
    syntax,
};

/// Of all plugin calls of a request.
const BUDGET: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(1);

/// Every route with the node of its name.
pub(super) fn routes<'a>(
    root: &Table<'a>,
    names: &Names<'a>,
    listeners: &[(Listener, Node<'a>)],
) -> Vec<(Route, Node<'a>)> {
    let nodes = root.read("routes", |node| node.array("`[[routes]]` above the keys of each"));
    let mut routes = Vec::new();
    let mut lines: HashMap<&str, usize> = HashMap::new();
    for node in nodes.unwrap_or_default() {
        routes.extend(route(&node, names, listeners, &mut lines));
    }
    routes
}

fn route<'a>(
    node: &Node<'a>,
    names: &Names<'a>,
    listeners: &[(Listener, Node<'a>)],
    lines: &mut HashMap<&'a str, usize>,
) -> Option<(Route, Node<'a>)> {
    let table = node.table("`[[routes]]` above the keys of each")?;
    let name = table.require("name", "\"NAME\"");
    let checked = name.as_ref().and_then(|node| own_name(node, lines));
    let matcher = table.read("match", |node| matcher(node, names)).unwrap_or_default();
    let connect_node = table.get("connect");
    let connect = connect_node.as_ref().and_then(Node::boolean).unwrap_or(false);
    let access = access(&table);
    let owner = format!("route:{}", name.as_ref().and_then(Node::as_string).unwrap_or_default());
    let rate_limits = used(&table, &owner, names);
    let plugins = table.read("plugins", |node| node.each("`[\"NAME\"]`", |node| binding(node, names)));
    let action = action(&table, matcher.path.as_ref(), names);
    let edits = edits(&table, matcher.path.as_ref());
    let mirror_node = table.get("mirror");
    let mirror = mirror_node.as_ref().and_then(|node| mirror(node, names));
    let compression_node = table.get("compression");
    let compression = compression_node.as_ref().and_then(compression);
    let timeout = table.read("timeout", |node| node.duration(WAIT));
    let attempt_timeout = table.read("attempt-timeout", |node| node.duration(WAIT));
    let retries = table.read("retries", retries);
    let hedge = table.read("hedge", hedge);
    let tunnel_idle_timeout = table.read("tunnel-idle-timeout", |node| node.duration(WAIT));
    let max_body = table.read("max-body", body);
    let plugin_budget = table.read("plugin-budget", |node| node.duration(BUDGET));
    table.done();
    if let Some(protocol) = passed_on(&matcher, listeners) {
        refuse_for_connections(&table, protocol);
    }
    let (name, action) = (name?, action?);
    warn_of_loop(&action, matcher.scheme, &name);
    if let (Some(node), true) = (connect_node, connect) {
        connect_fits(&table, &node, &action);
        for stray in ["rewrite", "request-headers", "mirror"].into_iter().filter_map(|key| table.get(key)) {
            stray.key_warn(format!("CONNECT has no use for `{}`", stray.name()), "leave it out");
        }
    }
    if let (Some(node), Some(mirror)) = (mirror_node, &mirror) {
        warn_of_mirror(&action, plugins.is_some(), mirror, &node);
    }
    if let Some(node) = compression_node {
        warn_of_compression(&action, plugins.is_some(), &node);
    }
    let plugins = plugins.unwrap_or_default();
    let checked = checked?;
    let route = Route {
        name: checked,
        matcher,
        connect,
        access,
        rate_limits,
        plugins,
        action,
        edits,
        mirror,
        compression,
        timeout,
        attempt_timeout,
        retries,
        hedge,
        tunnel_idle_timeout,
        plugin_budget,
        max_body,
    };
    Some((route, name))
}

/// The protocol of the listener, or of one of them, where all that a route can take are connections that pass as they are.
fn passed_on(matcher: &Match, listeners: &[(Listener, Node<'_>)]) -> Option<Protocol> {
    let mut protocols = listeners
        .iter()
        .filter(|(listener, _)| matcher.listener.as_ref().is_none_or(|name| *name == listener.name))
        .map(|(listener, _)| listener.protocol);
    let first = protocols.next()?;
    (first != Protocol::Http && protocols.all(|protocol| protocol != Protocol::Http)).then_some(first)
}

/// Keys of a route that are about requests, and what they would do with them.
const OF_REQUESTS: [(&str, &str); 13] = [
    ("plugins", "routed by plugins"),
    ("respond", "answered"),
    ("redirect", "redirected"),
    ("rewrite", "rewritten"),
    ("request-headers", "edited"),
    ("response-headers", "edited"),
    ("mirror", "copied"),
    ("hedge", "hedged"),
    ("attempt-timeout", "attempted more than to be connected"),
    ("connect", "taken by their method"),
    ("compression", "compressed"),
    ("tunnel-idle-timeout", "switched to a tunnel"),
    ("max-body", "measured"),
];

fn refuse_for_connections(table: &Table<'_>, protocol: Protocol) {
    let remedy = "leave it out, or let a listener with `protocol = \"http\"` take the requests";
    for (key, done) in OF_REQUESTS {
        if let Some(node) = table.get(key) {
            let problem = format!("what comes in by `protocol = \"{}\"` cannot be {done}", protocol.as_str());
            node.key_fault(problem, remedy);
        }
    }
    let key = |node: Node<'_>| {
        if node.as_string().is_none() {
            let problem = format!("what comes in by `protocol = \"{}\"` shows no part of a request", protocol.as_str());
            node.key_fault(problem, "write `\"source-ip\"`, or leave it out");
        }
    };
    table.get("split-key").into_iter().for_each(key);
    let rollout = table.get("rollout").and_then(|node| node.table("`{ from = \"stable\", to = \"next\" }`"));
    rollout.and_then(|rollout| rollout.get("key")).into_iter().for_each(key);
}

/// Parts of a match that CONNECT has not, or that say nothing of it.
const NOT_OF_CONNECT: [(&str, &str); 4] = [
    ("path", "CONNECT has no path"),
    ("path-prefix", "CONNECT has no path"),
    ("query", "CONNECT has no query"),
    ("methods", "a route with `connect` takes no other method"),
];

/// CONNECT asks for nothing but to be connected.
fn connect_fits(table: &Table<'_>, node: &Node<'_>, action: &Action) {
    let matcher = table.get("match").and_then(|node| node.table("`{ host = \"db.example.com\" }`"));
    for (key, problem) in NOT_OF_CONNECT {
        if let Some(stray) = matcher.as_ref().and_then(|matcher| matcher.get(key)) {
            stray.key_fault(problem, format!("leave out `{key}`: match by `host` and what else CONNECT has"));
        }
    }
    if matches!(action, Action::Respond(_) | Action::Redirect(_)) {
        node.key_fault("CONNECT leads to an endpoint", "write `cluster`, or leave out `connect`");
    }
}

/// Notes copies that are never made, or go where the request itself goes.
fn warn_of_mirror(action: &Action, has_plugins: bool, mirror: &Mirror, node: &Node<'_>) {
    match action {
        Action::Respond(_) | Action::Redirect(_) if !has_plugins => {
            node.key_warn("the route forwards nothing that could be mirrored", "leave out `mirror`");
        }
        Action::Cluster(name) if *name == mirror.cluster => {
            node.key_warn("copies go to the cluster that answers the requests", "name another cluster");
        }
        _ => {}
    }
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
