//! The shape of what a route does beside forwarding to one cluster.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::{
    HeaderValue,
    scalar::{Duration, Size},
};

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub(super) enum Scheme {
    Http,
    Https,
}

/// What keeps a client on its cluster.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum SplitKey {
    /// The client's address.
    Word(SplitKeyWord),
    /// A part of the request.
    Part(SplitKeyPart),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub(super) enum SplitKeyWord {
    SourceIp,
}

/// The part of a request that keeps a client on its cluster.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["header"] }, { "required": ["cookie"] }, { "required": ["query"] }]))]
pub(super) struct SplitKeyPart {
    /// A header's first value.
    header: Option<String>,
    /// A cookie's value.
    cookie: Option<String>,
    /// A query parameter's first value.
    query: Option<String>,
}

/// Traffic that moves from one cluster to another.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Rollout {
    /// The cluster that has the traffic.
    from: String,
    /// The cluster that is to have it.
    to: String,
    /// Shares of `to` in percent, rising, the last 100.
    #[schemars(length(min = 1), inner(range(min = 1, max = 100)), extend("default" = [5, 25, 50, 100]))]
    steps: Option<Vec<u32>>,
    /// Shortest time of a step.
    #[schemars(extend("default" = "5m"))]
    interval: Option<Duration>,
    /// Fewest requests of either cluster before a step is judged.
    #[schemars(range(min = 10, max = 10_000_000), extend("default" = 100))]
    min_requests: Option<u32>,
    /// Percentage points of errors above `from` that are no reason to go back.
    #[schemars(range(min = 0, max = 100), extend("default" = 1))]
    max_error_increase: Option<u32>,
    /// Percent of latency above `from` that are no reason to go back.
    #[schemars(range(min = 0, max = 100_000), extend("default" = 50))]
    max_latency_increase: Option<u32>,
    /// The percentile of latency that is compared.
    #[schemars(range(min = 50, max = 99), extend("default" = 95))]
    latency_percentile: Option<u32>,
    /// What keeps a client on its cluster; without it each request is divided anew.
    key: Option<SplitKey>,
}

/// Where the client is sent.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Redirect {
    /// Its status.
    #[schemars(extend("enum" = [301, 302, 303, 307, 308], "default" = 308))]
    status: Option<u32>,
    /// Scheme of the location.
    scheme: Option<Scheme>,
    /// Host of the location.
    host: Option<String>,
    /// Port of the location.
    #[schemars(range(min = 1, max = 65_535))]
    port: Option<u32>,
    /// In place of the prefix that the route matched.
    #[schemars(regex(pattern = "^/"))]
    prefix: Option<String>,
    /// In place of the whole path.
    #[schemars(regex(pattern = "^/"))]
    path: Option<String>,
    /// Leave the query out.
    #[schemars(extend("default" = false))]
    strip_query: Option<bool>,
}

/// Changes of the path and host that endpoints see.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Rewrite {
    /// In place of the prefix that the route matched.
    #[schemars(regex(pattern = "^/"))]
    prefix: Option<String>,
    /// In place of the whole path.
    #[schemars(regex(pattern = "^/"))]
    path: Option<String>,
    /// A regular expression whose first match is replaced by `with`.
    regex: Option<String>,
    /// The replacement; `$1` and `${name}` stand for groups.
    with: Option<String>,
    /// The host.
    host: Option<String>,
}

/// Changes of a header.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct HeaderEdits {
    /// In place of fields of the same name.
    #[schemars(extend("default" = {}))]
    set: Option<BTreeMap<String, HeaderValue>>,
    /// Beside fields of the same name.
    #[schemars(extend("default" = {}))]
    add: Option<BTreeMap<String, HeaderValue>>,
    /// Names of fields to remove.
    #[schemars(extend("default" = []))]
    remove: Option<Vec<String>>,
}

/// Where copies of requests go.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Mirror {
    /// The cluster that gets them.
    cluster: String,
    /// How many of a hundred requests are copied.
    #[schemars(range(min = 1, max = 100), extend("default" = 100))]
    percent: Option<u32>,
    /// Most copies under way at a time.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 64))]
    max_in_flight: Option<u32>,
    /// Requests with a larger body are not copied.
    #[schemars(extend("default" = "64KiB"))]
    max_body: Option<Size>,
}

/// How responses are made smaller.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Compression {
    /// Media types; `text/*` is every one of text but `text/event-stream`.
    #[schemars(length(min = 1), extend("default" = [
        "text/*", "application/javascript", "application/json", "application/ld+json", "application/manifest+json",
        "application/xml", "application/atom+xml", "application/rss+xml", "application/xhtml+xml",
        "application/wasm", "image/svg+xml",
    ]))]
    types: Option<Vec<String>>,
    /// Responses whose length is known to be less stay as they are.
    #[schemars(extend("default" = "1KiB"))]
    min_size: Option<Size>,
    /// Which to use, the best liked first.
    #[schemars(length(min = 1), extend("default" = ["zstd", "br", "gzip"]))]
    algorithms: Option<Vec<Coding>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum Coding {
    Zstd,
    Br,
    Gzip,
}
