//! The shape of the file as types, from which its JSON Schema is made. The readers decide what a file
//! means; tests hold both to the same keys and defaults.

#![expect(dead_code, reason = "only the schema of these types is used")]

mod acme;
mod admin;
mod affinity;
mod attempts;
mod balance;
mod cluster;
mod health;
mod limits;
mod outlier;
mod scalar;
mod tenant;
mod tls;
mod traffic;

use std::collections::BTreeMap;

use schemars::JsonSchema;

use acme::Acme;
use admin::Admin;
use attempts::{Hedge, Retries};
use cluster::Cluster;
use limits::{LimitUse, RateLimit};
use scalar::{Address, Duration, False, Network, Settings, Size};
use tenant::Tenant;
use tls::ListenerTls;
use traffic::{Compression, HeaderEdits, Mirror, Redirect, Rewrite, Rollout, Scheme, SplitKey};

/// Configuration of Weir.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields, title = "weir.toml")]
pub(crate) struct File {
    /// Limits and habits of the process.
    process: Option<Process>,
    /// The admin interface; without it there is none.
    admin: Option<Admin>,
    /// One line an exchange.
    access_log: Option<AccessLog>,
    /// Authorities that issue certificates, by name.
    acme: Option<BTreeMap<String, Acme>>,
    /// Addresses to accept on, by name.
    listeners: Option<BTreeMap<String, Listener>>,
    /// What requests with the same key may take together, by name.
    rate_limits: Option<BTreeMap<String, RateLimit>>,
    /// Customers of the operator by name; the first that matches a request has it.
    tenants: Option<BTreeMap<String, Tenant>>,
    /// Plugins by name.
    plugins: Option<BTreeMap<String, Plugin>>,
    /// The first that matches a request takes it.
    routes: Option<Vec<Route>>,
    /// Clusters by name.
    clusters: Option<BTreeMap<String, Cluster>>,
}

/// Limits and habits of the process.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Process {
    /// Worker threads; without it one a core.
    #[schemars(range(min = 1, max = 1024))]
    workers: Option<u32>,
    /// How long a drain may take before what is left is cut.
    #[schemars(extend("default" = "30s"))]
    shutdown_grace: Option<Duration>,
    /// How long clients are still served as ever at a shutdown after readiness has failed.
    #[schemars(extend("default" = "0s"))]
    drain_delay: Option<Duration>,
    /// How long connections that idle when a drain begins may still send a request; at most half of `shutdown-grace`.
    #[schemars(extend("default" = "5s"))]
    drain_idle: Option<Duration>,
    /// Unix socket on which `weir upgrade` is heard; without it there is none.
    upgrade_socket: Option<String>,
    /// How long the process of an upgrade may take until it is ready.
    #[schemars(extend("default" = "1m"))]
    upgrade_timeout: Option<Duration>,
    /// Reload when the file, a plugin or a certificate changes on disk.
    #[schemars(extend("default" = true))]
    watch: Option<bool>,
    /// Folder for compiled plugins; without it `weir` below the system's cache folder.
    plugin_cache: Option<String>,
    /// What the process that compiles a plugin may take.
    plugin_compile: Option<PluginCompile>,
    /// The zone it runs in: endpoints of the same zone are preferred.
    zone: Option<String>,
    /// Name servers to ask; without them those of the system.
    resolvers: Option<Vec<Address>>,
    /// Open connections of all listeners together; without it there is no limit.
    #[schemars(range(min = 1, max = 10_000_000))]
    max_connections: Option<u32>,
    /// Resident memory: near it, connections are closed, and refused at it; without it there is no limit.
    max_memory: Option<Size>,
}

/// What the process that compiles a plugin may take.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct PluginCompile {
    /// Address space.
    #[schemars(extend("default" = "2GiB"))]
    memory: Option<Size>,
    /// CPU time.
    #[schemars(extend("default" = "1m"))]
    cpu: Option<Duration>,
    /// Time by the clock.
    #[schemars(extend("default" = "5m"))]
    time: Option<Duration>,
}

