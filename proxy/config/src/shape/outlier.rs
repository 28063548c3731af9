//! The shape of `outlier-detection` and `agent` of a cluster.

use schemars::JsonSchema;

use super::{
    health::Octets,
    scalar::{Duration, False},
};

#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Outliers {
    /// No detection.
    Off(False),
    /// As it says.
    On(OutlierDetection),
}

/// Takes endpoints out for what requests meet on them.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct OutlierDetection {
    /// Connections that could not be opened, in a row; 0 ejects nobody.
    #[schemars(range(min = 0, max = 1_000), extend("default" = 3))]
    consecutive_connect_failures: Option<u32>,
    /// Statuses 502 to 504, time-outs, broken connections and responses in a row; 0 ejects nobody.
    #[schemars(range(min = 0, max = 1_000), extend("default" = 5))]
    consecutive_gateway_errors: Option<u32>,
    /// Statuses from 500 and gateway errors in a row; 0 ejects nobody.
    #[schemars(range(min = 0, max = 1_000), extend("default" = 0))]
    consecutive_5xx: Option<u32>,
    /// Between two comparisons of endpoints with each other.
    #[schemars(extend("default" = "10s"))]
    interval: Option<Duration>,
    /// Length of a first ejection; the n-th lasts n times as long.
    #[schemars(extend("default" = "30s"))]
    ejection: Option<Duration>,
    /// Longest ejection.
    #[schemars(extend("default" = "5m"))]
    max_ejection: Option<Duration>,
    /// Percent of the endpoints that may be ejected at a time; one always may.
    #[schemars(range(min = 1, max = 100), extend("default" = 10))]
    max_ejected: Option<u32>,
    /// Percent of the endpoints that may be picked but for ejections; where fewer are left, these are ignored. Without it 50,
    /// or what max-ejected leaves where that is less.
    #[schemars(range(min = 0, max = 100))]
    panic_threshold: Option<u32>,
    /// Let a health check that succeeds end an ejection before its time.
    #[schemars(extend("default" = false))]
    check_ends_ejection: Option<bool>,
    /// Compare the share of requests that succeed; without it nothing does.
    success_rate: Option<SuccessRate>,
    /// Compare the time to a response's head; without it nothing does.
    latency: Option<Latency>,
}

/// Ejects endpoints whose share of successful requests lies far below the mean.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct SuccessRate {
    /// Endpoints that must have had enough requests.
    #[schemars(range(min = 2, max = 10_000), extend("default" = 5))]
    min_endpoints: Option<u32>,
    /// Requests in an interval that are enough.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 100))]
    min_requests: Option<u32>,
    /// Standard deviations below the mean.
    #[schemars(range(min = 0.1, max = 10.0), extend("default" = 1.9))]
    deviations: Option<f64>,
}

/// Ejects endpoints that are many times slower than the median.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Latency {
    /// Endpoints that must have had enough requests.
    #[schemars(range(min = 2, max = 10_000), extend("default" = 3))]
    min_endpoints: Option<u32>,
    /// Requests in an interval that are enough.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 100))]
    min_requests: Option<u32>,
    /// Times the median.
    #[schemars(range(min = 1.1, max = 100.0), extend("default" = 3))]
    factor: Option<f64>,
}

/// Asks a program on each endpoint's host how the endpoint is.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Agent {
    /// Port of the endpoint's address on which it answers.
    #[schemars(range(min = 1, max = 65_535))]
    port: u32,
    /// Between two questions.
    #[schemars(extend("default" = "2s"))]
    interval: Option<Duration>,
    /// Longest time of one.
    #[schemars(extend("default" = "1s"))]
    timeout: Option<Duration>,
    /// Sent at once; without it nothing is.
    send: Option<Octets>,
}
