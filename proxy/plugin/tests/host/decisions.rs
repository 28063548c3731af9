//! Each role decides, and sees what its decision is about.

use std::time::Duration;

use weir_plugin::{Budget, ClientCertificate, Forward, Role, RouteDecision, Session};

use crate::harness::{Among, Asked, Keyless, Stage, three};

#[test]
fn a_router_passes_forwards_and_answers() {
    let stage = Stage::new();
    let request = Asked::with(&[("x-user", "ada")]);
    let decide = |what| stage.guests.route(&stage.bind(Role::Router, what), &Budget::default(), &request).unwrap();
    assert_eq!(decide("nothing"), RouteDecision::Pass);
    let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let forward = Forward {
        cluster: Some("other".into()),
        set_headers: pair("x-set", "1"),
        remove_headers: vec!["x-gone".into()],
        path: Some("/new?a=b".into()),
        hash_key: Some("ada".into()),
        labels: pair("zone", "a"),
    };
    assert_eq!(decide("forward"), RouteDecision::Forward(forward));
}

#[test]
fn a_guest_sees_all_of_the_request() {
    let stage = Stage::new();
    let headers = [("x-one", "made up"), ("x-two", "a"), ("x-two", "b"), ("cookie", "a=b; sid=s1")];
    let request = Asked { headers: headers.into(), tenant: Some("acme"), tls: true, certificate: None };
    let decision = stage.guests.route(&stage.bind(Role::Router, "request"), &Budget::default(), &request).unwrap();
    let RouteDecision::Respond(response) = decision else { panic!("{decision:?}") };
    let seen = String::from_utf8(response.body).unwrap();
    let expected = "GET\nhttps\napi.example.com:8443\n/v1/things\nq=1\nmade up\na+b\n\
        x-one+x-two+x-two+cookie\ns1\n2001:db8::1\nTLSv1.3 Some(\"api\") None\nacme\nsecure\napi";
    assert_eq!(seen, expected);
}

#[test]
fn a_guest_sees_who_the_client_has_proved_to_be() {
    let stage = Stage::new();
    let bound = stage.bind(Role::Router, "certificate");
    let seen = |certificate| {
        let request = Asked { certificate, ..Asked::default() };
        let RouteDecision::Respond(response) = stage.guests.route(&bound, &Budget::default(), &request).unwrap() else {
            panic!()
        };
        String::from_utf8(response.body).unwrap()
    };
    assert_eq!(seen(None), "None");
    let certificate = ClientCertificate {
        subject: "CN=a".into(),
        common_name: Some("a".into()),
        issuer: "CN=b".into(),
        serial: "0a".into(),
        names: vec!["DNS:a.test".into(), "URI:spiffe://a".into()],
        fingerprint: "ff".into(),
    };
    let expected = "subject: \"CN=a\", common-name: Some(\"a\"), issuer: \"CN=b\", serial: \"0a\", \
        names: [\"DNS:a.test\", \"URI:spiffe://a\"], fingerprint: \"ff\"";
    assert!(seen(Some(certificate)).contains(expected));
}

#[test]
fn a_balancer_picks_by_what_it_sees() {
    let stage = Stage::new();
    let request = Asked::with(&[("x-index", "2"), ("x-name", "127.0.0.1:2")]);
    let pick = |what| stage.guests.pick(&stage.bind(Role::Balancer, what), &Budget::default(), &request, &three());
    let picks = ["least", "packed", "in-flight", "header", "name", "label", "none"].map(|what| pick(what).unwrap());
    assert_eq!(picks, [Some(1), Some(1), Some(1), Some(2), Some(1), Some(2), None]);
    assert_eq!(pick("sum").unwrap(), Some(0));
}

#[test]
fn a_keys_hash_is_of_the_routers_key_then_of_what_is_named_then_of_the_address() {
    let stage = Stage::new();
    let bound = stage.bind(Role::Balancer, "hash");
    let request = Asked::with(&[("x-address", "2001:db8::1"), ("cookie", "address=2001:db8::1"), ("x-user", "ada")]);
    assert_eq!(stage.guests.pick(&bound, &Budget::default(), &request, &Keyless).unwrap(), Some(0));
    // The key that a router set is everybody's.
    assert_eq!(stage.guests.pick(&bound, &Budget::default(), &request, &three()).unwrap(), None);
}

#[test]
fn affinity_reads_and_marks_a_session() {
    let stage = Stage::new();
    let bound = stage.bind(Role::Affinity, "nothing");
    let request = Asked::with(&[("cookie", "sid=s1")]);
    let session = Session { key: "s1".into(), idle: Some(Duration::from_secs(60)), max: None };
    assert_eq!(stage.guests.session(&bound, &Budget::default(), &request).unwrap(), Some(session.clone()));
    assert_eq!(stage.guests.session(&bound, &Budget::default(), &Asked::default()).unwrap(), None);

    let mark = stage.guests.bound(&bound, &Budget::default(), &request, Some("s1"), "127.0.0.1:1").unwrap();
    assert_eq!(mark.session, Some(session));
    assert_eq!(mark.headers, [("set-cookie".to_owned(), "sid=s1".to_owned())]);
    let mark = stage.guests.bound(&bound, &Budget::default(), &request, None, "127.0.0.1:1").unwrap();
    assert_eq!(mark.session.unwrap().key, "127.0.0.1:1");
}

#[test]
fn decisions_are_counted() {
    let stage = Stage::new();
    let bound = stage.bind(Role::Balancer, "least");
    (0..3).for_each(|_| drop(stage.guests.pick(&bound, &Budget::default(), &Asked::default(), &Among(vec![0]))));
    let page = stage.page();
    for line in [
        "weir_plugin_calls_total{plugin=\"misbehave\",role=\"balancer\"} 3\n",
        "weir_plugin_failures_total{plugin=\"misbehave\",role=\"balancer\",kind=\"trap\"} 0\n",
        "weir_plugin_seconds_count{plugin=\"misbehave\",role=\"balancer\"} 3\n",
        "weir_plugin_instances{plugin=\"misbehave\"} 1\n",
    ] {
        assert!(page.contains(line), "{line} is not in {page}");
    }
    drop(stage.guests);
    let mut page = String::new();
    stage.host.metrics(&mut page);
    assert!(page.contains("weir_plugin_calls_total{plugin=\"misbehave\",role=\"balancer\"} 3\n"));
    assert!(page.contains("weir_plugin_instances{plugin=\"misbehave\"} 0\n"));
}
