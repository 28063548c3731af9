//! What was learnt and ordered in one process holds in the next.

use http::Method;

use super::{super::harness::*, text, upgraded};

#[tokio::test]
async fn sessions_by_cookie_go_on_without_a_configured_secret() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let endpoints = format!("{}\", \"{}", a.address, b.address);
    let cluster = "affinity = { cookie = { name = \"weir\", idle = \"30m\" } }";
    let config = text(a.address, "", cluster).replacen(&a.address.to_string(), &endpoints, 1);
    let weir = Weir::start(&config).await;
    let first = get(weir.web(), "/").await;
    let cookie = first.header("set-cookie").split(';').next().unwrap().to_owned();
    upgraded(&weir).await;
    for _ in 0..6 {
        let ask = request(Method::GET, "/").header("cookie", &cookie).body(empty()).unwrap();
        let reply = Client::http1(weir.web()).await.ask(ask).await;
        assert_eq!((reply.text(), reply.header("set-cookie")), (first.text(), ""));
    }
}

#[tokio::test]
async fn the_operators_words_and_the_state_of_endpoints_go_on() {
    let (a, b, c) = (Endpoint::start("a").await, Endpoint::start("b").await, Endpoint::start("c").await);
    let endpoints = format!("{}\", \"{}", a.address, b.address);
    // Only the first check comes soon, and one alone changes nothing.
    let cluster =
        "health = { http = { path = \"/health\" }, interval = \"200ms\", fast-interval = \"50ms\", fall = 2 }";
    let config = text(a.address, "watch = false", cluster).replacen(&a.address.to_string(), &endpoints, 1);
    let weir = Weir::start(&config).await;
    a.set_healthy(false);
    weir.endpoint_is("web", a.address, "unhealthy").await;
    weir.command(Method::PUT, &format!("/v1/clusters/web/endpoints/{}", c.address), r#"{"weight": 7}"#).await;
    weir.command(Method::POST, &format!("/v1/clusters/web/endpoints/{}/drain", b.address), "").await;
    weir.configure(&config.replace("interval = \"200ms\", fast-interval = \"50ms\"", "interval = \"1h\""));
    upgraded(&weir).await;
    assert_eq!(weir.endpoint("web", a.address).await["state"], "unhealthy");
    assert_eq!(weir.endpoint("web", b.address).await["why"], "drain is ordered");
    let added = weir.endpoint("web", c.address).await;
    assert_eq!((&added["origin"], &added["weight"], &added["state"]), (&"admin".into(), &7.into(), &"healthy".into()));
    for _ in 0..4 {
        assert_eq!(get(weir.web(), "/").await.text(), "c");
    }
}

#[tokio::test]
async fn a_rollout_goes_on_at_its_step() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let rollout = "rollout = { from = \"web\", to = \"next\", steps = [1, 100], interval = \"1h\" }";
    let more = format!("[clusters.next]\nendpoints = [\"{}\"]", b.address);
    let config = text(a.address, "", &more).replacen("cluster = \"web\"", rollout, 1);
    let weir = Weir::start(&config).await;
    weir.command(Method::POST, "/v1/rollouts/web/advance", "").await;
    weir.command(Method::POST, "/v1/rollouts/web/pause", "").await;
    upgraded(&weir).await;
    let status = weir.command(Method::GET, "/v1/rollouts", "").await.json();
    assert_eq!((&status["rollouts"][0]["phase"], &status["rollouts"][0]["percent"]), (&"paused".into(), &100.into()));
    assert_eq!(get(weir.web(), "/").await.text(), "b");
}

#[tokio::test]
async fn sessions_by_key_go_on() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let endpoints = format!("{}\", \"{}", a.address, b.address);
    let config = text(a.address, "", "affinity = { header = \"x-session\" }");
    let mut weir = Weir::start(&config.replacen(&a.address.to_string(), &endpoints, 1)).await;
    let address = weir.web();
    let ask = async |session: usize| {
        let ask = request(Method::GET, "/").header("x-session", session.to_string()).body(empty()).unwrap();
        Client::http1(address).await.ask(ask).await.text().to_owned()
    };
    let mut places = Vec::new();
    for session in 0..8 {
        places.push(ask(session).await);
    }
    assert!(places.contains(&"a".to_owned()) && places.contains(&"b".to_owned()));
    upgraded(&weir).await;
    weir.ended().await;
    for (session, place) in places.iter().enumerate().rev() {
        assert_eq!(ask(session).await, *place);
    }
    assert_eq!(weir.metric(r#"weir_affinity_total{cluster="web",result="hit"}"#).await, 8.0);
}
