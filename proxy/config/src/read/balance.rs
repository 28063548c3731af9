//! `balance` and `load-reports` of a cluster.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    Names,
    affinity::{cookie_name, header_name, parameter},
    text,
};
use crate::{
    foreign,
    model::{Balance, Choices, Hash, HashAlgorithm, HashKey, LoadReports, RequestKey},
    node::Node,
    read::bindings::{beside, one_of},
    syntax::Wrong,
};

const DECAY: Duration = Duration::from_secs(10);
const DECAYS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(86_400);
const MAX_REQUESTS: u32 = 100;
const EXPIRE: Duration = Duration::from_secs(180);
const EXPIRES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
const RING: HashAlgorithm = HashAlgorithm::Ring;

/// A word, and what it means.
type Word<T> = (&'static str, fn() -> T);

/// Keys that say which algorithm it is.
const KINDS: [&str; 5] = ["least-request", "least-time", "first", "hash", "plugin"];

pub(super) fn balance<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<Balance> {
    let Some(word) = node.as_string() else {
        return table(node, names);
    };
    if names.plugins.contains(word) {
        let remedy = format!("write `{{ plugin = \"{word}\" }}`");
        return node.fault(format!("`{word}` is a plugin"), remedy);
    }
    if let Some(ours) = foreign::algorithm(word) {
        return node.fault(format!("`{word}` is not possible here"), format!("write `{ours}`, which means the same"));
    }
    let words: [Word<Balance>; 6] = [
        ("round-robin", || Balance::RoundRobin),
        ("random", || Balance::Random),
        ("least-request", || Balance::LeastRequest(Choices::Drawn(2))),
        ("least-time", || Balance::LeastTime { decay: DECAY }),
        ("source-hash", || Balance::Hash(Hash { key: HashKey::SOURCE, algorithm: RING, balance_factor: None })),
        ("first", || Balance::First { max_requests: MAX_REQUESTS }),
    ];
    node.choice(&words).map(|meant| meant())
}

fn table<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<Balance> {
    let table = node.table("`\"round-robin\"` or `{ plugin = \"NAME\" }`")?;
    let [request, time, first, hashed, plugin] = KINDS.map(|kind| table.get(kind));
    let own = table.get("settings");
    let beside_hash = [table.get("algorithm"), table.get("balance-factor")];
    let kinds = [request.as_ref(), time.as_ref(), first.as_ref(), hashed.as_ref(), plugin.as_ref()];
    one_of(&table, &kinds, &KINDS);
    table.done();
    if hashed.is_none() {
        for stray in beside_hash.iter().flatten() {
            stray.key_fault(format!("`{}` belongs to a hash", stray.name()), "add `hash = { header = \"x-user\" }`");
        }
    }
    let bound = beside(plugin.as_ref(), own.as_ref(), names).map(Balance::Plugin);
    let native = request.as_ref().and_then(least_request).or(time.as_ref().and_then(least_time));
    let native = native.or(first.as_ref().and_then(fill)).or(hashed.as_ref().and_then(|key| hash(key, beside_hash)));
    native.or(bound)
}

fn least_request(node: &Node<'_>) -> Option<Balance> {
    if node.as_string().is_some() {
        return node.choice(&[("full", Choices::All)]).map(Balance::LeastRequest);
    }
    let table = node.table("`{ choices = 2 }` or `\"full\"`")?;
    let choices = table.read("choices", |node| node.integer(2..=16)).unwrap_or(2);
    table.done();
    Some(Balance::LeastRequest(Choices::Drawn(choices)))
}

fn least_time(node: &Node<'_>) -> Option<Balance> {
    let table = node.table("`{ decay = \"10s\" }`")?;
    let decay = table.read("decay", |node| node.duration(DECAYS)).unwrap_or(DECAY);
    table.done();
    Some(Balance::LeastTime { decay })
}

fn fill(node: &Node<'_>) -> Option<Balance> {
    let table = node.table("`{ max-requests = 100 }`")?;
    let max_requests = table.read("max-requests", |node| node.integer(1..=1_000_000)).unwrap_or(MAX_REQUESTS);
    table.done();
    Some(Balance::First { max_requests })
}

fn hash(node: &Node<'_>, [algorithm, factor]: [Option<Node<'_>>; 2]) -> Option<Balance> {
    let algorithm =
        algorithm.and_then(|node| node.choice(&[("ring", RING), ("maglev", HashAlgorithm::Maglev)])).unwrap_or(RING);
    let balance_factor = factor.and_then(|node| node.hundredths(101..=10_000));
    Some(Balance::Hash(Hash { key: key(node)?, algorithm, balance_factor }))
}

fn key(node: &Node<'_>) -> Option<HashKey> {
    if node.as_string().is_some() {
        let words: [Word<HashKey>; 3] =
            [("source", || HashKey::SOURCE), ("path", || HashKey::Path), ("router", || HashKey::Router)];
        return node.choice(&words).map(|meant| meant());
    }
    let table = node.table("`\"source\"` or `{ header = \"x-user\" }`")?;
    let keys = ["header", "cookie", "query"];
    let [header, cookie, query] = keys.map(|key| table.get(key));
    one_of(&table, &[header.as_ref(), cookie.as_ref(), query.as_ref()], &keys);
    table.done();
    let header = header.as_ref().and_then(header_name).map(RequestKey::Header);
    let cookie = cookie.as_ref().and_then(cookie_name).map(RequestKey::Cookie);
    let query = query.as_ref().and_then(parameter).map(RequestKey::Query);
    header.or(cookie).or(query).map(HashKey::Client)
}

pub(super) fn load_reports(node: &Node<'_>) -> Option<LoadReports> {
    let table = node.table("`{ metric = \"cpu_utilization\" }`")?;
    let metric = table.read("metric", |node| text(node, "`\"cpu_utilization\"`", metric));
    let expire = table.read("expire", |node| node.duration(EXPIRES)).unwrap_or(EXPIRE);
    let keep = table.read("keep", Node::boolean).unwrap_or(false);
    table.done();
    Some(LoadReports { metric, expire, keep })
}

/// A figure of a report, or one of those that applications name themselves.
fn metric(name: &str) -> Result<(), Wrong> {
    let is_known = ["application_utilization", "cpu_utilization", "mem_utilization"].contains(&name);
    let own =
        name.split_once('.').filter(|(map, key)| ["named_metrics", "utilization"].contains(map) && !key.is_empty());
    match is_known || own.is_some() {
        true => Ok(()),
        false => Err((
            format!("`{name}` is not a utilisation"),
            "write `application_utilization`, `cpu_utilization`, `mem_utilization`, or one of your own as in \
             `named_metrics.queue`"
                .to_owned(),
        )),
    }
}