/// One line an exchange.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct AccessLog {
    /// Shape of a line.
    #[schemars(extend("default" = "json"))]
    format: Option<LogFormat>,
    /// A file, or `-` for standard output.
    #[schemars(extend("default" = "-"))]
    path: Option<String>,
    /// Further query parameters whose values are not logged; `false` logs every value.
    #[schemars(extend("default" = []))]
    redact: Option<Redacted>,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Redacted {
    Names(Vec<String>),
    Off(False),
}

/// The value of a header.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum HeaderValue {
    Text(String),
    Secret(SecretValue),
}

/// A value that is not in this file.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct SecretValue {
    /// A file that holds it.
    file: Option<String>,
    /// An environment variable that holds it.
    env: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum LogFormat {
    Json,
    Logfmt,
    Off,
}

/// An address to accept on.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Listener {
    /// Where it listens; port 0 takes a free one.
    address: Address,
    /// What its clients speak.
    #[schemars(extend("default" = "http"))]
    protocol: Option<Protocol>,
    /// The cluster that takes its connections, where the protocol is not HTTP; without it routes decide.
    cluster: Option<String>,
    /// Makes connections TLS.
    tls: Option<ListenerTls>,
    /// What a client may take.
    limits: Option<Limits>,
    /// Networks of clients that may come in; others may not.
    #[schemars(length(min = 1))]
    allow: Option<Vec<Network>>,
    /// Networks of clients that may not come in.
    #[schemars(length(min = 1))]
    deny: Option<Vec<Network>>,
    /// Limits that its requests must keep to, where the protocol is HTTP.
    rate_limits: Option<OneOrMore<LimitUse>>,
    /// Limits that its connections must keep to.
    connection_limits: Option<OneOrMore<LimitUse>>,
    /// How the client's address is learnt from trusted proxies and told to endpoints.
    forwarded: Option<Forwarded>,
    /// Takes the client's address from a PROXY header.
    proxy_protocol: Option<ProxyProtocol>,
    /// How paths of requests are read, and what endpoints are sent of them.
    paths: Option<Paths>,
}

