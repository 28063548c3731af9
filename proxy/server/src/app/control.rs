//! What the admin interface sees and commands.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};
use weir_limits::Limit;
use weir_plugin::Compiling;
use weir_upstream::{
    Affinity, AffinityTable, Cluster, Discovery, Endpoint, Hedging, LastCheck, Origin, rollout::Steer,
};

use super::{App, advice, audited, authorities, certificates, endpoints, plugins};
use crate::{
    access_log::rfc3339,
    admin::{Answer, ApiError, BoxFuture, Control, EndpointChange, Subject, Turns},
    logging,
    metrics::{
        AcmeSample, CertificateSample, ClusterSample, EndpointSample, LimitSample, MirrorMetrics, RolloutSample,
        SessionsSample, Source,
    },
    pressure::{Pressure, Scarce},
    snapshot::Snapshot,
    tenant::Tenant,
    versions::{Ahead, Fault, Loader, Plugins},
};

/// The process behind its admin interface.
pub struct Admin(pub Arc<App>);

impl Control for Admin {
    fn ready(&self) -> Result<(), String> {
        match (self.0.workers.get().is_some(), self.0.draining.load(Relaxed)) {
            (_, true) => Err("draining".to_owned()),
            (false, _) => Err("starting".to_owned()),
            (true, false) => Ok(()),
        }
    }

    fn status(&self) -> Value {
        let snapshot = self.0.shared.snapshot.load();
        let mut clusters: Vec<_> = snapshot.clusters.values().map(|upstream| cluster(&upstream.cluster)).collect();
        clusters.sort_by_key(|cluster| cluster.get("name").map(ToString::to_string));
        let routes = snapshot.router.routes().iter().map(|route| &*route.config.name);
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "workers": self.0.workers.get().map_or(0, Vec::len),
            "draining": self.0.draining.load(Relaxed),
            "short_of": short_of(&self.0.shared.pressure),
            "snapshot": { "number": snapshot.number, "built": rfc3339(snapshot.built) },
            "listeners": self.0.listeners.load().iter().map(|listening| json!({
                "name": listening.name(),
                "address": listening.address().to_string(),
                "protocol": listening.settings().config.protocol.as_str(),
                "tls": listening.settings().tls.is_some(),
                "certificates": certificates::status(&listening.settings()),
                "connections": listening.metrics.open(),
                "limit": listening.limits().connections,
            })).collect::<Vec<_>>(),
            "acme": authorities::status(&self.0.managed.load()),
            "routes": routes.collect::<Vec<_>>(),
            "rollouts": rollouts(&snapshot),
            "rate_limits": snapshot.limits.values().map(|one| limit(one)).collect::<Vec<_>>(),
            "tenants": snapshot.tenants.all().iter().map(|one| tenant(one)).collect::<Vec<_>>(),
            "clusters": clusters,
            "plugins": plugins::status(&self.0.plugins.load(), &snapshot, &self.0.shared.host),
            "compiling": self.compiling(),
        })
    }

    fn metrics(&self, out: &mut String) {
        self.0.shared.metrics.render(self, out);
        self.0.shared.host.metrics(out);
    }

    fn plugin_list(&self) -> Value {
        let (plugins, snapshot) = (self.0.plugins.load(), self.0.shared.snapshot.load());
        json!({
            "plugins": plugins::status(&plugins, &snapshot, &self.0.shared.host),
            "compiling": self.compiling(),
        })
    }

    fn plugin_push(&self, name: String, component: Bytes, turns: Turns) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let plugins = self.0.plugins.load_full();
            let wanted = match plugins.wanted_by_push(&name, &component) {
                Ok(wanted) => wanted,
                Err(fault) => return Err(refusal(&name, fault)),
            };
            drop(component);
            let component = wanted.component.clone();
            let left = Left(&name);
            let ahead = self.0.compile_ahead(vec![wanted], plugins.compile()).await;
            std::mem::forget(left);
            let plugin = name.clone();
            let push = move |plugins: &Plugins, loader: &Loader<'_>| {
                let pushed = plugins.push(loader, &plugin, &component);
                drop(turns);
                pushed
            };
            self.change(ahead, name, push).await
        })
    }

    fn plugin_rollback(&self, name: String, version: Option<String>) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let plugins = self.0.plugins.load_full();
            let wanted = plugins.wanted_by_rollback(&name, version.as_deref()).into_iter().collect();
            let ahead = self.0.compile_ahead(wanted, plugins.compile()).await;
            let plugin = name.clone();
            self.change(ahead, name, move |plugins, loader| plugins.rollback(loader, &plugin, version.as_deref())).await
        })
    }

    fn certificate_push(&self, name: String, pem: Bytes) -> BoxFuture<'_, Answer> {
        Box::pin(async move { certificates::push(&self.0, &name, &pem).await })
    }

    fn endpoint(&self, cluster: String, address: String, change: EndpointChange) -> BoxFuture<'_, Answer> {
        Box::pin(async move { endpoints::change(&self.0, &cluster, &address, change).await })
    }

    fn rollout_list(&self) -> Value {
        json!({ "rollouts": rollouts(&self.0.shared.snapshot.load()) })
    }

    fn rollout_order(&self, route: &str, order: Steer) -> Answer {
        let snapshot = self.0.shared.snapshot.load();
        let Some(rollout) = snapshot.rollouts().find(|rollout| **rollout.route() == *route) else {
            return Err(ApiError::new(StatusCode::NOT_FOUND, no_rollout(&snapshot, route)));
        };
        match rollout.order(order, Instant::now()) {
            Ok(()) => Ok(rollout.status()),
            Err(why) => Err(ApiError::new(StatusCode::CONFLICT, format!("rollout {route}: {why}"))),
        }
    }

    fn acme_list(&self) -> Value {
        json!({ "acme": authorities::status(&self.0.managed.load()) })
    }

    fn acme_renew(&self, certificate: &str) -> Answer {
        authorities::renew(&self.0.managed.load(), certificate)
    }

    fn state(&self, of: &Subject) -> Value {
        audited::state(&self.0, of)
    }

    fn reload(&self) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            match self.0.reload().await {
                Ok(number) => Ok(json!({ "snapshot": number })),
                Err(faults) => Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, faults.join("\n"))),
            }
        })
    }
}

