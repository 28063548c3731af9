//! What the operator says of endpoints while Weir runs: add, weigh, drain, maintenance, remove.

use http::Method;
use serde_json::{Value, json};

use super::{
    harness::{Client, Endpoint, Reply, Weir, empty, eventually, get, plain, request, run},
    reload::Load,
};

fn path(endpoint: &Endpoint) -> String {
    format!("/v1/clusters/web/endpoints/{}", endpoint.address)
}

async fn done(weir: &Weir, method: Method, path: &str, said: Value) -> Value {
    let said = if said.is_null() { String::new() } else { said.to_string() };
    let reply = weir.command(method, path, said).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["endpoint"].clone()
}

async fn add(weir: &Weir, endpoint: &Endpoint) {
    let shown = done(weir, Method::PUT, &path(endpoint), Value::Null).await;
    assert_eq!((&shown["state"], &shown["origin"]), (&"healthy".into(), &"admin".into()));
}

async fn with_cookie(weir: &Weir, cookie: &str) -> Reply {
    let asked = request(Method::GET, "/").header("cookie", cookie).body(empty()).unwrap();
    Client::http1(weir.web()).await.ask(asked).await
}

/// The cookie of a session that is kept on this endpoint.
async fn session_on(weir: &Weir, endpoint: &Endpoint) -> String {
    eventually("a session", || async {
        let reply = get(weir.web(), "/").await;
        (reply.text() == endpoint.name).then(|| reply.header("set-cookie").split(';').next().unwrap().to_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_three_to_six_to_two_under_load_nothing_fails() {
    let mut endpoints = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        endpoints.push(Endpoint::start(name).await);
    }
    let addresses: Vec<_> = endpoints[..3].iter().map(|endpoint| endpoint.address).collect();
    let weir = Weir::start(&plain(&addresses, "drain = \"100ms\"\nslow-start = \"100ms\"")).await;
    let load = Load::on(weir.web());
    load.goes_on().await;
    for endpoint in &endpoints[3..] {
        done(&weir, Method::PUT, &path(endpoint), Value::Null).await;
        load.goes_on().await;
    }
    eventually("all to serve", || async { endpoints.iter().all(|one| one.requests() > 0).then_some(()) }).await;
    for endpoint in &endpoints[..4] {
        done(&weir, Method::DELETE, &path(endpoint), Value::Null).await;
        load.goes_on().await;
    }
    eventually("two to be left", || async {
        let status = weir.status().await;
        (status["clusters"][0]["endpoints"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    let before: Vec<usize> = endpoints.iter().map(Endpoint::requests).collect();
    load.goes_on().await;
    load.end().await;
    let after: Vec<usize> = endpoints.iter().map(Endpoint::requests).collect();
    assert_eq!(before[..4], after[..4], "those that are gone get nothing");
    assert!(after[4] > before[4] && after[5] > before[5]);
    let failed =
        weir.metric(r#"weir_requests_total{listener="web",route="web",cluster="web",status_class="5xx"}"#).await;
    assert_eq!(failed, 0.0);
}

#[tokio::test]
async fn a_drain_keeps_sessions_and_takes_no_new_ones() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let sticky = "affinity = { cookie = { name = \"stick\" } }";
    let mut weir = Weir::start(&plain(&[a.address, b.address], sticky)).await;
    let cookie = session_on(&weir, &b).await;
    let shown = done(&weir, Method::POST, &format!("{}/drain", path(&b)), Value::Null).await;
    assert_eq!((&shown["state"], &shown["why"]), (&"draining".into(), &"drain is ordered".into()));
    weir.said_where("endpoint out", |line| line["endpoint"] == b.address.to_string()).await;
    let longer = format!("{sticky}\nresponse-timeout = \"9s\"");
    for reload in [false, true] {
        if reload {
            weir.reload(&plain(&[a.address, b.address], &longer)).await.unwrap();
        }
        for _ in 0..4 {
            assert_eq!(with_cookie(&weir, &cookie).await.text(), "b");
            assert_eq!(get(weir.web(), "/").await.text(), "a");
        }
    }
    let shown = done(&weir, Method::POST, &format!("{}/ready", path(&b)), Value::Null).await;
    assert_eq!(shown["state"], "healthy");
    session_on(&weir, &b).await;
}

#[tokio::test]
async fn maintenance_moves_sessions_and_the_way_back_is_slow_where_that_is_wanted() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let more = "affinity = { cookie = { name = \"stick\" } }\nslow-start = \"1h\"";
    let weir = Weir::start(&plain(&[a.address, b.address], more)).await;
    let cookie = session_on(&weir, &b).await;
    done(&weir, Method::POST, &format!("{}/maintenance", path(&b)), Value::Null).await;
    assert_eq!(weir.endpoint("web", b.address).await["state"], "maintenance");
    assert_eq!(with_cookie(&weir, &cookie).await.text(), "a");
    let shown = done(&weir, Method::POST, &format!("{}/ready", path(&b)), Value::Null).await;
    assert_eq!((&shown["state"], &shown["weight_percent"]), (&"warming".into(), &1.into()));
}

#[tokio::test]
async fn weights_and_labels_change_under_traffic_and_survive_a_reload_until_the_file_speaks() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let mut weir = Weir::start(&plain(&[a.address, b.address], "")).await;
    let shown = done(&weir, Method::PUT, &path(&a), json!({ "weight": 0, "labels": { "v": "2" } })).await;
    assert_eq!((&shown["weight"], &shown["labels"]["v"]), (&0.into(), &"2".into()));
    for _ in 0..4 {
        assert_eq!(get(weir.web(), "/").await.text(), "b");
    }
    weir.reload(&plain(&[a.address, b.address], "response-timeout = \"9s\"")).await.unwrap();
    let shown = weir.endpoint("web", a.address).await;
    assert_eq!((&shown["weight"], &shown["origin"]), (&0.into(), &"admin".into()));
    let spoken = plain(&[b.address], "")
        .replace("endpoints = [", &format!("endpoints = [{{ address = \"{}\", weight = 2 }}, ", a.address));
    weir.reload(&spoken).await.unwrap();
    let shown = weir.endpoint("web", a.address).await;
    assert_eq!((&shown["weight"], &shown["origin"], &shown["labels"]), (&2.into(), &"file".into(), &json!({})));
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_the_reason() {
    let a = Endpoint::start("a").await;
    let weir = Weir::start(&plain(&[a.address], "")).await;
    for (method, path, said, status, words) in [
        (Method::PUT, "/v1/clusters/wbe/endpoints/127.0.0.1:1", "", 404, "no cluster wbe"),
        (Method::DELETE, "/v1/clusters/web/endpoints/127.0.0.1:1", "", 404, "no endpoint 127.0.0.1:1"),
        (Method::POST, "/v1/clusters/web/endpoints/127.0.0.1:1/drain", "", 404, "no endpoint"),
        (Method::PUT, "/v1/clusters/web/endpoints/host:1", "", 422, "is not an address"),
        (Method::PUT, "/v1/clusters/web/endpoints/127.0.0.1:0", "", 422, "port 0"),
        (Method::PUT, "/v1/clusters/web/endpoints/127.0.0.1:1", "{\"wieght\": 1}", 422, "did you mean `weight`"),
        (Method::PUT, "/v1/clusters/web/endpoints/127.0.0.1:1", "{\"weight\": 1001}", 422, "0 to 1000"),
        (Method::PUT, "/v1/clusters/web/endpoints/127.0.0.1:1", "nonsense", 400, "not JSON"),
    ] {
        let reply = weir.command(method, path, said.to_owned()).await;
        assert_eq!(reply.status.as_u16(), status, "{path} {}", reply.text());
        let why = reply.json()["error"].as_str().unwrap().to_owned();
        assert!(why.contains(words), "{words}? {why}");
    }
    assert_eq!(get(weir.web(), "/").await.text(), "a");
}

#[tokio::test]
async fn the_command_line_does_it_all() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let weir = Weir::start(&plain(&[a.address], "drain = \"0s\"")).await;
    let (admin, address) = (weir.admin.to_string(), b.address.to_string());
    let weir_endpoint = |arguments: &[&str]| {
        let line = [&["endpoint"], arguments, &["--admin", &admin]].concat();
        let output = run(&line);
        (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, said) = weir_endpoint(&["add", "web", &address, "--weight", "3", "--label", "v=2"]);
    assert!(code == 0 && said.starts_with(&format!("{address} is healthy at weight 3")), "{said}");
    assert_eq!(weir.endpoint("web", b.address).await["labels"]["v"], "2");
    let (_, said) = weir_endpoint(&["weight", "web", &address, "5"]);
    assert!(said.starts_with(&format!("{address} is healthy at weight 5")), "{said}");
    assert_eq!(weir.endpoint("web", b.address).await["labels"]["v"], "2", "what is not said stays");
    let (_, said) = weir_endpoint(&["drain", "web", &address]);
    assert_eq!(said, format!("{address} is draining at weight 5: drain is ordered\n"));
    let (_, said) = weir_endpoint(&["list", "web"]);
    assert!(said.contains("draining") && said.contains(&a.address.to_string()), "{said}");
    let (_, said) = weir_endpoint(&["maintenance", "web", &address]);
    assert!(said.contains("maintenance is ordered"), "{said}");
    assert_eq!(weir_endpoint(&["ready", "web", &address]).0, 0);
    assert_eq!(weir_endpoint(&["remove", "web", &address]).1, format!("{address} is gone\n"));
    let (code, said) = weir_endpoint(&["remove", "web", &address]);
    assert!(code == 1 && said.contains("has no endpoint"), "{said}");
    add(&weir, &b).await;
}
