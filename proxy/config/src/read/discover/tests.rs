use serde_json::json;

use super::*;

#[test]
fn names_have_a_port_and_are_no_addresses() {
    assert_eq!(dns_name("Api.Internal:8080"), Ok(Discover::Dns { name: "api.internal".to_owned(), port: 8080 }));
    assert_eq!(srv_name("_http._tcp.api.internal"), Ok(Discover::Srv("_http._tcp.api.internal".to_owned())));
    for wrong in ["api.internal", "api.internal:0", "api.internal:http", "127.0.0.1:80", "[::1]:80", "a b:80", ":80"] {
        assert!(dns_name(wrong).is_err(), "{wrong}");
    }
    assert!(srv_name("_http._tcp.api.internal:80").is_err());
}

#[test]
fn a_file_of_endpoints_may_be_toml_or_json() {
    let toml = "endpoints = [\"127.0.0.1:1\", { address = \"127.0.0.1:2\", weight = 3, labels = { v = \"2\" } }]";
    let json = r#"{"endpoints": ["127.0.0.1:1", {"address": "127.0.0.1:2", "weight": 3, "labels": {"v": "2"}}]}"#;
    let found = endpoints_of(toml, Path::new("e.toml")).unwrap();
    assert_eq!((found.len(), found[1].weight, &*found[1].labels["v"]), (2, 3, "2"));
    assert_eq!(endpoints_of(json, Path::new("e.json")).unwrap(), found);
}

#[test]
fn a_faulty_file_of_endpoints_is_refused_with_its_faults() {
    let faults = endpoints_of("endpoints = [\"127.0.0.1:1\",\n\"nowhere\"]", Path::new("e.toml")).unwrap_err();
    assert_eq!((faults.0[0].line, &*faults.0[0].key), (2, "endpoints[1]"));
    for (text, words) in [
        ("{", "EOF"),
        ("[]", ""),
        (r#"{"endpoints": []}"#, "answers nothing"),
        (r#"{"endpoint": []}"#, "`endpoints` is missing"),
        (r#"{"endpoints": [{"address": "127.0.0.1:1", "weight": -1}]}"#, "out of range"),
        (r#"{"endpoints": [null]}"#, "endpoints[0]: null is no value"),
        (r#"{"endpoints": ["127.0.0.1:1", {"weight": null}]}"#, "endpoints[1].weight: null is no value"),
        ("null", "null is no value"),
    ] {
        let faults = endpoints_of(text, Path::new("e.json")).unwrap_err();
        assert!(faults.to_string().contains(words), "{text}\n{faults}");
        assert_eq!(faults.0[0].line, 0, "{text}");
    }
}

#[test]
fn an_object_describes_an_endpoint() {
    let endpoint = endpoint_of(&json!({ "address": "127.0.0.1:1", "weight": 9, "backup": true })).unwrap();
    assert_eq!((endpoint.weight, endpoint.backup), (9, true));
    let why = endpoint_of(&json!({ "address": "127.0.0.1:1", "wieght": 9 })).unwrap_err();
    assert!(why.starts_with("wieght: unknown key") && why.contains("did you mean `weight`"), "{why}");
    for (object, wanted) in [
        (json!({ "address": "127.0.0.1:1", "weight": null }), "weight: null is no value; leave out the key"),
        (json!({ "address": "127.0.0.1:1", "labels": { "v": null } }), "labels.v: null is no value"),
        (json!({ "address": "127.0.0.1:1", "labels": ["v", null] }), "labels[1]: null is no value"),
    ] {
        let why = endpoint_of(&object).unwrap_err();
        assert!(why.starts_with(wanted), "{why}");
    }
    assert!(endpoint_of(&json!([1])).is_err());
}
