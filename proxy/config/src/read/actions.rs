//! What a route does: one of `cluster`, `split`, `rollout`, `respond` and `redirect`.

use std::{sync::Arc, time::Duration};

use super::{Names, WAIT, checked, text};
use crate::{
    model::{Action, PathMatch, PathRewrite, Redirect, RequestKey, Respond, Rollout, Scheme, Split},
    node::{Node, Table},
    read::{
        edits::{own_header, path_in_place},
        matching::{pairs, scheme},
    },
    syntax,
};

/// The keys that say what a route does.
const ACTIONS: [&str; 5] = ["cluster", "split", "rollout", "respond", "redirect"];

pub(super) fn action<'a>(table: &Table<'a>, matched: Option<&PathMatch>, names: &Names<'a>) -> Option<Action> {
    let [cluster, split, rollout, respond, redirect] = ACTIONS.map(|key| table.get(key));
    let key = table.get("split-key");
    if let (None, Some(key)) = (&split, &key) {
        key.key_fault("`split-key` belongs to a `split`", "leave it out; a rollout has a `key` of its own");
    }
    exactly_one_action(table, [&cluster, &split, &rollout, &respond, &redirect].map(Option::as_ref));
    let cluster = cluster.and_then(|node| self::cluster(&node, names)).map(Action::Cluster);
    let split = split.and_then(|node| self::split(&node, key.as_ref(), names)).map(Action::Split);
    let rollout = rollout.and_then(|node| self::rollout(&node, names)).map(Action::Rollout);
    let respond = respond.and_then(|node| self::respond(&node)).map(Action::Respond);
    let redirect = redirect.and_then(|node| self::redirect(&node, matched)).map(Action::Redirect);
    cluster.or(split).or(rollout).or(respond).or(redirect)
}

fn exactly_one_action(table: &Table<'_>, nodes: [Option<&Node<'_>>; 5]) {
    let given: Vec<_> = ACTIONS.iter().zip(nodes).filter_map(|(name, node)| Some((name, node?))).collect();
    match given.as_slice() {
        [] => table.fault(
            "one of `cluster`, `split`, `rollout`, `respond` and `redirect` is missing",
            "add `cluster = \"CLUSTER\"`, or say what else the route does",
        ),
        [_] => {}
        [(first, _), others @ ..] => {
            for (name, node) in others {
                node.key_fault(
                    format!("`{first}` and `{name}` exclude each other"),
                    format!("keep `{first}` or `{name}`"),
                );
            }
        }
    }
}

/// The name of a cluster that is there.
pub(super) fn cluster<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<Arc<str>> {
    let name = node.reference("cluster", &names.clusters)?;
    names.route_to(name);
    Some(Arc::from(name))
}

fn split<'a>(node: &Node<'a>, key: Option<&Node<'a>>, names: &Names<'a>) -> Option<Split> {
    let example = "`{ stable = 95, next = 5 }`";
    let entries = node.table(example)?.entries();
    let share = |entry: &Node<'a>| {
        let name = entry.name();
        if !names.clusters.contains(name) {
            entry.key_fault(format!("there is no cluster `{name}`"), "name clusters of this file, each with its share");
            return None;
        }
        names.route_to(name);
        Some((Arc::from(name), entry.integer(0..=1_000_000)?))
    };
    let shares: Vec<_> = entries.iter().filter_map(share).collect();
    let key = key.and_then(split_key);
    if entries.len() < 2 {
        return node.fault("a split has at least two clusters", format!("write {example}, or `cluster` for one"));
    }
    if shares.len() == entries.len() && shares.iter().all(|(_, share)| *share == 0) {
        return node.fault("every share is 0", "give one of the clusters a share");
    }
    Some(Split { shares, key })
}

/// `"source-ip"`, or a table with one of `header`, `cookie` and `query`.
fn split_key(node: &Node<'_>) -> Option<RequestKey> {
    if node.as_string().is_some() {
        return node.choice(&[("source-ip", ())]).map(|()| RequestKey::SourceIp);
    }
    let table = node.table("`\"source-ip\"` or `{ cookie = \"user\" }`")?;
    let header = table.read("header", |node| checked(node, "`\"x-user\"`", syntax::header_name));
    let cookie = table.read("cookie", |node| checked(node, "`\"user\"`", cookie_name));
    let query = table.read("query", |node| node.string("`\"user\"`")).map(str::to_owned);
    table.done();
    match (header, cookie, query) {
        (Some(name), None, None) => Some(RequestKey::Header(name)),
        (None, Some(name), None) => Some(RequestKey::Cookie(name)),
        (None, None, Some(name)) => Some(RequestKey::Query(name)),
        _ => {
            table.fault("a key is one part of a request", "give one of `header`, `cookie` and `query`");
            None
        }
    }
}

