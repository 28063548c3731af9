//! The shape of what routes and clusters say about attempts.

use schemars::JsonSchema;

use super::scalar::{Duration, Size, Statuses};

/// When a request is sent again.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Retries {
    /// Attempts in all, the first included.
    #[schemars(range(min = 1, max = 10), extend("default" = 2))]
    attempts: Option<u32>,
    /// What a further attempt is made after.
    #[schemars(extend("default" = ["connect", "reset", "gateway-error"]))]
    on: Option<Vec<Condition>>,
    /// Methods that may be repeated beside the idempotent ones.
    #[schemars(extend("default" = []))]
    methods: Option<Vec<String>>,
    /// Most of a request's body that is kept to be sent again.
    #[schemars(extend("default" = "64KiB"))]
    buffer: Option<Size>,
    /// How long a further attempt waits.
    backoff: Option<Backoff>,
}

/// What a further attempt is made after.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Condition {
    /// A kind of failure.
    Word(ConditionWord),
    /// A status, or a range of them.
    Statuses(Statuses),
}

#[derive(JsonSchema)]
#[schemars(inline)]
enum ConditionWord {
    #[schemars(rename = "connect")]
    Connect,
    #[schemars(rename = "reset")]
    Reset,
    #[schemars(rename = "timeout")]
    Timeout,
    #[schemars(rename = "gateway-error")]
    GatewayError,
    #[schemars(rename = "5xx")]
    ServerError,
    #[schemars(rename = "cancelled")]
    Cancelled,
    #[schemars(rename = "deadline-exceeded")]
    DeadlineExceeded,
    #[schemars(rename = "resource-exhausted")]
    ResourceExhausted,
    #[schemars(rename = "internal")]
    Internal,
    #[schemars(rename = "unavailable")]
    Unavailable,
}

/// A random time that grows with every attempt.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Backoff {
    /// Most before the first further attempt; doubled before each next one.
    #[schemars(extend("default" = "25ms"))]
    base: Option<Duration>,
    /// Most before any.
    #[schemars(extend("default" = "250ms"))]
    max: Option<Duration>,
}

/// How many retries there may be.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RetryBudget {
    /// Retries for each hundred requests.
    #[schemars(range(min = 0, max = 100), extend("default" = 20))]
    percent: Option<u32>,
    /// Retries a second that are allowed however few requests there are.
    #[schemars(range(min = 0, max = 10_000), extend("default" = 3))]
    min_per_second: Option<u32>,
}

/// When another attempt is made beside one.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["after"] }, { "required": ["percentile"] }]))]
pub(super) struct Hedge {
    /// How long an attempt may take until then; with `percentile`, as long as too few attempts are known.
    after: Option<Duration>,
    /// As long as so many percent of the attempts of the last minute at most took.
    #[schemars(range(min = 50, max = 99))]
    percentile: Option<u32>,
    /// Attempts of the last minute from which on `percentile` counts.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 100))]
    min_requests: Option<u32>,
    /// Most hedges for each hundred requests.
    #[schemars(range(min = 1, max = 100), extend("default" = 10))]
    at_most: Option<u32>,
}

/// How many requests may be under way and connections open at once; what is left out is unlimited.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct UpstreamLimits {
    /// To the whole cluster.
    #[schemars(range(min = 1, max = 10_000_000))]
    requests: Option<u32>,
    /// To each endpoint that does not say itself.
    #[schemars(range(min = 1, max = 10_000_000))]
    endpoint_requests: Option<u32>,
    /// Connections open to the whole cluster.
    #[schemars(range(min = 1, max = 10_000_000))]
    connections: Option<u32>,
    /// Connections open to each endpoint that does not say itself.
    #[schemars(range(min = 1, max = 10_000_000))]
    endpoint_connections: Option<u32>,
}

/// Where requests wait that the limits keep out.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Queue {
    /// Most requests that wait; 0 is none.
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 100))]
    length: Option<u32>,
    /// Longest wait.
    #[schemars(extend("default" = "1s"))]
    timeout: Option<Duration>,
}
