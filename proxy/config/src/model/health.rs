//! How endpoints are found to be well or not.

use std::time::Duration;

use super::{Binding, UpstreamTls};

/// `health` of a cluster: what is asked, how often, and what follows from the answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// What is asked.
    pub kind: HealthKind,
    /// Between two checks of an endpoint. Default 2 s.
    pub interval: Duration,
    /// Instead of `interval` while verdicts speak against the present state. Default a quarter of it.
    pub fast_interval: Duration,
    /// Percent by which a pause is shortened or lengthened at random. Default 10.
    pub jitter: u32,
    /// Longest time of one check. Default 1 s.
    pub timeout: Duration,
    /// Failures in a row that make an endpoint unhealthy. Default 3.
    pub fall: u32,
    /// Successes in a row that make it healthy again. Default 2.
    pub rise: u32,
    /// Port to ask; none is the endpoint's own.
    pub port: Option<u16>,
    /// TLS of the check's connections. Default the cluster's.
    pub tls: Option<UpstreamTls>,
    /// What an endpoint is before the first verdict. Default healthy.
    pub initial: Initial,
    /// What a check counts as that its plugin failed at. Default a TCP check in its place.
    pub on_failure: OnCheckFailure,
}

/// What stands in for a plugin that fails at a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCheckFailure {
    /// A TCP connection to the endpoint, as if `tcp` were configured.
    Tcp,
    /// Nothing: the check has failed.
    Fail,
}

impl Health {
    /// That this is asked, and the defaults for everything else.
    pub fn new(kind: HealthKind) -> Self {
        let interval = Duration::from_secs(2);
        Self {
            kind,
            interval,
            fast_interval: interval / 4,
            jitter: 10,
            timeout: Duration::from_secs(1),
            fall: 3,
            rise: 2,
            port: None,
            tls: None,
            initial: Initial::Healthy,
            on_failure: OnCheckFailure::Tcp,
        }
    }
}

/// What an endpoint is before its first check has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial {
    /// Picked.
    Healthy,
    /// Not picked until `rise` checks succeeded.
    Unhealthy,
    /// Not picked until the first verdict, which counts at once.
    Checking,
}

/// What a health check asks.
#[derive(Debug, Clone, PartialEq)]
pub enum HealthKind {
    /// An HTTP request of ours.
    Http(HttpCheck),
    /// A TCP connection.
    Tcp(TcpCheck),
    /// A call of `grpc.health.v1.Health/Check`.
    Grpc(GrpcCheck),
    /// A command on this machine.
    Exec(ExecCheck),
    /// A plugin with the health role.
    Plugin(Binding),
}

/// `health.http`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// Path and query. Default `/`.
    pub path: String,
    /// Host header; none is the address that is asked.
    pub host: Option<String>,
    /// Default GET.
    pub method: String,
    /// Further headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Statuses that count as healthy, as inclusive ranges. Default 200 to 399.
    pub expect: Vec<(u16, u16)>,
    /// Text that the body must contain.
    pub body: Option<String>,
    /// Regular expression that must match somewhere in the body.
    pub body_regex: Option<String>,
    /// Ask over HTTP/2. Default the cluster's `http2`.
    pub http2: bool,
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            host: None,
            method: "GET".to_owned(),
            headers: Vec::new(),
            expect: vec![(200, 399)],
            body: None,
            body_regex: None,
            http2: false,
        }
    }
}

/// `health.tcp`: without parts, that a connection can be made is enough.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TcpCheck {
    /// Sent at once; may be empty.
    pub send: Vec<u8>,
    /// What must appear in what comes back; empty when nothing is waited for.
    pub expect: Vec<u8>,
}

/// `health.grpc`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrpcCheck {
    /// The service that is asked about; empty for the server as a whole.
    pub service: String,
    /// The `:authority`; none is the address that is asked.
    pub host: Option<String>,
}

/// `health.exec`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecCheck {
    /// A file, or a name to be found on `PATH`.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
}
