//! What is legal but surely not meant, seen over the whole file.

mod covered;

use std::{collections::BTreeSet, sync::Arc};

pub(crate) use covered::{routes, tenants};

use crate::{
    model::{Access, Listener, Protocol, Route, SentPath},
    node::{Node, Table},
};

/// Listeners whose endpoints are left to read a path for themselves that a gate goes by.
pub(crate) fn paths(routes: &[(Route, Node<'_>)], listeners: &[(Listener, Node<'_>)]) {
    let is_gate = |route: &Route| route.access != Access::default() || !route.rate_limits.is_empty();
    for (listener, node) in listeners.iter().filter(|(listener, _)| listener.paths.send == SentPath::AsSent) {
        let guards = |route: &Route| {
            route.matcher.path.is_some() && is_gate(route) && listens(route.matcher.listener.as_ref(), listener)
        };
        if let Some((route, _)) = routes.iter().find(|(route, _)| guards(route)) {
            let problem = format!(
                "`{}` sends endpoints paths as they came, and `{}` guards some: an endpoint that reads a path \
                 in a way of its own may serve what is guarded",
                listener.name, route.name
            );
            node.warn(problem, "write `paths = { send = \"normalised\" }`, or guard it at the endpoint as well");
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
pub(crate) fn empty(root: &Table<'_>, listeners: &[(Listener, Node<'_>)], routes: &[(Route, Node<'_>)]) {
    if listeners.is_empty() {
        root.warn("there is no listener: nothing is accepted", "add `[listeners.NAME]`");
    }
    if routes.is_empty() && listeners.iter().any(|(listener, _)| listener.protocol == Protocol::Http) {
        root.warn("there is no route: every request gets 404", "add `[[routes]]`");
    }
    for (listener, node) in listeners.iter().filter(|(listener, _)| is_routed(listener)) {
        let takes = |route: &Route| route.takes_connections() && listens(route.matcher.listener.as_ref(), listener);
        if !routes.iter().any(|(route, _)| takes(route)) {
            let problem = format!("nothing takes the connections of `{}`: each is closed", listener.name);
            node.warn(problem, "add `cluster`, or a route to one that matches no more than connections show");
        }
    }
}

/// Whether routes take connections of it.
fn is_routed(listener: &Listener) -> bool {
    listener.protocol != Protocol::Http && listener.cluster.is_none()
}

fn listens(wanted: Option<&Arc<str>>, listener: &Listener) -> bool {
    wanted.is_none_or(|name| *name == listener.name)
}
