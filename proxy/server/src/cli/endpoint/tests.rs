use super::*;

fn status() -> Value {
    json!({ "clusters": [
        { "name": "api", "endpoints": [{
            "address": "127.0.0.1:1", "state": "warming", "since": "2026-01-31T12:00:05.120311Z", "why": "slow start",
            "weight": 3, "weight_percent": 40, "in_flight": 2,
        }] },
        { "name": "web", "endpoints": [] },
    ] })
}

#[test]
fn endpoints_are_listed_in_columns() {
    let page = listed(&status(), None, false).unwrap();
    let wanted = "\
CLUSTER  ENDPOINT     STATE    WEIGHT    IN FLIGHT  SINCE                        WHY
api      127.0.0.1:1  warming  3 at 40%  2          2026-01-31T12:00:05.120311Z  slow start
";
    assert_eq!(page, wanted);
    assert_eq!(listed(&status(), Some("web"), false).unwrap(), "no endpoints\n");
    let only: Value = serde_json::from_str(&listed(&status(), Some("web"), true).unwrap()).unwrap();
    assert_eq!(only["clusters"].as_array().unwrap().len(), 1);
    assert!(listed(&status(), Some("wbe"), false).unwrap_err().to_string().contains("no cluster wbe"));
}

#[test]
fn an_outcome_says_how_the_endpoint_is() {
    let address = "127.0.0.1:1".parse().unwrap();
    let answer = json!({ "endpoint": { "state": "draining", "weight": 1, "why": "drain is ordered" } });
    assert_eq!(outcome(address, &answer), "127.0.0.1:1 is draining at weight 1: drain is ordered\n");
    assert_eq!(outcome(address, &json!({ "endpoint": null })), "127.0.0.1:1 is gone\n");
    assert_eq!(escaped("[::1]:80".parse().unwrap()), "%5B::1%5D:80");
}
