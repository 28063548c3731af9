//! Whose requests are whose: the first tenant in file order that matches, and what it has of its own.
//!
//! Tenants are filed under the hosts or server names they match, so that a thousand of them cost one
//! look-up; those that match by neither are tried one by one.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use http::HeaderName;
use weir_config::{Access, AffinityKind, Config, HostMatch, Network};
use weir_plugin::{Bound, Role};
use weir_upstream::{Affinity, affinity::Owner};

use crate::{
    gate::{Gate, Limits},
    request::{Client, Request},
    router::{has_header, host_of, is_below, lower_case},
    snapshot::{Programs, Upstream, bind},
};

type Upstreams = HashMap<Arc<str>, Arc<Upstream>>;

/// A tenant ready to run.
#[derive(Debug)]
pub struct Tenant {
    /// As configured.
    pub config: weir_config::Tenant,
    /// What keeps its sessions, where that is its own.
    pub affinity: Option<OwnAffinity>,
    /// What its requests have to pass.
    pub gate: Option<Box<Gate>>,
    clusters: Upstreams,
    in_flight: Arc<AtomicU32>,
}

/// An affinity of a tenant's own, over all its clusters.
#[derive(Debug)]
pub struct OwnAffinity {
    /// What keeps the sessions.
    pub affinity: Arc<Affinity>,
    /// As configured.
    pub config: weir_config::Affinity,
    /// Who names them, where that is a plugin.
    pub plugin: Option<Bound>,
}

/// A request of a tenant in flight.
#[derive(Debug)]
#[must_use = "the request counts only while this lives"]
pub struct InFlight(Arc<AtomicU32>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Tenant {
    fn build(
        config: &weir_config::Tenant,
        programs: &Programs,
        clusters: &Upstreams,
        limits: &Limits,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let own = config.affinity.as_ref();
        let affinity = own.map(|own| OwnAffinity::build(&config.name, own, programs, before)).transpose()?;
        let places = config.clusters.iter();
        Ok(Self {
            config: config.clone(),
            affinity,
            gate: Gate::new(&Access::default(), &config.rate_limits, limits),
            clusters: places.filter_map(|(of, own)| Some((Arc::clone(of), clusters.get(own)?.clone()))).collect(),
            in_flight: before.map_or_else(Arc::default, |before| Arc::clone(&before.in_flight)),
        })
    }

    /// Its name in the file.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// Count a request until the guard is dropped; none when it may have no more.
    pub fn begin(&self) -> Option<InFlight> {
        let counted = InFlight(Arc::clone(&self.in_flight));
        let before = self.in_flight.fetch_add(1, Relaxed);
        self.config.limits.requests.is_none_or(|most| before < most).then_some(counted)
    }

    /// Its requests in flight, over all workers.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Where its requests for a cluster go.
    pub fn place<'a>(&'a self, upstream: &'a Arc<Upstream>) -> &'a Arc<Upstream> {
        self.clusters.get(upstream.cluster.name()).unwrap_or(upstream)
    }
}

impl OwnAffinity {
    fn build(
        tenant: &str,
        config: &weir_config::Affinity,
        programs: &Programs,
        before: Option<&Tenant>,
    ) -> Result<Self, String> {
        Affinity::check(config)?;
        let plugin = match &config.kind {
            AffinityKind::Plugin(binding) => Some(bind(binding, Role::Affinity, programs)?),
            _ => None,
        };
        let before = before.and_then(|before| before.affinity.as_ref()).map(|own| (&own.config, &own.affinity));
        let affinity = Affinity::build(Owner::Tenant(tenant), config, before);
        Ok(Self { affinity, config: config.clone(), plugin })
    }
}

/// All tenants, filed.
#[derive(Debug, Default)]
pub struct Tenants {
    all: Vec<Arc<Tenant>>,
    rules: Vec<Rule>,
    by_host: Names,
    by_server_name: Names,
    elsewhere: Vec<usize>,
}

/// Numbers of tenants by a name they match; `.example.com` stands for every name below `example.com`.
#[derive(Debug, Default)]
struct Names(HashMap<String, Vec<usize>>);

/// What a request has to fit.
#[derive(Debug)]
struct Rule {
    hosts: Vec<HostMatch>,
    server_names: Vec<HostMatch>,
    headers: Vec<(HeaderName, String)>,
    networks: Vec<Network>,
}

/// What a request shows of its tenant.
struct Shown<'a> {
    request: &'a Request,
    host: &'a str,
    server_name: Option<&'a str>,
    ip: IpAddr,
}

