//! What a process has learnt and was told while it ran, for the one that takes its place. A part that
//! the other does not know is left out.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_upstream::{Reputation, rollout::Phase};

/// All of it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Estate {
    /// By the cluster's name.
    pub clusters: BTreeMap<String, ClusterEstate>,
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
