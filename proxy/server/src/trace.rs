//! What is noted of an exchange while it runs: one line of the access log in the making.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use weir_config::Coding;
use weir_plugin::{Bound, Failure, Guests, Role};
use weir_upstream::Endpoint;

use crate::{
    access_log::{Affinity, PluginUse, Record, Retried, Split},
    edits::Facts,
    gate::Announcement,
    grpc::Call,
    metrics::{RouteMetrics, TunnelEnd},
    request::Client,
    snapshot::{Route, Upstream},
    tenant::Tenant,
    worker::Worker,
};

/// What is noted of one exchange.
pub struct Trace {
    /// When its first byte came.
    pub time: SystemTime,
    /// The same on the monotonic clock.
    pub started: Instant,
    /// Where the time went.
    pub split: Split,
    /// When the response's head came.
    pub head_at: Option<Instant>,
    /// When the last attempt had been asked that ended without one, where that was not at once.
    pub asked_at: Option<Instant>,
    /// When the books on it were closed; until then, when it began.
    pub ended: Instant,
    /// The route that took it.
    pub route: Option<Arc<Route>>,
    /// Whose request it was.
    pub tenant: Option<Arc<Tenant>>,
    /// The cluster it went to.
    pub upstream: Option<Arc<Upstream>>,
    /// The endpoint that was tried last.
    pub endpoint: Option<Arc<Endpoint>>,
    /// How often an endpoint was tried.
    pub attempts: u32,
    /// Whether an attempt was made beside another, and answered first.
    pub hedge: Option<bool>,
    /// Why each further one was made.
    pub retries: Vec<Retried>,
    /// The last attempt went over a connection that was open already.
    pub reused: bool,
    /// How its client takes compressed content, where the route compresses.
    pub coding: Option<Coding>,
    /// By what its response was compressed, its octets and what was made of them.
    pub compressed: Option<(Coding, (u64, u64))>,
    /// The call of gRPC that it is.
    pub grpc: Option<Call>,
    /// What affinity found.
    pub affinity: Option<Affinity>,
    /// The tunnel it became.
    pub tunnel: Option<Passage>,
    /// Status the client got.
    pub status: u16,
    /// Why it failed.
    pub error: Option<String>,
    /// It is counted, and has no line in the log.
    pub unlogged: bool,
    /// What the client is to be told of limits.
    pub announcement: Option<Box<Announcement>>,
    /// Of its budget for plugins.
    pub plugin_spent: Duration,
    plugins: Vec<Asked>,
    settled: Option<Box<Settled>>,
}

/// A tunnel that an exchange became.
#[derive(Debug, Clone, Copy)]
pub struct Passage {
    /// When protocols were switched.
    pub since: Instant,
    /// How it ended.
    pub end: TunnelEnd,
}

struct Asked {
    who: Who,
    role: Role,
    failed: Option<&'static str>,
}

enum Who {
    Bound(Bound),
    /// Name and version.
    Former(Arc<str>, Box<str>),
}

/// What is noted of an exchange that holds nothing of its snapshot any more.
struct Settled {
    figures: Arc<RouteMetrics>,
    route: Arc<str>,
    cluster: Option<Arc<str>>,
    tenant: Option<Arc<str>>,
}

/// The client's own words, kept for the log.
pub struct Asking {
    /// Method as sent.
    pub method: http::Method,
    /// Host as sent.
    pub host: http::HeaderValue,
    /// Target as sent.
    pub uri: http::Uri,
    /// The target with its path in normal form, where that differs.
    pub normal: Option<http::Uri>,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: &'static str,
}

/// What a line of the log says was asked.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// Host as sent, or the server name of TLS.
    pub host: &'a str,
    /// Method as sent.
    pub method: &'a str,
    /// Target as sent.
    pub path: &'a str,
    /// What the client spoke.
    pub protocol: &'a str,
}