impl Tenants {
    /// The tenants of a configuration, with the sessions and counts of former ones of the same name.
    ///
    /// # Errors
    /// Every reason why one cannot run, for people.
    pub fn build(
        config: &Config,
        programs: &Programs,
        clusters: &Upstreams,
        limits: &Limits,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<String>> {
        let (mut tenants, mut faults) = (Self::default(), Vec::new());
        for tenant in &config.tenants {
            let before = previous.and_then(|previous| previous.named(&tenant.name));
            match Tenant::build(tenant, programs, clusters, limits, before) {
                Ok(tenant) => tenants.add(tenant),
                Err(fault) => faults.push(format!("tenant {}: {fault}", tenant.name)),
            }
        }
        if faults.is_empty() { Ok(tenants) } else { Err(faults) }
    }

    fn add(&mut self, tenant: Tenant) {
        let (number, matcher) = (self.all.len(), &tenant.config.matcher);
        if !matcher.hosts.is_empty() {
            self.by_host.file(&matcher.hosts, number);
        } else if !matcher.sni.is_empty() {
            self.by_server_name.file(&matcher.sni, number);
        } else {
            self.elsewhere.push(number);
        }
        let headers = matcher.headers.iter();
        self.rules.push(Rule {
            hosts: matcher.hosts.clone(),
            server_names: matcher.sni.clone(),
            headers: headers.filter_map(|(name, value)| Some((name.parse().ok()?, value.clone()))).collect(),
            networks: matcher.networks.clone(),
        });
        self.all.push(Arc::new(tenant));
    }

    /// In file order.
    pub fn all(&self) -> &[Arc<Tenant>] {
        &self.all
    }

    fn named(&self, name: &str) -> Option<&Tenant> {
        self.all.iter().find(|tenant| &**tenant.name() == name).map(AsRef::as_ref)
    }

    /// Whose request it is.
    pub fn find(&self, request: &Request, client: &Client) -> Option<&Arc<Tenant>> {
        if self.all.is_empty() {
            return None;
        }
        self.first(&Shown { request, host: host_of(request.authority()), server_name: client.sni(), ip: client.ip() })
    }

    fn first(&self, shown: &Shown<'_>) -> Option<&Arc<Tenant>> {
        let mut first = None;
        let mut look = |filed: &[usize]| {
            let earlier = filed.iter().take_while(|number| first.is_none_or(|first| **number < first));
            let fitting = earlier.copied().find(|number| self.rules.get(*number).is_some_and(|rule| rule.fits(shown)));
            first = fitting.or(first);
        };
        self.by_host.each(shown.host, &mut look);
        shown.server_name.into_iter().for_each(|name| self.by_server_name.each(name, &mut look));
        look(&self.elsewhere);
        self.all.get(first?)
    }
}

impl Names {
    fn file(&mut self, names: &[HostMatch], number: usize) {
        for name in names {
            let (HostMatch::Exact(name) | HostMatch::Suffix(name)) = name;
            let filed = self.0.entry(name.clone()).or_default();
            if filed.last() != Some(&number) {
                filed.push(number);
            }
        }
    }

    /// What is filed under a name and under every name it lies below.
    fn each(&self, name: &str, look: &mut impl FnMut(&[usize])) {
        if self.0.is_empty() {
            return;
        }
        let name = lower_case(name);
        let below = name.char_indices().filter(|(at, letter)| *at > 0 && *letter == '.').map(|(at, _)| at);
        let names = std::iter::once(0).chain(below).filter_map(|at| name.get(at..));
        names.filter_map(|name| self.0.get(name)).for_each(|filed| look(filed));
    }
}

impl Rule {
    fn fits(&self, shown: &Shown<'_>) -> bool {
        let named = |names: &[HostMatch], name: &str| names.is_empty() || names.iter().any(|one| is(one, name));
        named(&self.hosts, shown.host)
            && (self.server_names.is_empty() || shown.server_name.is_some_and(|name| named(&self.server_names, name)))
            && self.headers.iter().all(|(name, value)| has_header(shown.request, name, value))
            && (self.networks.is_empty() || self.networks.iter().any(|network| network.contains(shown.ip)))
    }
}

fn is(wanted: &HostMatch, name: &str) -> bool {
    match wanted {
        HostMatch::Exact(exact) => name.eq_ignore_ascii_case(exact),
        HostMatch::Suffix(suffix) => is_below(name, suffix),
    }
}

#[cfg(test)]
mod tests;
