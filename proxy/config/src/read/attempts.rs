//! What routes and clusters say about attempts: `retries`, `retry-budget`, `hedge`, `limits` and `queue`.

use std::time::Duration;

use super::{WAIT, checked, checks::statuses, count};
use crate::{
    model::{Backoff, ByteSize, Hedge, HedgeDelay, Queue, Retries, RetryBudget, RetryOn, UpstreamLimits},
    node::{Node, Table},
    syntax,
};

const BASE: Duration = Duration::from_millis(25);
const MAX: Duration = Duration::from_millis(250);
/// Most of a body that one exchange may hold.
const BUFFER: u64 = 16 << 20;

pub(super) fn retries(node: &Node<'_>) -> Option<Retries> {
    let table = node.table("`{ attempts = 2, on = [\"connect\", \"5xx\"] }`")?;
    let retries = Retries {
        attempts: table.read("attempts", |node| node.integer(1..=10)).unwrap_or(2),
        on: table.read("on", conditions).unwrap_or_else(usual),
        methods: table
            .read("methods", |node| node.each("`[\"POST\"]`", |node| checked(node, "`\"POST\"`", syntax::method)))
            .unwrap_or_default(),
        buffer: table.read("buffer", |node| node.size(0..=BUFFER)).unwrap_or(ByteSize(64 << 10)),
        backoff: table.read("backoff", backoff).unwrap_or(Backoff { base: BASE, max: MAX }),
    };
    table.done();
    Some(retries)
}

fn usual() -> RetryOn {
    RetryOn { connect: true, reset: true, timeout: false, statuses: vec![GATEWAY], grpc: Vec::new() }
}

const GATEWAY: (u16, u16) = (502, 504);

/// One of the words of `on`.
#[derive(Clone, Copy)]
enum Word {
    Connect,
    Reset,
    Timeout,
    Statuses((u16, u16)),
    Grpc(u8),
}

const WORDS: [(&str, Word); 5] = [
    ("connect", Word::Connect),
    ("reset", Word::Reset),
    ("timeout", Word::Timeout),
    ("gateway-error", Word::Statuses(GATEWAY)),
    ("5xx", Word::Statuses((500, 599))),
];

fn conditions(node: &Node<'_>) -> Option<RetryOn> {
    let mut on = RetryOn::default();
    for word in node.each("`[\"connect\", \"5xx\", 429]`", condition)? {
        match word {
            Word::Connect => on.connect = true,
            Word::Reset => on.reset = true,
            Word::Timeout => on.timeout = true,
            Word::Statuses(range) => on.statuses.push(range),
            Word::Grpc(status) => on.grpc.push(status),
        }
    }
    Some(on)
}

/// A word, `429` or `\"500-503\"`
fn condition(node: &Node<'_>) -> Option<Word> {
    let numeric = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '-');
    if !node.is_integer() && !node.as_string().is_some_and(numeric) {
        let grpc = RetryOn::GRPC.map(|(word, status)| (word, Word::Grpc(status)));
        return node.choice(&[&WORDS[..], &grpc].concat());
    }
    match statuses(node, 400)? {
        (low, _) if low < 400 => node.fault("a response below 400 is no failure", "name statuses from 400 to 599"),
        range => Some(Word::Statuses(range)),
    }
}

fn backoff(node: &Node<'_>) -> Option<Backoff> {
    let table = node.table("`{ base = \"25ms\", max = \"250ms\" }`")?;
    let wait = Duration::ZERO..=*WAIT.end();
    let base = table.read("base", |node| node.duration(wait.clone())).unwrap_or(BASE);
    let max = table.get("max");
    let most = max.as_ref().and_then(|node| node.duration(wait)).unwrap_or(MAX.max(base));
    table.done();
    if let (Some(node), true) = (&max, most < base) {
        node.warn("`max` is below `base`: every wait is as short as `max` says", "make `max` the longer");
    }
    Some(Backoff { base, max: most })
}

pub(super) fn retry_budget(node: &Node<'_>) -> Option<RetryBudget> {
    let table = node.table("`{ percent = 20, min-per-second = 3 }`")?;
    let usual = RetryBudget::default();
    let budget = RetryBudget {
        percent: table.read("percent", |node| node.integer(0..=100)).unwrap_or(usual.percent),
        min_per_second: table.read("min-per-second", |node| node.integer(0..=10_000)).unwrap_or(usual.min_per_second),
    };
    table.done();
    Some(budget)
}

pub(super) fn hedge(node: &Node<'_>) -> Option<Hedge> {
    let table = node.table("`{ after = \"50ms\" }` or `{ percentile = 95 }`")?;
    let after_node = table.get("after");
    let percentile = table.get("percentile");
    let enough = table.get("min-requests");
    let at_most = table.read("at-most", |node| node.integer(1..=100)).unwrap_or(10);
    table.done();
    let after = after_node.as_ref().and_then(|node| node.duration(WAIT));
    let min_requests = enough.as_ref().and_then(|node| node.integer(1..=1_000_000)).unwrap_or(100);
    if let (Some(node), None) = (&enough, &percentile) {
        node.key_fault("`min-requests` is for `percentile`", "add `percentile = 95`, or leave out `min-requests`");
    }
    let delay = match percentile {
        Some(node) => HedgeDelay::Percentile { percent: node.integer(50..=99)?, min_requests, until_known: after },
        None if after_node.is_some() => HedgeDelay::After(after?),
        None => {
            table.fault("`after` is missing", "add `after = \"50ms\"`, or `percentile = 95`");
            return None;
        }
    };
    Some(Hedge { delay, at_most })
}

/// A number of requests or connections at once.
pub(super) fn at_once(node: &Node<'_>) -> Option<u32> {
    node.integer(1..=10_000_000)
}

pub(super) fn limits(node: &Node<'_>) -> Option<UpstreamLimits> {
    let table = node.table("`{ requests = 1000, endpoint-requests = 100 }`")?;
    let (requests, endpoint_requests) = pair(&table, "requests", "endpoint-requests");
    let (connections, endpoint_connections) = pair(&table, "connections", "endpoint-connections");
    table.done();
    Some(UpstreamLimits { requests, endpoint_requests, connections, endpoint_connections })
}

/// What a whole cluster may have at once, and what each of its endpoints.
fn pair(table: &Table<'_>, whole: &'static str, each: &'static str) -> (Option<u32>, Option<u32>) {
    let (whole, each) = (table.read(whole, at_once), table.get(each));
    let most = each.as_ref().and_then(at_once);
    if let (Some(node), Some(whole), Some(most)) = (each, whole, most)
        && most > whole
    {
        let remedy = format!("make `{}` the smaller", node.name());
        node.warn("an endpoint may take more than its whole cluster", remedy);
    }
    (whole, most)
}

pub(super) fn queue(node: &Node<'_>) -> Option<Queue> {
    let table = node.table("`{ length = 100, timeout = \"1s\" }`")?;
    let usual = Queue::default();
    let queue = Queue {
        length: table.read("length", |node| count(node, 0..=1_000_000)).unwrap_or(usual.length),
        timeout: table.read("timeout", |node| node.duration(WAIT)).unwrap_or(usual.timeout),
    };
    table.done();
    Some(queue)
}