impl Asking {
    /// What edits of messages may speak of.
    pub fn facts<'f>(
        &'f self,
        client: &'f Client,
        route: &'f str,
        tenant: Option<&'f Tenant>,
        cluster: Option<&'f str>,
        endpoint: Option<&'f str>,
    ) -> Facts<'f> {
        let tenant = tenant.map(|tenant| &**tenant.name());
        let uri = self.normal.as_ref().unwrap_or(&self.uri);
        Facts { client, method: &self.method, host: &self.host, uri, route, tenant, cluster, endpoint }
    }
}

impl Trace {
    /// An exchange whose head took `read` and is read now.
    pub fn new(now: Instant, read: Duration) -> Self {
        let started = now.checked_sub(read).unwrap_or(now);
        Self {
            time: SystemTime::now() - read,
            started,
            ended: started,
            split: Split { read, ..Split::default() },
            head_at: None,
            asked_at: None,
            route: None,
            tenant: None,
            upstream: None,
            endpoint: None,
            attempts: 0,
            hedge: None,
            retries: Vec::new(),
            reused: false,
            coding: None,
            compressed: None,
            grpc: None,
            affinity: None,
            tunnel: None,
            status: 0,
            error: None,
            announcement: None,
            unlogged: false,
            plugin_spent: Duration::ZERO,
            plugins: Vec::new(),
            settled: None,
        }
    }

    /// Tell the client of limits in a response's header.
    pub fn announce(&self, headers: &mut http::HeaderMap) {
        if let Some(announcement) = &self.announcement {
            announcement.put(headers);
        }
    }

    /// Ask a plugin, and note how long it took and whether it failed.
    pub fn ask<T>(
        &mut self,
        guests: &Guests,
        bound: &Bound,
        role: Role,
        ask: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let answer = ask();
        self.split.plugin += guests.took();
        self.plugin_spent += guests.spent();
        let failed = answer.as_ref().err().map(Failure::kind);
        self.note(bound, role, failed);
        answer
    }

    fn note(&mut self, bound: &Bound, role: Role, failed: Option<&'static str>) {
        self.plugins.push(Asked { who: Who::Bound(bound.clone()), role, failed });
    }

    /// An answer that cannot be carried out counts as failed after all.
    pub fn retract(&mut self, kind: &'static str) {
        if let Some(last) = self.plugins.last_mut() {
            last.failed = Some(kind);
        }
    }

    /// Where the exchange is counted.
    pub fn figures(&self, worker: &Worker, client: &Client) -> Arc<RouteMetrics> {
        worker.figures.find(client, self.route.as_ref(), self.upstream.as_ref(), &worker.metrics)
    }

    /// Let go of route, cluster, tenant and plugins, for an exchange that may last longer than these ought to,
    /// and keep their names. Whether its route's rollout goes on does not depend on what is to come.
    pub fn settle(&mut self, worker: &Worker, client: &Client) {
        self.judge(worker, self.started.elapsed());
        let figures = self.figures(worker, client);
        self.settled = Some(Box::new(Settled {
            figures,
            route: self.route.take().map_or_else(|| Arc::from(""), |route| Arc::clone(&route.config.name)),
            cluster: self.upstream.take().map(|upstream| Arc::clone(upstream.cluster.name())),
            tenant: self.tenant.take().map(|tenant| Arc::clone(tenant.name())),
        }));
        self.plugins.iter_mut().for_each(Asked::settle);
    }

    /// Close the books on an exchange: metrics and the line of the log.
    pub fn finish(&mut self, worker: &Worker, client: &Client, asking: &Asking, counts: (u64, u64)) {
        let words = Words {
            host: asking.host.to_str().unwrap_or(""),
            method: asking.method.as_str(),
            path: asking.uri.path_and_query().map_or("", |target| target.as_str()),
            protocol: asking.protocol,
        };
        self.finish_with(worker, client, words, counts);
    }