impl Admin {
    /// To its end, even when the client does not wait for it.
    async fn change<F>(&self, ahead: Ahead, name: String, change: F) -> Answer
    where
        F: FnOnce(&Plugins, &Loader<'_>) -> Result<Plugins, Fault> + Send + 'static,
    {
        let app = Arc::clone(&self.0);
        let changed = tokio::spawn(async move {
            let previous = app.plugins.load().current(&name);
            match app.change_plugins(ahead, change).await {
                Ok(snapshot) => {
                    let sha256 = app.plugins.load().current(&name);
                    tracing::info!(plugin = name, version = sha256, snapshot, "plugin version in force");
                    Ok(json!({ "name": name, "sha256": sha256, "previous": previous }))
                }
                Err(fault) => Err(refusal(&name, fault)),
            }
        });
        let broke_off = |error: tokio::task::JoinError| {
            tracing::error!(%error, "a change of a plugin broke off");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the command broke off: see the log")
        };
        changed.await.map_err(broke_off).flatten()
    }

    fn compiling(&self) -> Value {
        let compiling = self.0.shared.host.compiling();
        let one = |compiling: &Compiling| {
            json!({
                "plugin": &*compiling.plugin,
                "sha256": compiling.sha256,
                "size": compiling.size,
                "since": rfc3339(compiling.since),
            })
        };
        compiling.iter().map(one).collect()
    }
}

/// Says that a push was given up, when it is dropped.
struct Left<'a>(&'a str);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        tracing::info!(plugin = self.0, "the client of a push has left, its component is not compiled");
    }
}

fn refusal(name: &str, fault: Fault) -> ApiError {
    match fault {
        Fault::Unknown(why) => ApiError::new(StatusCode::NOT_FOUND, why),
        Fault::Refused(why) => {
            tracing::warn!(plugin = name, why, "plugin version refused, the former one decides on");
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, why)
        }
    }
}