/// How paths of requests are read, and what endpoints are sent of them.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Paths {
    /// What an encoded slash or backslash in a path is: part of a name, a slash, or a reason for 400.
    #[schemars(extend("default" = "keep"))]
    encoded_slashes: Option<EncodedSlashes>,
    /// What endpoints are sent.
    #[schemars(extend("default" = "normalised"))]
    send: Option<SentPath>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum EncodedSlashes {
    Keep,
    Decode,
    Refuse,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum SentPath {
    Normalised,
    AsSent,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum Protocol {
    Http,
    Tcp,
    Tls,
    TlsPassthrough,
    Udp,
}

/// Takes the client's address from a PROXY header.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct ProxyProtocol {
    /// Whether connections begin with one.
    #[schemars(extend("default" = "off"))]
    accept: Option<AcceptProxy>,
    /// Networks of peers whose header is believed.
    #[schemars(extend("default" = []))]
    trusted: Option<Vec<Network>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum AcceptProxy {
    Required,
    Optional,
    Off,
}

/// What a client may take.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Limits {
    /// Open connections; further ones wait. Of UDP: sessions.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 8000))]
    connections: Option<u32>,
    /// Request line and headers together.
    #[schemars(extend("default" = "32KiB"))]
    header_bytes: Option<Size>,
    /// Number of header fields.
    #[schemars(range(min = 1, max = 256), extend("default" = 128))]
    headers: Option<u32>,
    /// Path and query together; without it as much as `header-bytes` allows.
    url_bytes: Option<Size>,
    /// Body of a request, where neither its route nor its tenant says otherwise; without it there is no limit.
    max_body: Option<Size>,
    /// From the first byte of a request to the end of its head.
    #[schemars(extend("default" = "10s"))]
    header_timeout: Option<Duration>,
    /// Between two requests of a connection; of other protocols than HTTP the longest silence, `10m` by default,
    /// and `1m` for UDP.
    #[schemars(extend("default" = "75s"))]
    idle_timeout: Option<Duration>,
    /// Longest wait for the next bytes of a body.
    #[schemars(extend("default" = "60s"))]
    body_timeout: Option<Duration>,
    /// Bytes of a body that earn a second of `body-timeout`; without it any byte restores all of it.
    min_rate: Option<Size>,
    /// Concurrent streams of an HTTP/2 connection.
    #[schemars(range(min = 1, max = 65_536), extend("default" = 128))]
    h2_streams: Option<u32>,
}

/// How the client's address is learnt from trusted proxies and told to endpoints.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Forwarded {
    /// What happens to values the client sent; `trusted` by default where `trusted` names networks.
    #[schemars(extend("default" = "replace"))]
    mode: Option<ForwardedMode>,
    /// Which headers are set.
    #[schemars(extend("default" = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]))]
    headers: Option<Vec<ForwardedHeader>>,
    /// Networks of proxies whose `x-forwarded-for` names the client, and whose `x-forwarded-proto` its scheme.
    #[schemars(extend("default" = []))]
    trusted: Option<Vec<Network>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum ForwardedMode {
    Replace,
    Trusted,
    Append,
    Off,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum ForwardedHeader {
    XForwardedFor,
    XForwardedProto,
    XForwardedHost,
    XForwardedPort,
    XRealIp,
    Forwarded,
}

/// A component to run.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Plugin {
    /// The component.
    path: String,
    /// What every binding starts from.
    #[schemars(extend("default" = {}))]
    settings: Option<Settings>,
    /// Longest time of one call.
    #[schemars(extend("default" = "5ms"))]
    deadline: Option<Duration>,
    /// Percent of a worker's time that its calls may take together; 100 is no bound.
    #[schemars(range(min = 1, max = 100), extend("default" = 50))]
    worker_share: Option<u32>,
    /// Most CPU time of one health check.
    #[schemars(extend("default" = "100ms"))]
    check_cpu: Option<Duration>,
    /// Most memory of one instance.
    #[schemars(extend("default" = "16MiB"))]
    memory: Option<Size>,
    /// What happens to an exchange whose decision failed.
    #[schemars(extend("default" = "native"))]
    on_failure: Option<OnFailure>,
    /// Host interfaces it may use.
    #[schemars(extend("default" = ["log", "metrics", "clock", "random"]))]
    grants: Option<Vec<Grant>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum OnFailure {
    Native,
    Reject,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum Grant {
    Log,
    Metrics,
    Clock,
    Random,
    Kv,
}

/// One use of a plugin.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Binding {
    /// With the plugin's own settings.
    Name(String),
    /// With settings of this use.
    Own(OwnBinding),
}

/// A plugin with settings of this use.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct OwnBinding {
    /// Its name in this file.
    plugin: String,
    /// Laid over the plugin's settings.
    settings: Option<Settings>,
}

/// Which requests, and what happens to them.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["cluster"] },
    { "required": ["split"] },
    { "required": ["rollout"] },
    { "required": ["respond"] },
    { "required": ["redirect"] },
]))]
struct Route {
    /// Its name in logs and metrics.
    name: String,
    /// Which requests it takes; without it every one.
    r#match: Option<Match>,
    /// It takes CONNECT, and nothing else: octets then pass to an endpoint as they are.
    #[schemars(extend("default" = false))]
    connect: Option<bool>,
    /// Networks of clients that it serves; others get 403.
    #[schemars(length(min = 1))]
    allow: Option<Vec<Network>>,
    /// Networks of clients that get 403.
    #[schemars(length(min = 1))]
    deny: Option<Vec<Network>>,
    /// Limits that its requests must keep to.
    rate_limits: Option<OneOrMore<LimitUse>>,
    /// Router plugins, in order.
    #[schemars(extend("default" = []))]
    plugins: Option<Vec<Binding>>,
    /// Forward to the cluster of this name.
    cluster: Option<String>,
    /// Forward to one of these clusters, by their shares.
    #[schemars(length(min = 2), inner(range(min = 0, max = 1_000_000)))]
    split: Option<BTreeMap<String, u32>>,
    /// What keeps a client on its cluster of `split`; without it each request is divided anew.
    split_key: Option<SplitKey>,
    /// Move traffic from one cluster to another, step by step.
    rollout: Option<Rollout>,
    /// Answer at once.
    respond: Option<Respond>,
    /// Send the client elsewhere.
    redirect: Option<Redirect>,
    /// Changes of the path and host that endpoints see.
    rewrite: Option<Rewrite>,
    /// Changes of the header that endpoints see.
    request_headers: Option<HeaderEdits>,
    /// Changes of the header that the client sees.
    response_headers: Option<HeaderEdits>,
    /// Where copies of requests go.
    mirror: Option<Mirror>,
    /// How responses are made smaller; without it they are left.
    compression: Option<Compression>,
    /// Longest time of the whole exchange; without it what the cluster says.
    timeout: Option<Duration>,
    /// Longest time of one attempt; without it what the cluster says.
    attempt_timeout: Option<Duration>,
    /// When a request is sent again; without it what the cluster says.
    retries: Option<Retries>,
    /// When another attempt is made beside one; without it what the cluster says.
    hedge: Option<Hedge>,
    /// How long a tunnel may be silent; without it what the cluster says.
    tunnel_idle_timeout: Option<Duration>,
    /// Longest time that all plugin calls of a request take together; without it, four times the deadline of the plugin that is asked.
    plugin_budget: Option<Duration>,
    /// Body of a request; without it what the listener says.
    max_body: Option<Size>,
}

