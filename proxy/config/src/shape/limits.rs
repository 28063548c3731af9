//! The shape of limits: rates, requests in flight, networks.

use schemars::JsonSchema;

use super::scalar::{Network, Rate};

/// What requests with the same key may take together.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["rate"] }, { "required": ["max-in-flight"] }]))]
pub(super) struct RateLimit {
    /// How many may come in a time.
    rate: Option<Rate>,
    /// How the rate is kept.
    #[schemars(extend("default" = "token-bucket"))]
    algorithm: Option<Algorithm>,
    /// How many may come at once; without it as many as the rate has in its time.
    #[schemars(range(min = 1, max = 10_000_000))]
    burst: Option<u32>,
    /// How many may be in flight at a time; without it there is no limit.
    #[schemars(range(min = 1, max = 10_000_000))]
    max_in_flight: Option<u32>,
    /// What requests are told apart by.
    #[schemars(extend("default" = "client"))]
    key: Option<Key>,
    /// What happens to requests that lack a part of the key.
    #[schemars(extend("default" = "pass"))]
    without_key: Option<WithoutKey>,
    /// Most keys remembered.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 100_000))]
    capacity: Option<u32>,
    /// Networks of clients that it does not limit.
    #[schemars(length(min = 1))]
    except: Option<Vec<Network>>,
    /// What it would refuse passes, and is counted.
    #[schemars(extend("default" = false))]
    dry_run: Option<bool>,
    /// Which responses tell of it.
    #[schemars(extend("default" = "refused"))]
    headers: Option<Headers>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum Algorithm {
    TokenBucket,
    SlidingWindow,
}

/// One part, or several.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Key {
    /// A part that needs no name, or all requests together.
    Word(KeyWord),
    /// A part.
    Part(KeyPart),
    /// Several parts.
    Parts(#[schemars(length(min = 1))] Vec<KeyItem>),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum KeyWord {
    Client,
    Tenant,
    Route,
    All,
}

/// One part of several.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum KeyItem {
    /// A part that needs no name.
    Word(PartWord),
    /// A part with a name.
    Part(KeyPart),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum PartWord {
    Client,
    Tenant,
    Route,
}

/// A part of a key.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["client"] }, { "required": ["header"] }, { "required": ["cookie"] }]))]
struct KeyPart {
    /// The client's network.
    client: Option<ClientNetwork>,
    /// A header's first value.
    header: Option<String>,
    /// A cookie's value.
    cookie: Option<String>,
}

/// How much of an address counts.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct ClientNetwork {
    /// Bits of an IPv4 address.
    #[schemars(range(min = 0, max = 32), extend("default" = 32))]
    ipv4: Option<u8>,
    /// Bits of an IPv6 address.
    #[schemars(range(min = 0, max = 128), extend("default" = 64))]
    ipv6: Option<u8>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum WithoutKey {
    Pass,
    Share,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum Headers {
    Refused,
    Always,
    Never,
}

/// A limit by its name, or in its place.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum LimitUse {
    /// A name in `rate-limits`.
    Name(String),
    /// One that is used here alone.
    Own(RateLimit),
}
