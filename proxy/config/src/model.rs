//! The checked configuration: what the operator meant, with every reference resolved to a name that
//! exists, every duration and size typed and every default filled in.

mod acme;
mod admin;
mod affinity;
mod balance;
mod health;
mod limits;
mod listener;
mod log;
mod network;
mod outlier;
mod tenant;
mod tls;
mod traffic;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use crate::places::Places;

pub use acme::*;
pub use admin::*;
pub use affinity::*;
pub use balance::*;
pub use health::*;
pub use limits::*;
pub use listener::*;
pub use log::*;
pub use network::Network;
pub use outlier::*;
pub use tenant::*;
pub use tls::*;
pub use traffic::*;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// One whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Limits and habits of the process.
    pub process: Process,
    /// The admin address; none leaves the process without one.
    pub admin: Option<Admin>,
    /// One line an exchange, and where it goes.
    pub access_log: AccessLog,
    /// Authorities that issue certificates, by name, in file order.
    pub acme: Vec<Acme>,
    /// Addresses we accept on, in file order.
    pub listeners: Vec<Listener>,
    /// Rate limits, those that stand where they are used among them.
    pub rate_limits: Vec<RateLimit>,
    /// Tenants by name, in file order: the first that matches wins.
    pub tenants: Vec<Tenant>,
    /// Plugins by name, in file order.
    pub plugins: Vec<Plugin>,
    /// Routes, in file order: the first that matches wins.
    pub routes: Vec<Route>,
    /// Clusters by name, in file order.
    pub clusters: Vec<Cluster>,
    /// Where it names files.
    pub places: Places,
    /// Files that hold values of it.
    pub value_files: Vec<PathBuf>,
}

/// `[process]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Worker threads; none is one a core.
    pub workers: Option<usize>,
    /// How long a drain may take before what is left is cut. Default 30 s.
    pub shutdown_grace: Duration,
    /// How long clients are still served as ever at a shutdown after readiness has failed. Default 0.
    pub drain_delay: Duration,
    /// How long connections that idle when a drain begins may still ask something. Default 5 s.
    pub drain_idle: Duration,
    /// Where `weir upgrade` is heard.
    pub upgrade_socket: Option<PathBuf>,
    /// How long the process of an upgrade may take until it is ready. Default 1 min.
    pub upgrade_timeout: Duration,
    /// Reload when the configuration file, a plugin or a certificate changes on disk. Default true.
    pub watch: bool,
    /// Where compiled plugins are kept; none is `weir` below the system's cache folder.
    pub plugin_cache: Option<PathBuf>,
    /// What compiling a plugin may take.
    pub plugin_compile: PluginCompile,
    /// The zone it runs in.
    pub zone: Option<Arc<str>>,
    /// Name servers to ask; empty is those of the system.
    pub resolvers: Vec<SocketAddr>,
    /// Open connections of all listeners together; further ones wait. None is unlimited.
    pub max_connections: Option<usize>,
    /// Resident memory: near it, connections are closed, and refused at it. None is unlimited.
    pub max_memory: Option<ByteSize>,
}

/// `plugin-compile` of `[process]`: what the process that compiles a plugin may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginCompile {
    /// Address space. Default 2 GiB.
    pub memory: ByteSize,
    /// CPU time. Default 1 min.
    pub cpu: Duration,
    /// Time by the clock. Default 5 min.
    pub time: Duration,
}

impl Default for PluginCompile {
    fn default() -> Self {
        Self { memory: ByteSize(2 << 30), cpu: Duration::from_secs(60), time: Duration::from_secs(300) }
    }
}

/// `[plugins.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// Its name in the file.
    pub name: Arc<str>,
    /// The component, absolute.
    pub path: PathBuf,
    /// Settings every binding starts from; a JSON object.
    pub settings: serde_json::Value,
    /// Longest time of one call. Default 5 ms; a health check has its own timeout.
    pub deadline: Duration,
    /// Percent of a worker's time that all calls may take together. Default 50; 100 is no bound.
    pub worker_share: u32,
    /// Most CPU time of one health check, its waiting apart. Default 100 ms.
    pub check_cpu: Duration,
    /// Most linear memory of one instance. Default 16 MiB.
    pub memory: ByteSize,
    /// What happens to an exchange whose decision failed. Default native.
    pub on_failure: OnFailure,
    /// Host interfaces beside `request`, `candidates` and `target`. Default log, metrics, clock, random.
    pub grants: Vec<Grant>,
}

/// What happens to an exchange when a plugin fails on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The decision is made as if the plugin were not there.
    Native,
    /// The client gets 503.
    Reject,
}

/// A host interface that a plugin may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Lines in the process log.
    Log,
    /// Counters, gauges and histograms under the plugin's name.
    Metrics,
    /// Wall and monotonic time.
    Clock,
    /// Random bytes.
    Random,
    /// A small store shared by the plugin's instances.
    Kv,
}

