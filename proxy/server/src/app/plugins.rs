//! Plugins as the status page shows them: their versions, and the bindings that are not asked for now.

use serde_json::{Value, json};
use weir_plugin::{Bound, Host, OpenBreaker, Role};

use crate::{access_log::rfc3339, snapshot::Snapshot, versions::Plugins};

/// Every plugin in file order.
pub(super) fn status(plugins: &Plugins, snapshot: &Snapshot, host: &Host) -> Value {
    let mut list = plugins.list().get_mut("plugins").map(Value::take).unwrap_or_default();
    for plugin in list.as_array_mut().into_iter().flatten() {
        let name = plugin.get("name").and_then(Value::as_str).unwrap_or_default();
        let breakers: Vec<Value> = host.open_breakers(name).iter().map(|open| breaker(open, snapshot)).collect();
        if let Some(plugin) = plugin.as_object_mut() {
            plugin.insert("open_breakers".to_owned(), breakers.into());
        }
    }
    list
}

fn breaker(open: &OpenBreaker, snapshot: &Snapshot) -> Value {
    json!({
        "worker": open.worker,
        "role": open.role.name(),
        "used_by": places(open, snapshot),
        "state": if open.again().is_zero() { "half-open" } else { "open" },
        "since": rfc3339(open.since),
        "failures": open.failures,
        "failure": open.failure,
        "trials": open.trials,
        "next_trial_ms": u64::try_from(open.again().as_millis()).unwrap_or(u64::MAX),
    })
}

/// The routes, clusters and tenants that use the binding.
fn places(open: &OpenBreaker, snapshot: &Snapshot) -> Vec<String> {
    let is_it = |bound: &Bound| bound.program.id() == open.program && bound.number() == open.binding;
    let routes = snapshot.router.routes().iter().filter(|route| route.plugins.iter().any(is_it));
    let mut places: Vec<String> = routes.map(|route| format!("route {}", route.config.name)).collect();
    for (name, upstream) in &snapshot.clusters {
        let bound = match open.role {
            Role::Balancer => &upstream.balancer,
            Role::Affinity => &upstream.affinity,
            Role::Health => &upstream.health,
            Role::Router => continue,
        };
        places.extend(bound.as_ref().filter(|bound| is_it(bound)).map(|_| format!("cluster {name}")));
    }
    let own = snapshot
        .tenants
        .all()
        .iter()
        .filter(|tenant| tenant.affinity.as_ref().and_then(|own| own.plugin.as_ref()).is_some_and(is_it));
    places.extend(own.map(|tenant| format!("tenant {}", tenant.name())));
    places.sort();
    places
}
