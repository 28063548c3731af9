//! `[tenants.NAME]`

use std::{collections::BTreeMap, sync::Arc};

use super::{Affinity, ByteSize, HostMatch, Network};

/// `[tenants.NAME]`: a customer of the operator.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Its name in the file.
    pub name: Arc<str>,
    /// Which requests are its own.
    pub matcher: TenantMatch,
    /// What keeps its sessions, in place of what its clusters have.
    pub affinity: Option<Affinity>,
    /// What it may take.
    pub limits: TenantLimits,
    /// Names of limits that its requests must keep to.
    pub rate_limits: Vec<Arc<str>>,
    /// Clusters that its requests go to in place of others, by the names of those.
    pub clusters: BTreeMap<Arc<str>, Arc<str>>,
}

/// `match` of a tenant: every part that is given must fit, and one of each list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantMatch {
    /// Hosts of requests.
    pub hosts: Vec<HostMatch>,
    /// Server names of TLS connections.
    pub sni: Vec<HostMatch>,
    /// Header names (lower case) with the value one of their fields must have.
    pub headers: Vec<(String, String)>,
    /// Networks of clients.
    pub networks: Vec<Network>,
}

/// `limits` of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TenantLimits {
    /// Requests in flight over all workers; none is unlimited. More get 429.
    pub requests: Option<u32>,
    /// Header fields of a request; none is what the listener says. More get 431.
    pub headers: Option<usize>,
    /// Request line and header together; none is what the listener says. Larger ones get 431.
    pub header_bytes: Option<ByteSize>,
    /// Body of a request, whatever its route and listener say; more get 413. None leaves it to them.
    pub max_body: Option<ByteSize>,
}
