//! What the operator says of endpoints at run time.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use weir_upstream::{Cluster, Endpoint};

use super::{App, control};
use crate::{
    admin::{Answer, ApiError, EndpointChange},
    snapshot::Snapshot,
};

/// Longest wait for an upgrade that is just handing over.
const HANDOVER: Duration = Duration::from_secs(1);

/// What is said of endpoints while another snapshot is prepared. It is held for a moment at a time, and while an
/// upgrade hands over what was said.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// None where no snapshot is prepared.
    said: Option<Vec<Word>>,
    /// Another process has taken all of it over, and serves.
    handed_over: bool,
}

/// What was said of one endpoint.
#[derive(Debug)]
pub(super) struct Word {
    cluster: Arc<str>,
    address: SocketAddr,
    change: EndpointChange,
}

impl Words {
    /// Remembers what is said from now on: a snapshot is prepared from what runs now.
    pub(super) fn listen(&mut self) {
        self.said = Some(Vec::new());
    }

    /// What has been said since.
    pub(super) fn said(&mut self) -> Vec<Word> {
        self.said.take().unwrap_or_default()
    }

    /// Another process has it all from now on.
    pub(super) fn hand_over(&mut self) {
        self.handed_over = true;
    }
}

/// Does what is asked, and shows the endpoint afterwards. It waits neither for a reload nor for a push: what is said
/// while a snapshot is prepared holds for that one too.
pub(super) async fn change(app: &App, cluster: &str, address: &str, change: EndpointChange) -> Answer {
    let busy = |why: &str| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, why);
    let words = timeout(HANDOVER, app.words.lock()).await;
    let mut words = words.map_err(|_| busy("an upgrade is handing over to another process: try again"))?;
    if words.handed_over {
        return Err(busy("another process serves in the place of this one: try again, it is asked then"));
    }
    let snapshot = app.shared.snapshot.load_full();
    let upstream = snapshot.clusters.get(cluster);
    let cluster =
        upstream.map(|upstream| &upstream.cluster).ok_or_else(|| missing(format!("there is no cluster {cluster}")))?;
    let address: SocketAddr = address.parse().map_err(|_| {
        refused(format!("`{address}` is not an address: write an IP address and a port, as in 127.0.0.1:8080"))
    })?;
    carry_out(cluster, address, change.clone())?;
    if let Some(said) = &mut words.said {
        said.push(Word { cluster: Arc::clone(cluster.name()), address, change });
    }
    Ok(shown(cluster, address))
}

/// Does once more what was said of clusters that another one has taken the place of.
pub(super) fn say_again(said: Vec<Word>, former: &Snapshot, present: &Snapshot) {
    for Word { cluster: name, address, change } in said {
        let Some(upstream) = present.clusters.get(&name) else { continue };
        let goes_on = |former: &Arc<crate::snapshot::Upstream>| Arc::ptr_eq(&former.cluster, &upstream.cluster);
        if former.clusters.get(&name).is_some_and(goes_on) {
            continue;
        }
        if let Err(error) = carry_out(&upstream.cluster, address, change) {
            let (cluster, why) = (&*name, error.message);
            tracing::warn!(cluster, endpoint = %address, why, "the operator's word means nothing after the reload");
        }
    }
}

fn carry_out(cluster: &Cluster, address: SocketAddr, change: EndpointChange) -> Result<(), ApiError> {
    match change {
        EndpointChange::Put(said) => put(cluster, address, said)?,
        EndpointChange::Delete => {
            known(cluster, address)?;
            cluster.delete(address);
        }
        EndpointChange::Order(order) => cluster.order(&*known(cluster, address)?, order),
    }
    Ok(())
}

