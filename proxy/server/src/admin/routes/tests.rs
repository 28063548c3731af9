//! Paths, and the role that each needs.

use super::*;

#[test]
fn plugin_paths_hold_a_name() {
    assert_eq!(Place::find("/v1/plugins/canary"), Some(Place::Plugin("canary")));
    assert_eq!(Place::find("/v1/plugins/a.b-c_1/rollback"), Some(Place::Rollback("a.b-c_1")));
    for path in ["/v1/plugins/", "/v1/plugins//rollback", "/v1/plugins/a/b", "/v1/plugins/a%2fb", "/", "/V1/status"] {
        assert_eq!(Place::find(path), None, "{path}");
    }
}

#[test]
fn endpoint_paths_hold_a_cluster_an_address_and_perhaps_an_order() {
    let path = "/v1/clusters/web/endpoints/127.0.0.1:80";
    assert_eq!(Place::find(path), Some(Place::Endpoint("web", "127.0.0.1:80")));
    let drain = Place::find("/v1/clusters/web/endpoints/%5B::1%5D:80/drain").unwrap();
    assert_eq!(drain, Place::Order("web", "%5B::1%5D:80", Some(Order::Drain)));
    assert_eq!(unescaped("%5B::1%5d%3A80"), "[::1]:80");
    for path in ["/v1/clusters/web/endpoints/", "/v1/clusters//endpoints/a", "/v1/clusters/web/endpoints/a/stop"] {
        assert_eq!(Place::find(path), None, "{path}");
    }
}

#[test]
fn rollout_paths_hold_a_route_and_an_order() {
    assert_eq!(Place::find("/v1/rollouts/api/advance"), Some(Place::Rollout("api", Steer::Advance)));
    assert_eq!(Place::find("/v1/rollouts/a.b/rollback"), Some(Place::Rollout("a.b", Steer::RollBack)));
    for path in ["/v1/rollouts/", "/v1/rollouts/api", "/v1/rollouts//pause", "/v1/rollouts/api/stop"] {
        assert_eq!(Place::find(path), None, "{path}");
    }
}

#[test]
fn certificate_paths_hold_a_name() {
    assert_eq!(Place::find("/v1/certificates/shop"), Some(Place::Certificate("shop")));
    assert_eq!(Place::find("/v1/certificates/a/b"), None);
    assert_eq!(Place::find("/v1/acme/a.test_1_0f/renew"), Some(Place::Renew("a.test_1_0f")));
    for path in ["/v1/acme/", "/v1/acme/a.test", "/v1/acme//renew", "/v1/acme/a/b/renew"] {
        assert_eq!(Place::find(path), None, "{path}");
    }
}

#[test]
fn the_version_is_found_among_parameters() {
    assert_eq!(version(Some("a=b&version=0AB")), Some("0ab".into()));
    assert_eq!(version(Some("version=")), None);
    assert_eq!(version(None), None);
}