pub(super) fn cookie_name(text: &str) -> Result<String, syntax::Wrong> {
    match syntax::is_token(text) {
        true => Ok(text.to_owned()),
        false => Err((format!("`{text}` is not a cookie name"), "use letters, digits, `-` and `_`".to_owned())),
    }
}

fn rollout<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<Rollout> {
    let table = node.table("`{ from = \"stable\", to = \"next\" }`")?;
    let from = table.require("from", "\"CLUSTER\"").and_then(|node| cluster(&node, names));
    let to_node = table.require("to", "\"CLUSTER\"");
    let to = to_node.as_ref().and_then(|node| cluster(node, names));
    let number = |key, range, default| table.read(key, |node| node.integer(range)).unwrap_or(default);
    let steps = table.read("steps", steps).unwrap_or_else(|| vec![5, 25, 50, 100]);
    let interval = table.read("interval", |node| node.duration(WAIT)).unwrap_or(Duration::from_secs(300));
    let min_requests = number("min-requests", 10..=10_000_000, 100);
    let max_error_increase = number("max-error-increase", 0..=100, 1);
    let max_latency_increase = number("max-latency-increase", 0..=100_000, 50);
    let latency_percentile = number("latency-percentile", 50..=99, 95);
    let key = table.read("key", split_key);
    table.done();
    let (from, to) = (from?, to?);
    if from == to {
        return to_node?.fault("a rollout goes from one cluster to another", "name two clusters");
    }
    Some(Rollout {
        from,
        to,
        steps,
        interval,
        min_requests,
        max_error_increase,
        max_latency_increase,
        latency_percentile,
        key,
    })
}

fn steps(node: &Node<'_>) -> Option<Vec<u32>> {
    let example = "`[5, 25, 100]`";
    let steps = node.each(example, |node| node.integer(1..=100))?;
    match steps.is_sorted_by(|one, next| one < next) && steps.last() == Some(&100) {
        true => Some(steps),
        false => node.fault("steps rise, and the last is 100", format!("write {example}")),
    }
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

fn redirect(node: &Node<'_>, matched: Option<&PathMatch>) -> Option<Redirect> {
    let table = node.table("`{ scheme = \"https\" }`")?;
    let redirect = Redirect {
        status: table.read("status", status).unwrap_or(308),
        scheme: table.read("scheme", scheme),
        host: table.read("host", |node| checked(node, "`\"www.example.com\"`", host)),
        port: table.read("port", |node| node.integer(1..=65_535)).and_then(|port| u16::try_from(port).ok()),
        path: path_in_place(&table, matched),
        strip_query: table.read("strip-query", Node::boolean).unwrap_or(false),
    };
    table.done();
    if !redirect.strip_query && table.entries().iter().all(|entry| ["status", "strip-query"].contains(&entry.name())) {
        table.fault("a redirect to where the request came from", "say what is different: `scheme`, `host`, `path` ...");
    }
    Some(redirect)
}

fn status(node: &Node<'_>) -> Option<u16> {
    let status = node.integer(300..=399)?;
    match u16::try_from(status) {
        Ok(status @ (301 | 302 | 303 | 307 | 308)) => Some(status),
        _ => node.fault(
            format!("{status} does not send a client elsewhere"),
            "write 308 or 301 for good, 307 or 302 for now, 303 for a GET",
        ),
    }
}

/// A host without port, in lower case.
fn host(text: &str) -> Result<String, syntax::Wrong> {
    syntax::host_name(&text.to_ascii_lowercase())
}

/// Notes a redirect that sends clients back to where they are.
pub(super) fn warn_of_loop(action: &Action, came_by: Option<Scheme>, name: &Node<'_>) {
    let Action::Redirect(Redirect { scheme: Some(scheme), host: None, port: None, path: None, .. }) = action else {
        return;
    };
    if came_by.is_none_or(|came_by| came_by == *scheme) {
        let other = if *scheme == Scheme::Https { Scheme::Http } else { Scheme::Https };
        name.warn(
            format!("a request that came by {} is sent to where it came from", scheme.as_str()),
            format!("add `scheme = \"{}\"` to `match`", other.as_str()),
        );
    }
}

/// A path to put in place of another.
pub(super) fn whole(node: &Node<'_>) -> Option<PathRewrite> {
    text(node, "`\"/new\"`", syntax::path).map(PathRewrite::Whole)
}