impl Source for Admin {
    fn endpoints(&self, each: &mut dyn FnMut(EndpointSample<'_>)) {
        for upstream in self.0.shared.snapshot.load().clusters.values() {
            for endpoint in upstream.cluster.endpoints().iter() {
                let standing = endpoint.standing();
                each(EndpointSample {
                    cluster: upstream.cluster.name(),
                    endpoint: endpoint.name(),
                    in_flight: endpoint.in_flight(),
                    connections: endpoint.connections(),
                    state: standing.status().state,
                    weight: standing.status().effective,
                });
            }
        }
    }

    fn tenants(&self, each: &mut dyn FnMut(&str, u32)) {
        for tenant in self.0.shared.snapshot.load().tenants.all() {
            each(tenant.name(), tenant.in_flight());
        }
    }

    fn sessions(&self, each: &mut dyn FnMut(SessionsSample<'_>)) {
        let snapshot = self.0.shared.snapshot.load();
        let mut tell = |cluster: &str, tenant: &str, affinity: &Affinity| {
            if let Some(table) = affinity.table() {
                each(SessionsSample { cluster, tenant, sessions: table.len(), evicted: table.evicted() });
            }
        };
        for upstream in snapshot.clusters.values() {
            upstream.cluster.affinity().into_iter().for_each(|affinity| tell(upstream.cluster.name(), "", affinity));
        }
        for tenant in snapshot.tenants.all() {
            tenant.affinity.iter().for_each(|own| tell("", tenant.name(), &own.affinity));
        }
    }

    fn clusters(&self, each: &mut dyn FnMut(ClusterSample<'_>)) {
        for upstream in self.0.shared.snapshot.load().clusters.values() {
            let cluster = &upstream.cluster;
            let checks = cluster.config().health.as_ref().map(|_| cluster.check_figures());
            each(ClusterSample {
                cluster: cluster.name(),
                serving: cluster.candidates().serving(),
                checks,
                agents: cluster.config().agent.as_ref().map(|_| cluster.agent_figures()),
                ejections: cluster.ejection_figures(),
                discovery_fails: cluster.config().discover.as_ref().map(|_| cluster.discovery().fault.is_some()),
            });
        }
    }

    fn queues(&self, each: &mut dyn FnMut(&str, usize)) {
        for upstream in self.0.shared.snapshot.load().clusters.values() {
            each(upstream.cluster.name(), upstream.cluster.room().waiting());
        }
    }

    fn limits(&self, each: &mut dyn FnMut(LimitSample<'_>)) {
        for limit in self.0.shared.snapshot.load().limits.values() {
            each(LimitSample { limit: limit.name(), figures: limit.figures() });
        }
    }

    fn access_log_dropped(&self) -> u64 {
        self.0.shared.log.dropped()
    }

    fn log_dropped(&self) -> u64 {
        logging::dropped()
    }

    fn certificates(&self, each: &mut dyn FnMut(CertificateSample<'_>)) {
        certificates::samples(&self.0.listeners.load(), each);
    }

    fn acme(&self, each: &mut dyn FnMut(AcmeSample<'_>)) {
        authorities::samples(&self.0.managed.load(), each);
    }

    fn revocations(&self, each: &mut dyn FnMut(&str, i64)) {
        certificates::revocations(&self.0.listeners.load(), each);
    }

    fn mirrors(&self) -> Vec<Arc<MirrorMetrics>> {
        let snapshot = self.0.shared.snapshot.load();
        let mirrors = snapshot.router.routes().iter().filter_map(|route| route.mirror.as_ref());
        mirrors.map(|mirror| Arc::clone(&mirror.figures)).collect()
    }

    fn is_short(&self, of: Scarce) -> bool {
        self.0.shared.pressure.is_short(of)
    }

    fn rollouts(&self, each: &mut dyn FnMut(RolloutSample<'_>)) {
        for rollout in self.0.shared.snapshot.load().rollouts() {
            let phase = rollout.phase().to_string();
            each(RolloutSample { route: rollout.route(), percent: rollout.percent(), phase: &phase });
        }
    }
}

fn short_of(pressure: &Pressure) -> Vec<&'static str> {
    Scarce::ALL.into_iter().filter(|of| pressure.is_short(*of)).map(Scarce::as_str).collect()
}

fn rollouts(snapshot: &Snapshot) -> Vec<Value> {
    snapshot.rollouts().map(|rollout| rollout.status()).collect()
}

fn no_rollout(snapshot: &Snapshot, route: &str) -> String {
    let known: Vec<&str> = snapshot.rollouts().map(|rollout| &**rollout.route()).collect();
    match known.is_empty() {
        true => format!("there is no rollout on route {route}, nor on any other"),
        false => format!("there is no rollout on route {route}; there are: {}", known.join(", ")),
    }
}

fn cluster(cluster: &Arc<Cluster>) -> Value {
    let origins = cluster.origins();
    json!({
        "name": &**cluster.name(),
        "eligible": cluster.candidates().len(),
        "serving": cluster.candidates().serving().as_str(),
        "advice": advice::of(cluster),
        "sessions": cluster.affinity().and_then(Affinity::table).map(AffinityTable::len),
        "affinity": cluster.affinity().map(affinity),
        "limits": attempts(cluster),
        "discovery": cluster.config().discover.as_ref().map(|_| discovery(&cluster.discovery())),
        "endpoints": cluster.endpoints().iter().map(|one| endpoint(one, &origins)).collect::<Vec<_>>(),
    })
}

fn tenant(tenant: &Tenant) -> Value {
    json!({
        "name": &**tenant.name(),
        "in_flight": tenant.in_flight(),
        "limits": {
            "requests": tenant.config.limits.requests,
            "headers": tenant.config.limits.headers,
            "header_bytes": tenant.config.limits.header_bytes.map(|most| most.0),
        },
        "clusters": tenant.config.clusters.iter().map(|(of, own)| (of.to_string(), json!(&**own))).collect::<Map<_, _>>(),
        "affinity": tenant.affinity.as_ref().map(|own| affinity(&own.affinity)),
    })
}

fn limit(limit: &Limit) -> Value {
    let (config, figures) = (limit.config(), limit.figures());
    json!({
        "name": &**limit.name(),
        "rate": config.rate.map(|rate| json!({ "count": rate.count, "per_ms": rate.per.as_millis() as u64 })),
        "max_in_flight": config.max_in_flight,
        "dry_run": config.dry_run,
        "keys": figures.keys,
        "capacity": config.capacity,
        "allowed": figures.allowed,
        "refused": figures.limited + figures.busy + figures.full,
        "evicted": figures.evicted,
    })
}

fn affinity(affinity: &Affinity) -> Value {
    match affinity {
        Affinity::Cookie(cookie) => json!({ "cookie": cookie.name() }),
        Affinity::Table(table) => json!({
            "sessions": table.len(),
            "capacity": table.capacity(),
            "evicted": table.evicted(),
        }),
    }
}

/// What may be under way, and what is.
fn attempts(cluster: &Cluster) -> Value {
    let config = cluster.config();
    let (retries, retries_allowed) = cluster.retry_budget().usage(Instant::now());
    json!({
        "requests": cluster.most_requests().map(|most| json!({ "most": most, "under_way": cluster.room().under_way() })),
        "connections": { "most": config.limits.connections, "open": cluster.connections() },
        "queue": { "most": config.queue.length, "waiting": cluster.room().waiting() },
        "retries": { "most": retries_allowed, "in_last_10s": retries },
        "hedges": hedges(cluster.hedging()),
    })
}

/// Attempts that might be hedged: how many are known, and how long they take.
fn hedges(hedging: &Hedging) -> Value {
    let percentile = |percent| hedging.percentile(percent, 1).map(|time| time.as_micros());
    json!({
        "in_last_10s": hedging.made(Instant::now()),
        "attempts": hedging.attempts(),
        "p50_us": percentile(50),
        "p95_us": percentile(95),
        "p99_us": percentile(99),
    })
}

fn discovery(discovery: &Discovery) -> Value {
    json!({ "answered": discovery.answered.map(rfc3339), "fault": discovery.fault })
}

/// An endpoint as the status page and the answers to commands show it.
pub(super) fn endpoint(endpoint: &Endpoint, origins: &BTreeMap<SocketAddr, Origin>) -> Value {
    let standing = endpoint.standing();
    let status = standing.status();
    json!({
        "address": endpoint.name(),
        "origin": origins.get(&endpoint.address()).map(|origin| origin.as_str()),
        "state": status.state.to_string(),
        "since": rfc3339(status.since),
        "why": status.why,
        "weight": endpoint.weight(),
        "weight_percent": status.weight_percent,
        "check": endpoint.last_check().map(|check| asked(&check)),
        "agent_check": endpoint.last_answer().map(|answer| asked(&answer)),
        "agent": standing.agent().map(|report| json!({
            "why": report.why,
            "weight_percent": report.weight_percent,
            "max_connections": report.max_connections,
        })),
        "in_flight": endpoint.in_flight(),
        "max_requests": endpoint.most_requests(),
        "connections": endpoint.connections(),
        "max_connections": endpoint.most_connections(),
        "latency_us": endpoint.latency(),
        "labels": endpoint.labels(),
        "priority": endpoint.config().priority,
        "zone": endpoint.config().zone,
        "backup": endpoint.config().backup,
    })
}

fn asked(last: &LastCheck) -> Value {
    json!({
        "at": rfc3339(last.at),
        "took_us": u64::try_from(last.took.as_micros()).unwrap_or(u64::MAX),
        "ok": last.well,
        "why": last.why,
    })
}
