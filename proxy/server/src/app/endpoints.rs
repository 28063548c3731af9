//! What the operator says of endpoints at run time.

use std::{net::SocketAddr, sync::Arc};

use http::StatusCode;
use serde_json::{Map, Value, json};
use weir_upstream::{Cluster, Endpoint};

use super::{App, control};
use crate::admin::{Answer, ApiError, EndpointChange};

/// Does what is asked, and shows the endpoint afterwards. One at a time, and not while a reload is under
/// way: neither forgets the other.
pub(super) async fn change(app: &App, cluster: &str, address: &str, change: EndpointChange) -> Answer {
    let _running = app.running.lock().await;
    let snapshot = app.shared.snapshot.load_full();
    let upstream = snapshot.clusters.get(cluster);
    let cluster =
        upstream.map(|upstream| &upstream.cluster).ok_or_else(|| missing(format!("there is no cluster {cluster}")))?;
    let address: SocketAddr = address.parse().map_err(|_| {
        refused(format!("`{address}` is not an address: write an IP address and a port, as in 127.0.0.1:8080"))
    })?;
    match change {
        EndpointChange::Put(said) => put(cluster, address, said)?,
        EndpointChange::Delete => {
            known(cluster, address)?;
            cluster.delete(address);
        }
        EndpointChange::Order(order) => cluster.order(&*known(cluster, address)?, order),
    }
    Ok(shown(cluster, address))
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