/// An endpoint that is listed is described anew where something is said, another one is added.
fn put(cluster: &Cluster, address: SocketAddr, said: Map<String, Value>) -> Result<(), ApiError> {
    if said.contains_key("address") {
        return Err(refused("the address is in the path".to_owned()));
    }
    let mut described = match known(cluster, address) {
        Ok(endpoint) => described(endpoint.config()),
        Err(_) => Map::new(),
    };
    described.insert("address".to_owned(), address.to_string().into());
    described.extend(said);
    let endpoint = weir_config::endpoint_of(&Value::Object(described)).map_err(refused)?;
    if address.port() == 0 {
        return Err(refused("nothing listens on port 0".to_owned()));
    }
    cluster.put(endpoint);
    Ok(())
}

/// As the configuration describes it, without its address.
pub(super) fn described(endpoint: &weir_config::Endpoint) -> Map<String, Value> {
    let weir_config::Endpoint { address: _, weight, labels, priority, zone, backup, max_requests, max_connections } =
        endpoint;
    let mut described = Map::new();
    described.insert("weight".to_owned(), json!(weight));
    described.insert("labels".to_owned(), json!(labels));
    described.insert("priority".to_owned(), json!(priority));
    described.insert("backup".to_owned(), json!(backup));
    described.extend(max_requests.map(|most| ("max-requests".to_owned(), json!(most))));
    described.extend(max_connections.map(|most| ("max-connections".to_owned(), json!(most))));
    described.extend(zone.as_ref().map(|zone| ("zone".to_owned(), json!(zone))));
    described
}

/// An endpoint that is listed and does not leave.
fn known(cluster: &Cluster, address: SocketAddr) -> Result<Arc<Endpoint>, ApiError> {
    let found = cluster.find_address(address).filter(|endpoint| !endpoint.is_leaving());
    found.ok_or_else(|| missing(format!("cluster {} has no endpoint {address}", cluster.name())))
}

fn shown(cluster: &Cluster, address: SocketAddr) -> Value {
    let origins = cluster.origins();
    let endpoint = cluster.find_address(address);
    let endpoint = endpoint.map(|endpoint| control::endpoint(&endpoint, &origins));
    json!({ "cluster": &**cluster.name(), "endpoint": endpoint })
}

fn missing(why: String) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, why)
}

fn refused(why: String) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, why)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use weir_upstream::Order;

    use super::*;

    const A: &str = "127.0.0.1:1";
    const B: &str = "127.0.0.1:2";

    fn snapshot(cluster: &str, previous: Option<&Snapshot>) -> Snapshot {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.toml");
        let text =
            format!("[clusters.web]\nendpoints = [\"{A}\"]\n{cluster}\n[clusters.other]\nendpoints = [\"{A}\"]\n");
        fs::write(&path, text).unwrap();
        let config = weir_config::load(&path).unwrap().config;
        Snapshot::build(&config, &Default::default(), previous).unwrap()
    }

    fn said(cluster: &str, address: &str, change: EndpointChange) -> Word {
        Word { cluster: cluster.into(), address: address.parse().unwrap(), change }
    }

    #[test]
    fn what_is_said_while_a_snapshot_is_prepared_holds_for_it() {
        let before = snapshot("", None);
        let next = snapshot("drain = \"5s\"", Some(&before));
        let words = [
            said("web", B, EndpointChange::Put(Map::new())),
            said("web", A, EndpointChange::Order(Some(Order::Drain))),
            said("other", A, EndpointChange::Order(Some(Order::Drain))),
            said("gone", A, EndpointChange::Delete),
        ];
        for Word { cluster, address, change } in &words[..3] {
            carry_out(&before.clusters[cluster].cluster, *address, change.clone()).unwrap();
        }
        let web = &next.clusters["web"].cluster;
        assert!(known(web, B.parse().unwrap()).is_err(), "it was prepared from what was before");
        say_again(words.into(), &before, &next);
        assert!(known(web, B.parse().unwrap()).is_ok());
        assert_eq!(known(web, A.parse().unwrap()).unwrap().standing().order(), Some(Order::Drain));
    }

    #[test]
    fn words_are_kept_only_while_a_snapshot_is_prepared() {
        let mut words = Words::default();
        assert!(words.said().is_empty() && words.said.is_none());
        words.listen();
        assert!(words.said.is_some());
        assert!(words.said().is_empty() && words.said.is_none());
    }
}
