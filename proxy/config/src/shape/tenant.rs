//! The shape of `[tenants.NAME]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::{
    OneOrMore,
    affinity::Affinity,
    limits::LimitUse,
    scalar::{Network, Size},
};

/// A customer of the operator.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Tenant {
    /// Which requests are its own.
    r#match: TenantMatch,
    /// What keeps its sessions, in place of what its clusters have.
    affinity: Option<Affinity>,
    /// What it may take.
    limits: Option<TenantLimits>,
    /// Limits that its requests must keep to.
    rate_limits: Option<OneOrMore<LimitUse>>,
    /// Clusters that its requests go to in place of others, by the names of those.
    #[schemars(extend("default" = {}))]
    clusters: Option<BTreeMap<String, String>>,
}

/// Every part that is given must fit, and one of each list.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
struct TenantMatch {
    /// Hosts, or `*.` and a host for every one below it.
    #[schemars(length(min = 1))]
    hosts: Option<Vec<String>>,
    /// Server names of TLS connections, written like hosts.
    #[schemars(length(min = 1))]
    sni: Option<Vec<String>>,
    /// Header fields with their values.
    headers: Option<BTreeMap<String, String>>,
    /// Networks of clients.
    #[schemars(length(min = 1))]
    networks: Option<Vec<Network>>,
}

/// What a tenant may take.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct TenantLimits {
    /// Requests in flight; more get 429. Without it there is no limit.
    #[schemars(range(min = 1, max = 10_000_000))]
    requests: Option<u32>,
    /// Header fields of a request; more get 431. Without it what the listener says.
    #[schemars(range(min = 1, max = 256))]
    headers: Option<u32>,
    /// Request line and headers together; larger ones get 431. Without it what the listener says.
    header_bytes: Option<Size>,
    /// Body of a request, whatever its route and listener say.
    max_body: Option<Size>,
}