    /// The same of what was asked in other words.
    pub fn finish_with(&mut self, worker: &Worker, client: &Client, words: Words<'_>, counts: (u64, u64)) {
        let now = Instant::now();
        self.ended = now;
        let total = now - self.started;
        self.split.rest = self.head_at.map_or(Duration::ZERO, |at| now - at);
        let settled = self.settled.as_deref();
        let cluster = self.upstream.as_ref().map(|upstream| upstream.cluster.name());
        let cluster = cluster.or(settled.and_then(|settled| settled.cluster.as_ref())).map(|name| &**name);
        let route = self.route.as_ref().map(|route| &*route.config.name);
        let route = route.or(settled.map(|settled| &*settled.route)).unwrap_or_default();
        let tenant = self.tenant.as_ref().map(|tenant| tenant.name());
        let tenant = tenant.or(settled.and_then(|settled| settled.tenant.as_ref()));
        let figures = settled.map_or_else(|| self.figures(worker, client), |settled| Arc::clone(&settled.figures));
        match self.tunnel {
            None => figures.record(worker.index(), self.status, total, counts.0, counts.1),
            Some(Passage { since, end }) => {
                figures.record_tunnel(worker.index(), self.status, (end, now - since), counts)
            }
        }
        if let Some((_, (plain, sent))) = self.compressed {
            figures.compressed(worker.index(), plain, sent);
        }
        if let (Some(cluster), Some(affinity)) = (figures.cluster(), self.affinity) {
            cluster.affinity(worker.index(), affinity);
        }
        self.judge(worker, total);
        if let Some(tenant) = tenant {
            worker.metrics.tenant(tenant).record(worker.index(), self.status);
        }
        if self.unlogged || !worker.log.enabled() {
            return;
        }
        let plugins: Vec<PluginUse<'_>> = self.plugins.iter().map(Asked::as_use).collect();
        worker.log.write(&Record {
            time: self.time,
            client: client.address,
            listener: client.listener.name(),
            protocol: words.protocol,
            host: words.host,
            method: words.method,
            path: words.path,
            status: self.status,
            bytes_in: counts.0,
            bytes_out: counts.1,
            route,
            tenant: tenant.map(|name| &**name),
            certificate: client.certificate(),
            cluster,
            endpoint: self.endpoint.as_ref().map(|endpoint| endpoint.name()),
            attempts: self.attempts,
            retries: &self.retries,
            hedge: self.hedge.map(|won| if won { "won" } else { "lost" }),
            reused: self.reused,
            total,
            split: self.split,
            plugins: &plugins,
            affinity: self.affinity,
            encoding: self.compressed.map(|(coding, _)| coding.as_str()),
            error: self.error.as_deref(),
        });
    }
}

impl Trace {
    /// Count what came of an exchange for the rollout that its route is on.
    fn judge(&self, worker: &Worker, total: Duration) {
        let Some(rollout) = self.route.as_ref().and_then(|route| route.rollout()) else { return };
        let Some(upstream) = &self.upstream else { return };
        if let Some(side) = rollout.side(upstream.cluster.name()) {
            let time = self.head_at.map_or(total, |at| at - self.started);
            rollout.record(worker.index(), side, self.status, time);
        }
    }
}

impl Asked {
    fn settle(&mut self) {
        if let Who::Bound(bound) = &self.who {
            self.who = Who::Former(Arc::clone(bound.program.name()), bound.program.sha256().into());
        }
    }

    fn as_use(&self) -> PluginUse<'_> {
        let (name, version) = match &self.who {
            Who::Bound(bound) => (&**bound.program.name(), bound.program.sha256()),
            Who::Former(name, version) => (&**name, &**version),
        };
        PluginUse {
            name,
            version: version.get(..12).unwrap_or(version),
            role: match self.role {
                Role::Router => "router",
                Role::Balancer => "balancer",
                Role::Affinity => "affinity",
                Role::Health => "health",
            },
            failed: self.failed,
        }
    }
}