/// Every part that is given must fit.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Match {
    /// A tenant of this file.
    tenant: Option<String>,
    /// A host, or `*.` and a host for every one below it.
    host: Option<String>,
    /// How the client came.
    scheme: Option<Scheme>,
    /// This path.
    #[schemars(regex(pattern = "^/"))]
    path: Option<String>,
    /// This path and what lies below it by whole segments.
    #[schemars(regex(pattern = "^/"))]
    path_prefix: Option<String>,
    /// Header fields with their values.
    #[schemars(extend("default" = {}))]
    headers: Option<BTreeMap<String, String>>,
    /// Query parameters with their values.
    #[schemars(extend("default" = {}))]
    query: Option<BTreeMap<String, String>>,
    /// Cookies with their values.
    #[schemars(extend("default" = {}))]
    cookies: Option<BTreeMap<String, String>>,
    /// Any of these; without it every method.
    #[schemars(length(min = 1))]
    methods: Option<Vec<String>>,
    /// Server name of TLS: a host, or `*.` and a host for every one below it.
    sni: Option<String>,
    /// One of these protocols by ALPN.
    alpn: Option<OneOrMore<String>>,
    /// The client's address is in one of these networks.
    client: Option<OneOrMore<Network>>,
    /// The listener of this name.
    listener: Option<String>,
}

/// One, or an array of them.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum OneOrMore<T> {
    One(T),
    More(#[schemars(length(min = 1))] Vec<T>),
}

/// An answer that needs no endpoint.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Respond {
    /// Its status.
    #[schemars(range(min = 200, max = 599), extend("default" = 200))]
    status: Option<u32>,
    /// Its whole body.
    #[schemars(extend("default" = ""))]
    body: Option<String>,
    /// Its headers.
    #[schemars(extend("default" = {}))]
    headers: Option<BTreeMap<String, String>>,
}