/// One use of a plugin with its settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// Name of a plugin in [`Config::plugins`].
    pub plugin: Arc<str>,
    /// The plugin's settings with the binding's own keys laid over them; a JSON object.
    pub settings: serde_json::Value,
}

/// `[[routes]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// Which requests it takes.
    pub matcher: Match,
    /// It takes CONNECT, and nothing else.
    pub connect: bool,
    /// Networks of clients that it serves.
    pub access: Access,
    /// Names of limits that its requests must keep to.
    pub rate_limits: Vec<Arc<str>>,
    /// Router plugins, in order.
    pub plugins: Vec<Binding>,
    /// What it does.
    pub action: Action,
    /// What is changed on requests and responses.
    pub edits: Edits,
    /// Where copies of its requests go.
    pub mirror: Option<Mirror>,
    /// How responses are made smaller; none leaves them.
    pub compression: Option<Compression>,
    /// Longest time of the whole exchange, tunnels excepted; none is what the cluster says.
    pub timeout: Option<Duration>,
    /// Longest time of one attempt; none is what the cluster says.
    pub attempt_timeout: Option<Duration>,
    /// When a request is sent again; none is what the cluster says.
    pub retries: Option<Retries>,
    /// When another attempt is made beside one; none is what the cluster says.
    pub hedge: Option<Hedge>,
    /// How long a tunnel may be silent; none is what the cluster says.
    pub tunnel_idle_timeout: Option<Duration>,
    /// Longest time that all plugin calls of a request take together; none is four times the deadline of the
    /// plugin that is asked.
    pub plugin_budget: Option<Duration>,
    /// Body of a request; more get 413. None is what the listener says.
    pub max_body: Option<ByteSize>,
}

impl Route {
    /// To a cluster, whatever comes.
    pub fn to(cluster: Arc<str>) -> Self {
        let (name, matcher, plugins) = (Arc::from(""), Match::default(), Vec::new());
        Self {
            name,
            matcher,
            connect: false,
            access: Access::default(),
            rate_limits: Vec::new(),
            plugins,
            action: Action::Cluster(cluster),
            edits: Edits::default(),
            mirror: None,
            compression: None,
            timeout: None,
            attempt_timeout: None,
            retries: None,
            hedge: None,
            tunnel_idle_timeout: None,
            plugin_budget: None,
            max_body: None,
        }
    }

    /// Whether it takes connections of which nothing is read: it asks for nothing that only a request
    /// shows, and leads to clusters.
    pub fn takes_connections(&self) -> bool {
        let leads = matches!(self.action, Action::Cluster(_) | Action::Split(_) | Action::Rollout(_));
        self.matcher.is_of_connections() && !self.connect && self.plugins.is_empty() && leads
    }
}

/// `match` of a route: every part that is given must fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Match {
    /// Name of the tenant.
    pub tenant: Option<Arc<str>>,
    /// Lower case, without port.
    pub host: Option<HostMatch>,
    /// How the client came.
    pub scheme: Option<Scheme>,
    /// The path.
    pub path: Option<PathMatch>,
    /// Header names (lower case) with the value one of their fields must have.
    pub headers: Vec<(String, String)>,
    /// Query parameters with the value one of them must have, decoded.
    pub query: Vec<(String, String)>,
    /// Cookies with the value one of them must have.
    pub cookies: Vec<(String, String)>,
    /// Methods; empty is any.
    pub methods: Vec<String>,
    /// Server name of TLS, or the authority a PROXY header told.
    pub sni: Option<HostMatch>,
    /// Protocols of ALPN, one of which must be the connection's; empty is any.
    pub alpn: Vec<String>,
    /// Networks of clients; empty is any.
    pub client: Vec<Network>,
    /// Name of the listener.
    pub listener: Option<Arc<str>>,
}

impl Match {
    /// Whether it asks for nothing but what is known of a connection before any request.
    pub fn is_of_connections(&self) -> bool {
        let Self { tenant, sni, alpn, client, listener, .. } = self.clone();
        *self == Self { tenant, sni, alpn, client, listener, ..Self::default() }
    }
}

/// `match.host`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostMatch {
    /// This host.
    Exact(String),
    /// `*.example.com` is kept as `.example.com`: any host below it, not itself.
    Suffix(String),
}

/// `match.path` or `match.path-prefix`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// This path.
    Exact(String),
    /// This path and what lies below it by whole segments: `/v1` fits `/v1` and `/v1/x`, not `/v10`.
    Prefix(String),
}

/// What a route does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Forward to the cluster of this name.
    Cluster(Arc<str>),
    /// Forward to one of several clusters.
    Split(Split),
    /// Forward to one of two clusters, whose shares change by themselves.
    Rollout(Rollout),
    /// Answer at once.
    Respond(Respond),
    /// Send the client elsewhere.
    Redirect(Redirect),
}

