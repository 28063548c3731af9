//! `weir status`: how a running Weir is, on one screen.

use std::{fmt::Write, process::ExitCode};

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::{
    Status,
    check::count,
    client::{ask, finish},
    table::{list, table, text},
};

/// Does what was asked and prints the outcome.
pub fn status(command: &Status) -> ExitCode {
    finish(run(command))
}

async fn run(command: &Status) -> anyhow::Result<String> {
    let path =
        command.cluster.as_ref().map_or_else(|| "/v1/status".into(), |name| format!("/v1/status?cluster={name}"));
    let answer = ask(&command.admin, Method::GET, &path, Bytes::new()).await?;
    Ok(if command.json { format!("{answer:#}\n") } else { shown(&answer) })
}

fn shown(status: &Value) -> String {
    let number = |key: &str| status.get(key).and_then(Value::as_u64).unwrap_or_default();
    let snapshot = status.get("snapshot").unwrap_or(&Value::Null);
    let mut page = format!(
        "weir {}, process {}, {}, snapshot {} of {}\n",
        text(status, "version"),
        number("pid"),
        count(usize::try_from(number("workers")).unwrap_or_default(), "worker"),
        snapshot.get("number").and_then(Value::as_u64).unwrap_or_default(),
        text(snapshot, "built"),
    );
    if status.get("draining").and_then(Value::as_bool).unwrap_or_default() {
        page.push_str("it drains\n");
    }
    let short: Vec<&str> = list(status, "short_of").iter().filter_map(Value::as_str).collect();
    if !short.is_empty() {
        let _ = writeln!(page, "short of: {}", short.join(", "));
    }
    let mut listeners = vec![["LISTENER", "ADDRESS", "PROTOCOL", "CONNECTIONS"].map(str::to_owned)];
    listeners.extend(list(status, "listeners").iter().map(listener));
    let mut clusters = vec![["CLUSTER", "SERVING", "ENDPOINTS", "IN FLIGHT"].map(str::to_owned)];
    clusters.extend(list(status, "clusters").iter().map(cluster));
    for rows in [&table(&listeners), &table(&clusters)] {
        let _ = write!(page, "\n{rows}");
    }
    let mut advice = list(status, "clusters").iter().flat_map(|cluster| {
        list(cluster, "advice")
            .iter()
            .filter_map(Value::as_str)
            .map(|said| format!("{}: {said}", text(cluster, "name")))
    });
    if let Some(first) = advice.next() {
        let _ = writeln!(page, "\n{first}");
        advice.for_each(|said| page.push_str(&(said + "\n")));
    }
    page
}

fn listener(listener: &Value) -> [String; 4] {
    let tls = listener.get("tls").and_then(Value::as_bool).unwrap_or_default();
    [
        text(listener, "name"),
        text(listener, "address"),
        text(listener, "protocol") + if tls { " over TLS" } else { "" },
        listener.get("connections").map(ToString::to_string).unwrap_or_default(),
    ]
}

/// Its endpoints by state, the most frequent first.
fn cluster(cluster: &Value) -> [String; 4] {
    let endpoints = list(cluster, "endpoints");
    let mut states: Vec<(String, usize)> = Vec::new();
    for state in endpoints.iter().map(|endpoint| text(endpoint, "state")) {
        match states.iter_mut().find(|(known, _)| *known == state) {
            Some((_, number)) => *number += 1,
            None => states.push((state, 1)),
        }
    }
    states.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
    let states: Vec<String> = states.iter().map(|(state, number)| format!("{number} {state}")).collect();
    let in_flight: u64 =
        endpoints.iter().filter_map(|endpoint| endpoint.get("in_flight").and_then(Value::as_u64)).sum();
    let shown = if states.is_empty() { "none".to_owned() } else { states.join(", ") };
    [text(cluster, "name"), text(cluster, "serving"), shown, in_flight.to_string()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_fits_a_screen() {
        let endpoint = |state: &str| json!({ "state": state, "in_flight": 2 });
        let status = json!({
            "version": "1.0.0", "pid": 7, "workers": 2, "draining": false, "short_of": ["memory"],
            "snapshot": { "number": 3, "built": "2026-01-01T00:00:00Z" },
            "listeners": [{ "name": "web", "address": "0.0.0.0:443", "protocol": "http", "tls": true, "connections": 9 }],
            "clusters": [{
                "name": "web", "serving": "primary", "advice": ["weigh them"],
                "endpoints": [endpoint("draining"), endpoint("healthy"), endpoint("healthy")],
            }],
        });
        assert_eq!(
            shown(&status),
            "\
weir 1.0.0, process 7, 2 workers, snapshot 3 of 2026-01-01T00:00:00Z
short of: memory

LISTENER  ADDRESS      PROTOCOL       CONNECTIONS
web       0.0.0.0:443  http over TLS  9

CLUSTER  SERVING  ENDPOINTS              IN FLIGHT
web      primary  2 healthy, 1 draining  6

web: weigh them
"
        );
    }
}
