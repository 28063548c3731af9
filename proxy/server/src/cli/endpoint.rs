//! `weir endpoint`: commands to a running Weir on the endpoints of its clusters, and what they print.

use std::{fmt::Write, net::SocketAddr, process::ExitCode};

use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value, json};

use super::{
    EndpointCommand,
    client::{ask, finish},
    table::{list, table, text},
};

/// Does what was asked and prints the outcome.
pub fn endpoint(command: &EndpointCommand) -> ExitCode {
    finish(run(command))
}

async fn run(command: &EndpointCommand) -> anyhow::Result<String> {
    let (method, one, order, body) = match command {
        EndpointCommand::List { cluster, json, admin } => {
            let status = ask(admin, Method::GET, "/v1/status", Bytes::new()).await?;
            return listed(&status, cluster.as_deref(), *json);
        }
        EndpointCommand::Add { one, weight, labels, priority, zone, backup } => {
            let mut said = Map::new();
            said.extend(weight.map(|weight| ("weight".to_owned(), json!(weight))));
            said.extend(priority.map(|priority| ("priority".to_owned(), json!(priority))));
            said.extend(zone.as_ref().map(|zone| ("zone".to_owned(), json!(zone))));
            said.extend(backup.then(|| ("backup".to_owned(), json!(true))));
            if !labels.is_empty() {
                let labels: Map<String, Value> =
                    labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
                said.insert("labels".to_owned(), labels.into());
            }
            (Method::PUT, one, "", Bytes::from(Value::from(said).to_string()))
        }
        EndpointCommand::Weight { one, weight } => {
            (Method::PUT, one, "", Bytes::from(json!({ "weight": weight }).to_string()))
        }
        EndpointCommand::Remove { one } => (Method::DELETE, one, "", Bytes::new()),
        EndpointCommand::Drain { one } => (Method::POST, one, "/drain", Bytes::new()),
        EndpointCommand::Maintenance { one } => (Method::POST, one, "/maintenance", Bytes::new()),
        EndpointCommand::Ready { one } => (Method::POST, one, "/ready", Bytes::new()),
    };
    let path = format!("/v1/clusters/{}/endpoints/{}{order}", one.cluster, escaped(one.endpoint));
    let answer = ask(&one.admin, method, &path, body).await?;
    Ok(outcome(one.endpoint, &answer))
}

/// Brackets of IPv6 addresses do not belong into a path (RFC 3986, section 3.3).
fn escaped(address: SocketAddr) -> String {
    address.to_string().replace('[', "%5B").replace(']', "%5D")
}

/// The endpoint as it is now.
fn outcome(address: SocketAddr, answer: &Value) -> String {
    let endpoint = answer.get("endpoint").filter(|endpoint| endpoint.is_object());
    match endpoint {
        Some(endpoint) => {
            let weight = endpoint.get("weight").and_then(Value::as_u64).unwrap_or_default();
            format!("{address} is {} at weight {weight}: {}\n", text(endpoint, "state"), text(endpoint, "why"))
        }
        None => format!("{address} is gone\n"),
    }
}

fn listed(status: &Value, wanted: Option<&str>, as_json: bool) -> anyhow::Result<String> {
    let name = |cluster: &&Value| wanted.is_none_or(|wanted| cluster.get("name").is_some_and(|name| name == wanted));
    let clusters: Vec<&Value> = list(status, "clusters").iter().filter(name).collect();
    if let (true, Some(wanted)) = (clusters.is_empty(), wanted) {
        anyhow::bail!("there is no cluster {wanted}");
    }
    if as_json {
        return Ok(format!("{:#}\n", json!({ "clusters": clusters })));
    }
    let mut rows = vec![["CLUSTER", "ENDPOINT", "STATE", "WEIGHT", "IN FLIGHT", "SINCE", "WHY"].map(str::to_owned)];
    for cluster in clusters {
        rows.extend(list(cluster, "endpoints").iter().map(|endpoint| row(cluster, endpoint)));
    }
    if rows.len() == 1 {
        return Ok("no endpoints\n".to_owned());
    }
    Ok(table(&rows))
}

fn row(cluster: &Value, endpoint: &Value) -> [String; 7] {
    let number = |key| endpoint.get(key).and_then(Value::as_u64).unwrap_or_default();
    let mut weight = number("weight").to_string();
    if number("weight_percent") != 100 {
        let _ = write!(weight, " at {}%", number("weight_percent"));
    }
    [
        text(cluster, "name"),
        text(endpoint, "address"),
        text(endpoint, "state"),
        weight,
        number("in_flight").to_string(),
        text(endpoint, "since"),
        text(endpoint, "why"),
    ]
}

#[cfg(test)]
mod tests;
