//! `[tenants.NAME]`

use std::{collections::BTreeMap, sync::Arc};

use super::{Names, affinity::affinity, count, limits::used, named};
use crate::{
    model::{HostMatch, Tenant, TenantLimits, TenantMatch},
    node::{Node, Table},
    read::{
        body,
        matching::{header, host, list, pairs},
    },
};

const MATCH: &str = "{ hosts = [\"acme.example.com\"] }";

/// Every tenant with its node.
pub(super) fn tenants<'a>(nodes: Vec<Node<'a>>, names: &Names<'a>) -> Vec<(Tenant, Node<'a>)> {
    nodes.into_iter().filter_map(|node| Some((tenant(&node, names)?, node))).collect()
}

fn tenant<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<Tenant> {
    let table = node.table("`[tenants.NAME]` above its keys")?;
    let matcher = table.require("match", MATCH).and_then(|node| matcher(&node));
    let tenant = Tenant {
        name: named(node),
        matcher: matcher.unwrap_or_default(),
        affinity: table.read("affinity", |node| affinity(node, names)),
        limits: table.read("limits", limits).unwrap_or_default(),
        rate_limits: used(&table, &format!("tenant:{}", node.name()), names),
        clusters: table.read("clusters", |node| clusters(node, names)).unwrap_or_default(),
    };
    table.done();
    Some(tenant)
}

fn matcher(node: &Node<'_>) -> Option<TenantMatch> {
    let table = node.table(&format!("`{MATCH}`"))?;
    let matcher = TenantMatch {
        hosts: hosts(&table, "hosts"),
        sni: hosts(&table, "sni"),
        headers: pairs(&table, "headers", header).unwrap_or_default(),
        networks: list(&table, "networks", "`[\"10.0.0.0/8\"]`", |node| node.network()),
    };
    let parts = ["hosts", "sni", "headers", "networks"];
    let some = table.entries().iter().any(|entry| parts.contains(&entry.name()));
    table.done();
    if !some {
        return node.fault("every request would be this tenant's", format!("write `{MATCH}`, or another part"));
    }
    Some(matcher)
}

fn hosts(table: &Table<'_>, key: &'static str) -> Vec<HostMatch> {
    list(table, key, "`[\"acme.example.com\"]`", host)
}

fn limits(node: &Node<'_>) -> Option<TenantLimits> {
    let table = node.table("`{ requests = 100 }`")?;
    let limits = TenantLimits {
        requests: table.read("requests", |node| node.integer(1..=10_000_000)),
        headers: table.read("headers", |node| count(node, 1..=256)),
        header_bytes: table.read("header-bytes", |node| node.size(1 << 10..=16 << 20)),
        max_body: table.read("max-body", body),
    };
    table.done();
    Some(limits)
}

/// Names of clusters, with those of the clusters in their place.
fn clusters<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<BTreeMap<Arc<str>, Arc<str>>> {
    let entries = node.table("`{ api = \"api-acme\" }`")?.entries();
    let known = |node: &Node<'a>| match names.clusters.contains(node.name()) {
        true => true,
        false => {
            let problem = format!("there is no cluster `{}`", node.name());
            node.key_fault(problem, "name a cluster of this file, and after it the one to use in its place");
            false
        }
    };
    let pair = |node: &Node<'a>| {
        let own = node.reference("cluster", &names.clusters)?;
        names.used_clusters.borrow_mut().insert(own);
        known(node).then(|| (named(node), Arc::from(own)))
    };
    Some(entries.iter().filter_map(pair).collect())
}
