//! `[rate-limits.NAME]`, where limits are used, and `allow` and `deny`.

use std::{sync::Arc, time::Duration};

use super::{Names, actions::cookie_name, checked, count, named};
use crate::{
    model::{Access, Algorithm, KeyPart, Network, Rate, RateLimit, Tell, WithoutKey},
    node::{Node, Table},
    read::matching::list,
    syntax, units,
};

const KEYS: usize = 100_000;
const MOST: u32 = 10_000_000;
const EXAMPLE: &str = "`\"NAME\"` or `{ rate = \"100/s\" }`";
const KEY: &str = "`\"client\"`, `{ header = \"x-api-key\" }` or an array of such";

/// Every limit that has a name.
pub(super) fn rate_limits(nodes: &[Node<'_>], names: &Names<'_>) {
    let limits = nodes.iter().filter_map(|node| rate_limit(node, named(node), names));
    names.read_rate_limits.borrow_mut().extend(limits);
}

/// The limits of requests that an owner names, or has in their place. The owner is told as in `route:api`.
pub(super) fn used<'a>(table: &Table<'a>, owner: &str, names: &Names<'a>) -> Vec<Arc<str>> {
    uses(table, "rate-limits", owner, names, |_, _| ())
}

/// The same of the connections of a listener, which have no more than an address to be told apart by.
pub(super) fn used_by_connections<'a>(table: &Table<'a>, listener: &str, names: &Names<'a>) -> Vec<Arc<str>> {
    let fits = |node: &Node<'a>, limit: &RateLimit| {
        if !limit.key.iter().all(|part| matches!(part, KeyPart::Client { .. })) {
            let problem = format!("the connections of `{listener}` do not have the key of `{}`", limit.name);
            let own = if node.as_string().is_none() { node.table(EXAMPLE) } else { None };
            let key = own.and_then(|own| own.get("key"));
            key.as_ref().unwrap_or(node).fault::<()>(problem, "limit connections by `key = \"client\"` or `\"all\"`");
        }
    };
    uses(table, "connection-limits", &format!("connections:{listener}"), names, fits)
}

fn uses<'a>(
    table: &Table<'a>,
    key: &'static str,
    owner: &str,
    names: &Names<'a>,
    fits: impl Fn(&Node<'a>, &RateLimit),
) -> Vec<Arc<str>> {
    let one = |node: &Node<'a>, number: usize| {
        if node.as_string().is_some() {
            let name = node.reference("rate limit", &names.rate_limits)?;
            names.used_rate_limits.borrow_mut().insert(name);
            let read = names.read_rate_limits.borrow();
            read.iter().filter(|limit| &*limit.name == name).for_each(|limit| fits(node, limit));
            return Some(Arc::from(name));
        }
        let name: Arc<str> = if number == 1 { owner.into() } else { format!("{owner}:{number}").into() };
        let limit = rate_limit(node, Arc::clone(&name), names)?;
        fits(node, &limit);
        names.read_rate_limits.borrow_mut().push(limit);
        Some(name)
    };
    let read = table.read(key, |node| match node.is_array() {
        true => Some(node.array(EXAMPLE)?.iter().zip(1..).filter_map(|(node, number)| one(node, number)).collect()),
        false => one(node, 1).map(|name| vec![name]),
    });
    read.unwrap_or_default()
}

fn rate_limit(node: &Node<'_>, name: Arc<str>, names: &Names<'_>) -> Option<RateLimit> {
    let table = node.table(EXAMPLE)?;
    let rate_node = table.get("rate");
    let rate = rate_node.as_ref().and_then(rate);
    let in_flight = table.get("max-in-flight");
    let algorithm = algorithm(&table, rate_node.is_none() && in_flight.is_some(), rate);
    let key = table.read("key", |node| key(node, names)).unwrap_or_else(|| vec![client()]);
    let without_key = [("pass", WithoutKey::Pass), ("share", WithoutKey::Share)];
    let tell = [("refused", Tell::Refused), ("always", Tell::Always), ("never", Tell::Never)];
    let limit = RateLimit {
        name,
        rate: rate.zip(algorithm).map(|((count, per), algorithm)| Rate { count, per, algorithm }),
        max_in_flight: in_flight.as_ref().and_then(|node| node.integer(1..=MOST)),
        key,
        without_key: table.read("without-key", |node| node.choice(&without_key)).unwrap_or(WithoutKey::Pass),
        capacity: table.read("capacity", |node| count(node, 1..=MOST)).unwrap_or(KEYS),
        except: list(&table, "except", "`[\"10.0.0.0/8\"]`", Node::network),
        dry_run: table.read("dry-run", Node::boolean).unwrap_or(false),
        tell: table.read("headers", |node| node.choice(&tell)).unwrap_or(Tell::Refused),
    };
    table.done();
    if rate_node.is_none() && in_flight.is_none() {
        table.fault("nothing is limited", "add `rate = \"100/s\"`, or `max-in-flight = 10`");
        return None;
    }
    Some(limit)
}

