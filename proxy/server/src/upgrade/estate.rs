//! What a process has learnt and was told while it ran, for the one that takes its place. A part that
//! the other does not know is left out.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_upstream::{Reputation, affinity::Key, rollout::Phase};

/// All of it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Estate {
    /// By the cluster's name.
    pub clusters: BTreeMap<String, ClusterEstate>,
    /// Sessions of tenants, by the tenant's name.
    pub tenants: BTreeMap<String, Sessions>,
    /// By the route's name.
    pub rollouts: BTreeMap<String, RolloutEstate>,
}

/// Of one cluster.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterEstate {
    /// What the operator said on who is listed.
    pub words: BTreeMap<SocketAddr, Word>,
    /// What is said of its endpoints.
    pub reputations: BTreeMap<SocketAddr, Reputation>,
    /// Sessions that it remembers.
    pub sessions: Option<Sessions>,
}

/// What a table of sessions remembers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sessions {
    /// What sessions are known by; under something else they mean nothing.
    pub known_by: String,
    /// Where they are kept: cluster and address.
    pub places: Vec<(String, SocketAddr)>,
    /// Key, number of the place, and milliseconds: since it began, since it was used, its idle time and its
    /// longest time.
    pub sessions: Vec<(Key, usize, [u64; 4])>,
    /// Digests of their tenants or clusters, in the same order.
    #[serde(default)]
    pub scopes: Vec<u64>,
}

/// The operator's word on an address, with endpoints as the configuration describes them.
#[derive(Debug, Serialize, Deserialize)]
pub struct Word {
    /// How it is described; none is deleted.
    pub endpoint: Option<Value>,
    /// What the configuration said at the time.
    pub over: Option<Value>,
}

/// Of one rollout.
#[derive(Debug, Serialize, Deserialize)]
pub struct RolloutEstate {
    /// The old and the new cluster.
    pub clusters: [String; 2],
    /// Its steps.
    pub steps: Vec<u32>,
    /// The step it is at, from 1.
    pub step: usize,
    /// Where it is.
    pub phase: Phase,
    /// Why it is there.
    pub why: String,
}
