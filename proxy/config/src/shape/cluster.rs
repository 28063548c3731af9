//! The shape of `[clusters.NAME]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::{
    affinity::Affinity,
    attempts::{Hedge, Queue, Retries, RetryBudget, UpstreamLimits},
    balance::{Balance, LoadReports},
    health::Health,
    outlier::{Agent, Outliers},
    scalar::{Duration, EndpointAddress},
    tls::UpstreamTls,
};

/// Endpoints that do the same, and how requests are spread over them.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["endpoints"] }, { "required": ["discover"] }]))]
pub(super) struct Cluster {
    /// Where requests go; at least one, unless others are found.
    endpoints: Option<Vec<Endpoint>>,
    /// Where further endpoints are found.
    discover: Option<Discover>,
    /// Which endpoint a request goes to.
    #[schemars(extend("default" = "round-robin"))]
    balance: Option<Balance>,
    /// What endpoints say of their load changes their weights; without it nothing does.
    load_reports: Option<LoadReports>,
    /// What keeps a session on its endpoint; without it nothing does.
    affinity: Option<Affinity>,
    /// Active health check; without it every endpoint counts as healthy.
    health: Option<Health>,
    /// Asks each endpoint's host how the endpoint is.
    agent: Option<Agent>,
    /// Takes endpoints out for what requests meet on them; without it with its defaults.
    outlier_detection: Option<Outliers>,
    /// How long an endpoint that is no longer listed keeps its sessions.
    #[schemars(extend("default" = "30s"))]
    drain: Option<Duration>,
    /// How long an endpoint that comes or returns takes to grow to its weight.
    #[schemars(extend("default" = "0s"))]
    slow_start: Option<Duration>,
    /// Percent of a level's endpoints that must be healthy for it to take everything.
    #[schemars(range(min = 0, max = 100), extend("default" = 50))]
    min_healthy: Option<u32>,
    /// Percent of endpoints below which all are picked, healthy or not; 0 is never.
    #[schemars(range(min = 0, max = 100), extend("default" = 0))]
    panic_threshold: Option<u32>,
    /// Speak HTTP/2 to endpoints.
    #[schemars(extend("default" = false))]
    http2: Option<bool>,
    /// Most streams at once on one HTTP/2 connection to an endpoint; further ones go over further connections.
    #[schemars(range(min = 1, max = 65_536), extend("default" = 100))]
    h2_streams: Option<u32>,
    /// Makes connections to endpoints TLS.
    tls: Option<UpstreamTls>,
    /// Longest time for TCP connect and TLS handshake together.
    #[schemars(extend("default" = "5s"))]
    connect_timeout: Option<Duration>,
    /// Longest wait for an endpoint to send or to take the next bytes.
    #[schemars(extend("default" = "60s"))]
    response_timeout: Option<Duration>,
    /// Idle connections kept for each endpoint and worker.
    #[schemars(range(min = 0, max = 100_000), extend("default" = 64))]
    idle_connections: Option<u32>,
    /// How long an idle connection is kept.
    #[schemars(extend("default" = "30s"))]
    idle_timeout: Option<Duration>,
    /// Begin each connection with a PROXY header of this version; without it none is sent.
    send_proxy_protocol: Option<ProxyVersion>,
    /// Longest time of the whole exchange; without it there is no limit.
    timeout: Option<Duration>,
    /// Longest time of one attempt; without it there is no limit.
    attempt_timeout: Option<Duration>,
    /// When a request is sent again; without it once, after `connect` or `reset`.
    retries: Option<Retries>,
    /// When another attempt is made beside one; without it never.
    hedge: Option<Hedge>,
    /// How long a tunnel may be silent.
    #[schemars(extend("default" = "1h"))]
    tunnel_idle_timeout: Option<Duration>,
    /// How many retries there may be.
    retry_budget: Option<RetryBudget>,
    /// How many requests may be under way at once.
    limits: Option<UpstreamLimits>,
    /// Where requests wait that the limits keep out.
    queue: Option<Queue>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum ProxyVersion {
    V1,
    V2,
}

/// Where requests go.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Endpoint {
    /// With weight 1.
    Plain(EndpointAddress),
    /// With more to say.
    Full(FullEndpoint),
}

/// Where endpoints are found: exactly one of these.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["dns"] }, { "required": ["srv"] }, { "required": ["file"] }]))]
struct Discover {
    /// A name and a port: the addresses of the name.
    dns: Option<String>,
    /// A name: its SRV records.
    srv: Option<String>,
    /// A file of endpoints, TOML or JSON, followed as it changes.
    file: Option<String>,
    /// Longest time an answer of DNS counts, whatever its TTL.
    #[schemars(extend("default" = "60s"))]
    max_ttl: Option<Duration>,
}

/// An endpoint with its weight, labels and limit.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct FullEndpoint {
    /// IP address or host name, and port.
    address: EndpointAddress,
    /// Share among the cluster's endpoints; 0 takes no requests.
    #[schemars(range(min = 0, max = 1_000), extend("default" = 1))]
    weight: Option<u32>,
    /// What plugins may ask for.
    #[schemars(extend("default" = {}))]
    labels: Option<BTreeMap<String, String>>,
    /// Those of the lowest number serve first.
    #[schemars(range(min = 0, max = 65_535), extend("default" = 0))]
    priority: Option<u32>,
    /// The zone it is in.
    zone: Option<String>,
    /// Serves only when no other may be picked.
    #[schemars(extend("default" = false))]
    backup: Option<bool>,
    /// Requests under way at once; without it what the cluster's limits say.
    #[schemars(range(min = 1, max = 10_000_000))]
    max_requests: Option<u32>,
    /// Connections open at once; without it what the cluster's limits say.
    #[schemars(range(min = 1, max = 10_000_000))]
    max_connections: Option<u32>,
}