fn rate(node: &Node<'_>) -> Option<(u32, Duration)> {
    let text = node.string("so many in a time, as in `\"100/s\"`")?;
    let Some((count, per)) = units::rate(text) else {
        let remedy = "write a whole number, `/` and a unit or a duration, as in `\"100/s\"` or `\"5/10s\"`";
        return node.fault(format!("`{text}` is not a rate"), remedy);
    };
    let times = Duration::from_millis(1)..=Duration::from_secs(86_400);
    match (1..=MOST).contains(&count) && times.contains(&per) {
        true => Some((count, per)),
        false => node.fault(format!("`{text}` is out of range"), "write 1 to 10000000, in 1ms to 1d"),
    }
}

/// How a rate is kept to; `rateless` is a limit that needs none.
fn algorithm(table: &Table<'_>, rateless: bool, rate: Option<(u32, Duration)>) -> Option<Algorithm> {
    let word = table.get("algorithm");
    let burst_node = table.get("burst");
    let words = [("token-bucket", false), ("sliding-window", true)];
    let slides = word.as_ref().and_then(|node| node.choice(&words)).unwrap_or(false);
    let burst = burst_node.as_ref().and_then(|node| node.integer(1..=MOST));
    if rateless {
        for node in [&word, &burst_node].into_iter().flatten() {
            node.key_fault(format!("`{}` belongs to a `rate`", node.name()), "add `rate = \"100/s\"`, or leave it out");
        }
    }
    match (slides, burst_node) {
        (true, Some(node)) => {
            node.key_fault("a sliding window has no burst: its rate may come at once", "leave out `burst`");
            None
        }
        (true, None) => Some(Algorithm::SlidingWindow),
        (false, _) => rate.map(|(count, _)| Algorithm::TokenBucket { burst: burst.unwrap_or(count) }),
    }
}

fn client() -> KeyPart {
    KeyPart::Client { ipv4: 32, ipv6: 64 }
}

/// One part, several, or none at all for `"all"`.
fn key(node: &Node<'_>, names: &Names<'_>) -> Option<Vec<KeyPart>> {
    if node.as_string() == Some("all") {
        return Some(Vec::new());
    }
    if !node.is_array() {
        return part(node, names).map(|part| vec![part]);
    }
    if node.is_empty_array() {
        return node.fault("a key without parts", "write `\"all\"` to limit all requests together");
    }
    node.each(KEY, |node| part(node, names))
}

fn part(node: &Node<'_>, names: &Names<'_>) -> Option<KeyPart> {
    if node.as_string().is_some() {
        let words = [("client", 0), ("tenant", 1), ("route", 2)];
        return Some(match node.choice(&words)? {
            0 => client(),
            1 => tenant(node, names),
            _ => KeyPart::Route,
        });
    }
    let table = node.table(KEY)?;
    let given = ["client", "header", "cookie"].map(|key| table.get(key));
    table.done();
    match given {
        [Some(node), None, None] => prefixes(&node),
        [None, Some(node), None] => checked(&node, "`\"x-api-key\"`", syntax::header_name).map(KeyPart::Header),
        [None, None, Some(node)] => checked(&node, "`\"session\"`", cookie_name).map(KeyPart::Cookie),
        _ => {
            table.fault("a part of a key is one of `client`, `header` and `cookie`", "give one of them");
            None
        }
    }
}

fn tenant(node: &Node<'_>, names: &Names<'_>) -> KeyPart {
    if names.tenants.is_empty() {
        node.warn("there is no tenant, so that no request has this key", "add `[tenants.NAME]`, or use another key");
    }
    KeyPart::Tenant
}

fn prefixes(node: &Node<'_>) -> Option<KeyPart> {
    let table = node.table("`{ ipv4 = 24, ipv6 = 48 }`")?;
    let bits = |key, most: u32, usual: u8| {
        let read = table.read(key, |node| node.integer(0..=most));
        read.and_then(|bits| u8::try_from(bits).ok()).unwrap_or(usual)
    };
    let part = KeyPart::Client { ipv4: bits("ipv4", 32, 32), ipv6: bits("ipv6", 128, 64) };
    table.done();
    Some(part)
}

/// `allow` and `deny`.
pub(super) fn access(table: &Table<'_>) -> Access {
    let networks = |key| list(table, key, "`[\"10.0.0.0/8\"]`", |node| Some((node.network()?, node.clone())));
    let (allow, deny) = (networks("allow"), networks("deny"));
    for (network, node) in &deny {
        if allow.iter().any(|(other, _)| other == network) {
            node.fault::<()>(format!("{network} is both allowed and denied"), "keep one of them");
        }
    }
    let plain = |list: Vec<(Network, Node<'_>)>| list.into_iter().map(|(network, _)| network).collect();
    Access { allow: plain(allow), deny: plain(deny) }
}
