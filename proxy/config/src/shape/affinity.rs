//! The shape of `affinity`.

use schemars::JsonSchema;

use super::scalar::{Settings, Time};

/// What keeps a session on its endpoint.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["cookie"] },
    { "required": ["header"] },
    { "required": ["query"] },
    { "required": ["source-ip"] },
    { "required": ["learn"] },
    { "required": ["plugin"] },
]))]
pub(super) struct Affinity {
    /// Sessions known by a cookie.
    cookie: Option<Cookie>,
    /// Sessions known by the value of a header field.
    header: Option<String>,
    /// Sessions known by the value of a query parameter.
    query: Option<String>,
    /// Sessions known by the client's address.
    #[schemars(extend("const" = true))]
    source_ip: Option<bool>,
    /// Sessions known by a value that the application gives in a response.
    learn: Option<Learn>,
    /// Sessions known by a plugin with the affinity role.
    plugin: Option<String>,
    /// Laid over the plugin's settings.
    settings: Option<Settings>,
    /// Ends this long after the last request.
    #[schemars(extend("default" = "30m"))]
    idle: Option<Time>,
    /// Ends this long after the first request.
    #[schemars(extend("default" = "8h"))]
    max: Option<Time>,
    /// Most sessions remembered.
    #[schemars(range(min = 1, max = 100_000_000), extend("default" = 100_000))]
    capacity: Option<u32>,
    /// What happens to a session whose endpoint cannot take it.
    #[schemars(extend("default" = "rebind"))]
    on_lost: Option<OnLost>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum OnLost {
    Rebind,
    Reject,
}

/// The cookie; `idle` and `max` may stand here or beside it.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Cookie {
    /// Its name.
    #[schemars(extend("default" = "weir"))]
    name: Option<String>,
    /// Whose cookie it is and what is done with it.
    #[schemars(extend("default" = "insert"))]
    mode: Option<CookieMode>,
    /// Its path attribute.
    #[schemars(extend("default" = "/"))]
    path: Option<String>,
    /// File with at least 32 secret bytes; without it the secret lasts as long as the process.
    secret: Option<String>,
    /// Ends this long after the last request.
    #[schemars(extend("default" = "30m"))]
    idle: Option<Time>,
    /// Ends this long after the first request.
    #[schemars(extend("default" = "8h"))]
    max: Option<Time>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum CookieMode {
    Insert,
    Prefix,
    Passive,
}

/// Where responses give the value and requests have it.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["header"] }, { "required": ["cookie"] }]))]
struct Learn {
    /// A header field of responses.
    header: Option<String>,
    /// A cookie that responses set.
    cookie: Option<String>,
    /// Where requests have the value; without it under the same name.
    r#match: Option<LearnMatch>,
}

/// Where requests have the value.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["header"] }, { "required": ["cookie"] }, { "required": ["query"] }]))]
struct LearnMatch {
    /// In a header field.
    header: Option<String>,
    /// In a cookie.
    cookie: Option<String>,
    /// In a query parameter.
    query: Option<String>,
}
