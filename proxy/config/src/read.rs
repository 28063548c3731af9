//! Readers of the file's sections: each takes a table and gives a part of the [`Config`].
//!
//! A reader goes on after a fault, with a default in the place of what it could not use, so that one
//! run tells everything. What it gives then is thrown away.

mod acme;
mod actions;
mod admin;
mod affinity;
mod attempts;
mod balance;
mod bindings;
mod checks;
mod clusters;
mod compression;
mod discover;
mod edits;
mod health;
mod limits;
mod listeners;
mod matching;
mod outlier;
mod plugins;
mod process;
mod routes;
mod secrets;
mod tenants;
mod tls;

pub use self::{
    admin::read_token,
    discover::{endpoint_of, endpoints_of},
};

use std::{cell::RefCell, collections::BTreeSet, ops::RangeInclusive, sync::Arc, time::Duration};

use crate::{
    model::{ByteSize, Certificate, Cluster, Config, Plugin, RateLimit, Route},
    node::{Known, Node, Table},
    syntax::{self, Wrong},
    warn,
};

/// Any time that may pass; a day is beyond every sane wait.
const WAIT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);

/// Names that the file declares, and those it uses.
struct Names<'a> {
    listeners: Known<'a>,
    plugins: Known<'a>,
    clusters: Known<'a>,
    tenants: Known<'a>,
    /// Certificates that were read.
    certificates: RefCell<Vec<Certificate>>,
    rate_limits: Known<'a>,
    acme: Known<'a>,
    used_acme: RefCell<BTreeSet<&'a str>>,
    used_plugins: RefCell<BTreeSet<&'a str>>,
    used_clusters: RefCell<BTreeSet<&'a str>>,
    used_rate_limits: RefCell<BTreeSet<&'a str>>,
    /// Limits that were read: those that have a name, then those that stand where they are used.
    read_rate_limits: RefCell<Vec<RateLimit>>,
    /// Those of them that routes forward requests to.
    routed_clusters: RefCell<BTreeSet<&'a str>>,
    /// Of the process.
    zone: Option<Arc<str>>,
    /// Plugins that were read, for their settings.
    read: Vec<Plugin>,
}

impl<'a> Names<'a> {
    /// A route leads to this cluster.
    fn route_to(&self, cluster: &'a str) {
        self.used_clusters.borrow_mut().insert(cluster);
        self.routed_clusters.borrow_mut().insert(cluster);
    }
}

/// Reads the whole file; on `None` or with faults in the report there is no configuration.
pub(crate) fn config<'a>(root: &Table<'a>) -> Option<Config> {
    let process = process::process(root);
    let access_log = process::access_log(root);
    let listeners = section(root, "listeners", "[listeners.NAME]");
    let plugins = section(root, "plugins", "[plugins.NAME]");
    let clusters = section(root, "clusters", "[clusters.NAME]");
    let tenants = section(root, "tenants", "[tenants.NAME]");
    let limits = section(root, "rate-limits", "[rate-limits.NAME]");
    let acme = section(root, "acme", "[acme.NAME]");
    let names = Names {
        listeners: Known::of(&listeners),
        plugins: Known::of(&plugins),
        clusters: Known::of(&clusters),
        tenants: Known::of(&tenants),
        certificates: RefCell::default(),
        rate_limits: Known::of(&limits),
        acme: Known::of(&acme),
        used_acme: RefCell::default(),
        used_plugins: RefCell::default(),
        used_clusters: RefCell::default(),
        used_rate_limits: RefCell::default(),
        read_rate_limits: RefCell::default(),
        routed_clusters: RefCell::default(),
        zone: process.zone.clone(),
        read: plugins.iter().filter_map(plugins::plugin).collect(),
    };
    limits::rate_limits(&limits, &names);
    let authorities = acme::authorities(&acme);
    let admin = admin::admin(root, &names);
    let listeners = listeners::listeners(&listeners, &names);
    let routes = routes::routes(root, &names, &listeners);
    let tenants = tenants::tenants(tenants, &names);
    let read: Vec<Cluster> = clusters.iter().filter_map(|node| clusters::cluster(node, &names)).collect();
    root.done();
    listeners::addresses_differ(&listeners, admin.as_ref().map(|(_, addresses)| &**addresses).unwrap_or_default());
    listeners::introductions_fit(&listeners, &read);
    warn::routes(&routes, &listeners);
    warn::paths(&routes, &listeners);
    warn::tenants(&tenants, listeners.iter().any(|(listener, _)| listeners::shows_server_names(listener)));
    acme::challenges_are_met(&authorities, &listeners, &names.used_acme.borrow());
    warn::unused("authority", &acme, &names.used_acme.borrow());
    warn::unused("plugin", &plugins, &names.used_plugins.borrow());
    warn::unused("rate limit", &limits, &names.used_rate_limits.borrow());
    if !routes.iter().any(|(route, _)| has_plugins(route)) {
        warn::unused("cluster", &clusters, &names.used_clusters.borrow());
    }
    warn::empty(root, &listeners, &routes);
    Some(Config {
        process,
        admin: admin.map(|(admin, _)| admin),
        access_log,
        acme: authorities.into_iter().map(|(acme, _)| acme).collect(),
        listeners: listeners.into_iter().map(|(listener, _)| listener).collect(),
        rate_limits: names.read_rate_limits.take(),
        tenants: tenants.into_iter().map(|(tenant, _)| tenant).collect(),
        plugins: names.read,
        routes: routes.into_iter().map(|(route, _)| route).collect(),
        clusters: read,
        places: root.places(),
        value_files: root.followed(),
    })
}

/// A router plugin may forward to any cluster.
fn has_plugins(route: &Route) -> bool {
    !route.plugins.is_empty()
}

/// The entries of a table of free names.
fn section<'a>(root: &Table<'a>, key: &'static str, example: &str) -> Vec<Node<'a>> {
    let named = root.read(key, |node| {
        let example = format!("`{example}` above the keys of one");
        node.table(&example).map(|table| table.entries())
    });
    let named = named.unwrap_or_default();
    for node in &named {
        if let Err((problem, remedy)) = syntax::name(node.name()) {
            node.key_fault(problem, remedy);
        }
    }
    named
}

/// The string of `node` as `check` understands it.
fn checked<T>(node: &Node<'_>, example: &str, check: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
    match check(node.string(example)?) {
        Ok(value) => Some(value),
        Err((problem, remedy)) => node.fault(problem, remedy),
    }
}

/// A string that must pass `check`.
fn text(node: &Node<'_>, example: &str, check: impl FnOnce(&str) -> Result<(), Wrong>) -> Option<String> {
    checked(node, example, |text| check(text).map(|()| text.to_owned()))
}

/// The name of a zone.
fn zone(node: &Node<'_>) -> Option<String> {
    text(node, "`\"eu-west-1a\"`", syntax::name)
}

/// Most of a request's body.
fn body(node: &Node<'_>) -> Option<ByteSize> {
    node.size(0..=1 << 40)
}

/// A number that fits `usize`.
fn count(node: &Node<'_>, range: RangeInclusive<u32>) -> Option<usize> {
    node.integer(range).and_then(|number| usize::try_from(number).ok())
}

fn named(node: &Node<'_>) -> Arc<str> {
    Arc::from(node.name())
}
