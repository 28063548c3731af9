//! The state of what the admin interface changes, as the audit log shows it.

use serde_json::{Map, Value, json};

use super::{App, endpoints};
use crate::admin::Subject;

/// Null where there is no such thing.
pub(super) fn state(app: &App, of: &Subject) -> Value {
    let snapshot = app.shared.snapshot.load();
    match of {
        Subject::Plugin(name) => json!(app.plugins.load().current(name)),
        Subject::Configuration => json!({ "snapshot": snapshot.number }),
        Subject::Rollout(route) => {
            let rollout = snapshot.rollouts().find(|rollout| **rollout.route() == **route);
            rollout.map_or(
                Value::Null,
                |rollout| json!({ "phase": rollout.phase().to_string(), "percent": rollout.percent() }),
            )
        }
        Subject::Certificate(name) => fingerprint(app, name),
        Subject::Order(name) => order(app, name),
        Subject::Endpoint(cluster, address) => {
            let cluster = snapshot.clusters.get(&**cluster).map(|upstream| &upstream.cluster);
            let endpoint = cluster.zip(address.parse().ok()).and_then(|(cluster, at)| cluster.find_address(at));
            endpoint.map_or(Value::Null, |endpoint| {
                let mut shown = Map::new();
                shown.insert("state".to_owned(), json!(endpoint.standing().status().state.to_string()));
                shown.extend(endpoints::described(endpoint.config()));
                shown.into()
            })
        }
    }
}

fn fingerprint(app: &App, name: &str) -> Value {
    let listeners = app.listeners.load();
    let settings = listeners.iter().map(|listening| listening.settings());
    let mut found = settings.filter_map(|settings| {
        let certificates = settings.tls.as_ref()?.resolver.certificates();
        certificates.all().iter().find(|one| &*one.name == name).map(|one| one.fingerprint.to_string())
    });
    json!(found.next())
}

fn order(app: &App, name: &str) -> Value {
    let listed = super::authorities::status(&app.managed.load());
    let all = listed.as_array().cloned().unwrap_or_default();
    let found = all.into_iter().find(|one| one.get("certificate").is_some_and(|certificate| certificate == name));
    found.map_or(Value::Null, |one| json!({ "state": one.get("state"), "not_after": one.get("not_after") }))
}
