//! Interfaces that must be granted, used by a guest that has them all.

use serde_json::json;
use weir_config::Grant;
use weir_plugin::{Budget, Guests, Role, RouteDecision};

use crate::harness::{Asked, guest, host, plugin};

const ALL: [Grant; 5] = [Grant::Log, Grant::Metrics, Grant::Clock, Grant::Random, Grant::Kv];

#[test]
fn what_is_granted_works() {
    let host = host();
    let program = host.load(&plugin("keeper", &ALL), &guest("keeper")).unwrap();
    let bound = program.bind(Role::Router, &json!({})).unwrap();
    let workers = [Guests::new(), Guests::new()];
    let visit = |worker: &Guests, tenant| {
        let request = Asked { tenant, ..Asked::default() };
        match worker.route(&bound, &Budget::default(), &request).unwrap() {
            RouteDecision::Respond(response) => String::from_utf8(response.body).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(visit(&workers[0], Some("a")), "1 8 true true");
    assert_eq!(visit(&workers[1], Some("a")), "2 8 true true", "workers share the store");
    assert_eq!(visit(&workers[1], Some("b")), "1 8 true true", "tenants do not");
    let mut page = String::new();
    host.metrics(&mut page);
    for line in [
        "# TYPE weir_plugin_custom_visits counter\n",
        "weir_plugin_custom_visits{plugin=\"keeper\"} 3\n",
        "weir_plugin_custom_size{plugin=\"keeper\"} 8\n",
        "weir_plugin_custom_wait_bucket{plugin=\"keeper\",le=\"0.1\"} 0\n",
        "weir_plugin_custom_wait_bucket{plugin=\"keeper\",le=\"0.5\"} 3\n",
        "weir_plugin_custom_wait_sum{plugin=\"keeper\"} 0.75\n",
    ] {
        assert!(page.contains(line), "{line} is not in {page}");
    }
}

#[test]
fn what_is_not_granted_is_refused_with_the_remedy() {
    let refused = host().load(&plugin("keeper", &ALL[..4]), &guest("keeper")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "imports weir:plugin/kv, which is not granted: \
         set grants = [\"log\", \"metrics\", \"clock\", \"random\", \"kv\"] in [plugins.keeper]"
    );
}

#[test]
fn all_that_is_missing_is_told_at_once() {
    let refused = host().load(&plugin("keeper", &[]), &guest("keeper")).unwrap_err().to_string();
    for interface in ["log", "metrics", "clock", "random", "kv"] {
        assert!(refused.contains(&format!("imports weir:plugin/{interface}, which is not granted")), "{refused}");
        assert_eq!(refused.matches(&format!("\"{interface}\"")).count(), 5, "each remedy names all: {refused}");
    }
}