/// `respond` of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// The whole body. Default empty.
    pub body: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
}

/// `[clusters.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Its name in the file.
    pub name: Arc<str>,
    /// At least one, unless others are found.
    pub endpoints: Vec<Endpoint>,
    /// Where further ones are found.
    pub discover: Option<Discover>,
    /// Longest time an answer of DNS counts. Default 60 s.
    pub max_ttl: Duration,
    /// Which endpoint a request goes to. Default round-robin.
    pub balance: Balance,
    /// What endpoints say of their load changes their weights; none listens.
    pub load_reports: Option<LoadReports>,
    /// What keeps a session on its endpoint.
    pub affinity: Option<Affinity>,
    /// Active health check; none takes every endpoint for healthy.
    pub health: Option<Health>,
    /// Where endpoints say how they are.
    pub agent: Option<Agent>,
    /// What takes endpoints out for what requests meet on them; none does not. Default on.
    pub outlier_detection: Option<OutlierDetection>,
    /// How long an endpoint that is no longer listed keeps its sessions. Default 30 s.
    pub drain: Duration,
    /// How long an endpoint that comes or returns takes to grow to its weight; none is at once.
    pub slow_start: Option<Duration>,
    /// Percent of a level's endpoints that must be healthy for it to take everything. Default 50.
    pub min_healthy: u32,
    /// Percent of endpoints below which all are picked, healthy or not; 0 is never. Default 0.
    pub panic_threshold: u32,
    /// The zone of the process, whose endpoints are preferred.
    pub zone: Option<Arc<str>>,
    /// Speak HTTP/2 to endpoints (prior knowledge, or ALPN under TLS). Default false.
    pub http2: bool,
    /// Most streams at once on one HTTP/2 connection to an endpoint. Default 100.
    pub h2_streams: u32,
    /// Present when connections to endpoints are TLS.
    pub tls: Option<UpstreamTls>,
    /// Longest time for TCP connect and TLS handshake together. Default 5 s.
    pub connect_timeout: Duration,
    /// Longest wait for an endpoint to send or to take the next bytes. Default 60 s.
    pub response_timeout: Duration,
    /// Idle connections kept for each endpoint and worker. Default 64.
    pub idle_connections: usize,
    /// How long an idle connection is kept. Default 30 s.
    pub idle_timeout: Duration,
    /// Begin each connection with a PROXY header; none sends none.
    pub send_proxy_protocol: Option<ProxyVersion>,
    /// Longest time of a whole exchange, where its route says nothing; none is unlimited.
    pub timeout: Option<Duration>,
    /// Longest time of one attempt, from its connection to the response's head; none is unlimited.
    pub attempt_timeout: Option<Duration>,
    /// When a request is sent again; none is once, after `connect` or `reset`.
    pub retries: Option<Retries>,
    /// When another attempt is made beside one; none is never.
    pub hedge: Option<Hedge>,
    /// How long a tunnel may be silent, where its route says nothing. Default 1 h.
    pub tunnel_idle_timeout: Duration,
    /// How many retries there may be for the requests there are.
    pub retry_budget: RetryBudget,
    /// How many requests may be under way at once.
    pub limits: UpstreamLimits,
    /// What happens to requests that these limits keep out.
    pub queue: Queue,
}

impl Cluster {
    /// Of these endpoints, with nothing else said of it and outliers not looked for.
    pub fn of(name: &str, endpoints: Vec<Endpoint>) -> Self {
        Self {
            name: Arc::from(name),
            endpoints,
            discover: None,
            max_ttl: Duration::from_secs(60),
            balance: Balance::RoundRobin,
            load_reports: None,
            affinity: None,
            health: None,
            agent: None,
            outlier_detection: None,
            drain: Duration::from_secs(30),
            slow_start: None,
            min_healthy: 50,
            panic_threshold: 0,
            zone: None,
            http2: false,
            h2_streams: 100,
            tls: None,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            idle_connections: 64,
            idle_timeout: Duration::from_secs(30),
            send_proxy_protocol: None,
            timeout: None,
            attempt_timeout: None,
            retries: None,
            hedge: None,
            tunnel_idle_timeout: Duration::from_secs(3_600),
            retry_budget: RetryBudget::default(),
            limits: UpstreamLimits::default(),
            queue: Queue::default(),
        }
    }
}

/// `send-proxy-protocol`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary, with TLVs.
    V2,
}

/// `retries`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// Attempts in all, the first included; 1 to 10. Default 2.
    pub attempts: u32,
    /// What a further attempt is made after.
    pub on: RetryOn,
    /// Methods that may be repeated here beside the idempotent ones.
    pub methods: Vec<String>,
    /// Most of a request's body that is kept to be sent again. Default 64 KiB.
    pub buffer: ByteSize,
    /// How long a further attempt waits.
    pub backoff: Backoff,
}

