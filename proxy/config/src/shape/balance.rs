//! The shape of `balance` of a cluster.

use schemars::JsonSchema;

use super::{OwnBinding, scalar::Duration};

/// Which endpoint a request goes to.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Balance {
    /// An algorithm of ours, as it is by default.
    Word(BalanceWord),
    /// The fewest requests in flight.
    LeastRequest(LeastRequest),
    /// The least latency times requests in flight.
    LeastTime(LeastTime),
    /// The first that has room.
    First(First),
    /// The endpoint of a key.
    Hash(Hash),
    /// A plugin with the balancer role.
    Plugin(OwnBinding),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub(super) enum BalanceWord {
    RoundRobin,
    Random,
    LeastRequest,
    LeastTime,
    SourceHash,
    First,
}

/// The fewest requests in flight.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct LeastRequest {
    /// Among which endpoints.
    least_request: Compared,
}

/// Among which endpoints.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Compared {
    /// All of them.
    Word(Full),
    /// Some that are drawn.
    Choices(Choices),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum Full {
    Full,
}

/// How endpoints are drawn.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Choices {
    /// How many are drawn.
    #[schemars(range(min = 2, max = 16), extend("default" = 2))]
    choices: Option<u32>,
}

/// The least latency times requests in flight.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct LeastTime {
    /// How latency is remembered.
    least_time: Memory,
}

/// How latency is remembered.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Memory {
    /// After this time without a sample a latency counts e times less.
    #[schemars(extend("default" = "10s"))]
    decay: Option<Duration>,
}

/// The first that has room.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct First {
    /// What an endpoint has room for.
    first: Room,
}

/// What an endpoint has room for.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Room {
    /// Requests in flight that fill an endpoint.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 100))]
    max_requests: Option<u32>,
}

/// The endpoint of a key.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Hash {
    /// Where the key is found.
    hash: Key,
    /// How keys are spread over endpoints.
    #[schemars(extend("default" = "ring"))]
    algorithm: Option<Algorithm>,
    /// Most load of an endpoint as a multiple of its fair share; without it there is no limit.
    #[schemars(range(min = 1.01, max = 100.0))]
    balance_factor: Option<f64>,
}

/// Where the key is found.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Key {
    /// About the request as a whole.
    Word(KeyWord),
    /// In a field of the request.
    Field(KeyField),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum KeyWord {
    Source,
    Path,
    Router,
}

/// In a field of the request.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["header"] }, { "required": ["cookie"] }, { "required": ["query"] }]))]
struct KeyField {
    /// A header.
    header: Option<String>,
    /// A cookie.
    cookie: Option<String>,
    /// A query parameter.
    query: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum Algorithm {
    Ring,
    Maglev,
}

/// What endpoints say of their load.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct LoadReports {
    /// The utilisation that counts; without it that of the application, or else that of the processor.
    metric: Option<String>,
    /// How long a weight lasts without further reports.
    #[schemars(extend("default" = "3m"))]
    expire: Option<Duration>,
    /// Give the header to clients too.
    #[schemars(extend("default" = false))]
    keep: Option<bool>,
}
