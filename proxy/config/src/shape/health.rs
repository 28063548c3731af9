//! The shape of `health` of a cluster.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::{
    HeaderValue,
    scalar::{Duration, False, Settings, Statuses},
    tls::UpstreamTls,
};

/// Active health check.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["http"] }, { "required": ["tcp"] }, { "required": ["grpc"] },
    { "required": ["exec"] }, { "required": ["plugin"] },
]))]
pub(super) struct Health {
    /// An HTTP request of ours.
    http: Option<HttpCheck>,
    /// A TCP connection.
    tcp: Option<TcpCheck>,
    /// The health service of gRPC.
    grpc: Option<GrpcCheck>,
    /// A command on this machine.
    exec: Option<ExecCheck>,
    /// A plugin with the health role.
    plugin: Option<String>,
    /// Laid over the plugin's settings.
    settings: Option<Settings>,
    /// Between two checks of an endpoint.
    #[schemars(extend("default" = "2s"))]
    interval: Option<Duration>,
    /// The same while verdicts speak against the present state; without it a quarter of `interval`.
    fast_interval: Option<Duration>,
    /// Percent by which a pause is shortened or lengthened at random.
    #[schemars(range(min = 0, max = 50), extend("default" = 10))]
    jitter: Option<u32>,
    /// Longest time of one check.
    #[schemars(extend("default" = "1s"))]
    timeout: Option<Duration>,
    /// Failures in a row that make an endpoint unhealthy.
    #[schemars(range(min = 1, max = 1_000), extend("default" = 3))]
    fall: Option<u32>,
    /// Successes in a row that make it healthy again.
    #[schemars(range(min = 1, max = 1_000), extend("default" = 2))]
    rise: Option<u32>,
    /// Port to ask; without it the endpoint's own.
    #[schemars(range(min = 1, max = 65_535))]
    port: Option<u32>,
    /// TLS of the check's connections; without it the cluster's.
    tls: Option<CheckTls>,
    /// What an endpoint is before its first check has ended.
    #[schemars(extend("default" = "healthy"))]
    initial: Option<Initial>,
    /// What stands in for a plugin that fails at a check.
    #[schemars(extend("default" = "tcp"))]
    on_failure: Option<OnCheckFailure>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum OnCheckFailure {
    /// A TCP connection to the endpoint.
    Tcp,
    /// Nothing: the check has failed.
    Fail,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum CheckTls {
    /// No TLS.
    Off(False),
    /// Its own.
    Own(UpstreamTls),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum Initial {
    Healthy,
    Unhealthy,
    Checking,
}

/// An HTTP request that a healthy endpoint answers well.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct HttpCheck {
    /// Path and query.
    #[schemars(regex(pattern = "^/"), extend("default" = "/"))]
    path: Option<String>,
    /// Host header; without it the address that is asked.
    host: Option<String>,
    /// Its method.
    #[schemars(extend("default" = "GET"))]
    method: Option<String>,
    /// Further headers.
    #[schemars(extend("default" = {}))]
    headers: Option<BTreeMap<String, HeaderValue>>,
    /// Statuses that count as healthy.
    #[schemars(length(min = 1), extend("default" = ["200-399"]))]
    expect: Option<Vec<Statuses>>,
    /// Text that the first 64 KiB of the body must contain.
    #[schemars(length(min = 1))]
    body: Option<String>,
    /// Regular expression that must match in the first 64 KiB of the body.
    #[schemars(length(min = 1))]
    body_regex: Option<String>,
    /// Ask over HTTP/2; without it as the cluster's `http2` says.
    http2: Option<bool>,
}

/// A TCP connection, and what is said on it.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct TcpCheck {
    /// Sent at once.
    send: Option<Octets>,
    /// What must appear in the first 64 KiB that come back.
    expect: Option<Octets>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Octets {
    /// Text; TOML's escapes stand for control characters.
    Text(String),
    /// Any octets.
    Hex(Hex),
}

/// Octets in hexadecimal digits.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Hex {
    /// Two digits an octet; spaces between octets are allowed.
    #[schemars(regex(pattern = "^( *[0-9a-fA-F]{2})+ *$"))]
    hex: String,
}

/// A call of the standard health service of gRPC.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct GrpcCheck {
    /// The service that is asked about; the empty name is the server as a whole.
    #[schemars(extend("default" = ""))]
    service: Option<String>,
    /// The authority; without it the address that is asked.
    host: Option<String>,
}

/// A command that ends with 0 when the endpoint is well.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct ExecCheck {
    /// A path, or a name to be found on `PATH`.
    #[schemars(length(min = 1))]
    command: String,
    /// Its arguments.
    #[schemars(extend("default" = []))]
    args: Option<Vec<String>>,
}