/// `on` of `retries`. Default connect, reset and the statuses 502 to 504.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetryOn {
    /// No connection could be made, or the endpoint refused the request unseen.
    pub connect: bool,
    /// The connection ended before the response.
    pub reset: bool,
    /// The endpoint or the attempt took too long.
    pub timeout: bool,
    /// The response has one of these statuses, as inclusive ranges.
    pub statuses: Vec<(u16, u16)>,
    /// The response is that of a call of gRPC which has failed with one of these statuses, and no more.
    pub grpc: Vec<u8>,
}

impl RetryOn {
    /// Words for statuses of gRPC, as in the file.
    pub const GRPC: [(&str, u8); 5] =
        [("cancelled", 1), ("deadline-exceeded", 4), ("resource-exhausted", 8), ("internal", 13), ("unavailable", 14)];
}

/// `backoff` of `retries`: a random time up to `base`, twice that, and so on up to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Most before the first further attempt. Default 25 ms.
    pub base: Duration,
    /// Most before any. Default 250 ms.
    pub max: Duration,
}

/// `retry-budget`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// Retries for each hundred requests. Default 20.
    pub percent: u32,
    /// Retries a second that are allowed however few requests there are. Default 3.
    pub min_per_second: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 20, min_per_second: 3 }
    }
}

/// `discover`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discover {
    /// The addresses of a name, in lower case, all at one port.
    Dns {
        /// The name.
        name: String,
        /// The port.
        port: u16,
    },
    /// The SRV records of a name, in lower case.
    Srv(String),
    /// A file of endpoints.
    File(PathBuf),
    /// The addresses of names that `endpoints` lists.
    Names(Vec<NamedEndpoint>),
}

/// A name in `endpoints`: each of its addresses is an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEndpoint {
    /// The name, in lower case.
    pub name: String,
    /// What its endpoints are like; the IP address is unspecified.
    pub like: Endpoint,
}

impl NamedEndpoint {
    /// The endpoint at one of the addresses of the name.
    pub fn at(&self, address: IpAddr) -> Endpoint {
        Endpoint { address: SocketAddr::new(address, self.like.address.port()), ..self.like.clone() }
    }
}

/// `hedge`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hedge {
    /// How long an attempt may take until another is made beside it.
    pub delay: HedgeDelay,
    /// Most hedges for each hundred requests. Default 10.
    pub at_most: u32,
}

/// How long an attempt may take until another is made beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeDelay {
    /// So long.
    After(Duration),
    /// As long as so many percent of the attempts of the last minute at most took.
    Percentile {
        /// 50 to 99.
        percent: u32,
        /// Fewest attempts that are enough to know. Default 100.
        min_requests: u32,
        /// What counts until they are; none is to make no other.
        until_known: Option<Duration>,
    },
}

/// `limits` of a cluster; none is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UpstreamLimits {
    /// Requests under way to the whole cluster.
    pub requests: Option<u32>,
    /// Requests under way to each endpoint that does not say itself.
    pub endpoint_requests: Option<u32>,
    /// Connections open to the whole cluster.
    pub connections: Option<u32>,
    /// Connections open to each endpoint that does not say itself.
    pub endpoint_connections: Option<u32>,
}

/// `queue` of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Most requests that wait. Default 100; 0 is none.
    pub length: usize,
    /// Longest wait. Default 1 s.
    pub timeout: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self { length: 100, timeout: Duration::from_secs(1) }
    }
}

/// One of `endpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub address: SocketAddr,
    /// Share among its cluster's endpoints. 0 to 1,000, default 1; 0 takes no picks.
    pub weight: u32,
    /// What plugins and routes may ask for.
    pub labels: BTreeMap<String, String>,
    /// Those of the lowest number serve first. 0 to 65,535, default 0.
    pub priority: u32,
    /// The zone it is in.
    pub zone: Option<String>,
    /// Serves only when no other may be picked. Default false.
    pub backup: bool,
    /// Requests under way at once; none is what the cluster's limits say.
    pub max_requests: Option<u32>,
    /// Connections open at once; none is what the cluster's limits say.
    pub max_connections: Option<u32>,
}

impl Endpoint {
    /// Of this address, with nothing else said of it.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            weight: 1,
            labels: BTreeMap::new(),
            priority: 0,
            zone: None,
            backup: false,
            max_requests: None,
            max_connections: None,
        }
    }
}

impl Cluster {
    /// TLS to its endpoints, of requests and of health checks.
    pub fn tls(&self) -> impl Iterator<Item = &UpstreamTls> {
        self.tls.iter().chain(self.health.iter().filter_map(|health| health.tls.as_ref()))
    }
}
