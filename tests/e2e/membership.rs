//! Endpoints come, go, and grow to their weight.

use super::harness::{Client, Endpoint, Weir, empty, eventually, get, plain, request, until};

async fn ask(weir: &Weir, cookie: &str) -> super::harness::Reply {
    let asked = request(http::Method::GET, "/").header("cookie", cookie).body(empty()).unwrap();
    Client::http1(weir.web()).await.ask(asked).await
}

const STICKY: &str = "affinity = { cookie = { name = \"stick\" } }";

#[tokio::test]
async fn an_endpoint_that_a_reload_leaves_out_keeps_its_sessions_while_it_drains() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let mut weir = Weir::start(&plain(&[a.address, b.address], STICKY)).await;
    let cookie = eventually("a session on b", || async {
        let reply = get(weir.web(), "/").await;
        (reply.text() == "b").then(|| reply.header("set-cookie").split(';').next().unwrap().to_owned())
    })
    .await;
    weir.reload(&plain(&[a.address], STICKY)).await.unwrap();
    weir.said_where("endpoint out", |line| line["endpoint"] == b.address.to_string()).await;
    let shown = weir.endpoint("web", b.address).await;
    assert_eq!((&shown["state"], &shown["why"]), (&"draining".into(), &"no longer listed".into()));
    assert!(shown["since"].as_str().unwrap().starts_with("20"), "{shown}");
    let state =
        |state: &str| format!(r#"weir_endpoint_state{{cluster="web",endpoint="{}",state="{state}"}}"#, b.address);
    assert_eq!((weir.metric(&state("draining")).await, weir.metric(&state("healthy")).await), (1.0, 0.0));
    for _ in 0..6 {
        assert_eq!(ask(&weir, &cookie).await.text(), "b", "the session stays");
        assert_eq!(get(weir.web(), "/").await.text(), "a", "no new one comes");
    }
}

#[tokio::test]
async fn a_drain_ends_and_connections_are_closed_but_exchanges_finish() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let drain = "drain = \"200ms\"";
    let mut weir = Weir::start(&plain(&[b.address], drain)).await;
    let web = weir.web();
    let under_way = tokio::spawn(async move { get(web, "/late").await });
    until("the request to arrive", || b.requests() == 1).await;
    weir.reload(&plain(&[a.address], drain)).await.unwrap();
    eventually("b to be forgotten", || async {
        let status = weir.status().await;
        (status["clusters"][0]["endpoints"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    weir.said_where("endpoint removed", |line| line["endpoint"] == b.address.to_string()).await;
    b.open();
    assert_eq!(under_way.await.unwrap().text(), "late");
    until("b to have no connection left", || b.open_connections() == 0).await;
}

#[tokio::test]
async fn an_endpoint_that_returns_warms_up() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let checks = "slow-start = \"1h\"\nhealth = { http = { path = \"/health\" }, interval = \"20ms\", timeout = \"5s\", fall = 1, rise = 1 }";
    let weir = Weir::start(&plain(&[a.address, b.address], checks)).await;
    assert_eq!(weir.endpoint("web", b.address).await["state"], "healthy", "a start is no return");
    b.set_healthy(false);
    weir.endpoint_is("web", b.address, "unhealthy").await;
    b.set_healthy(true);
    weir.endpoint_is("web", b.address, "warming").await;
    let shown = weir.endpoint("web", b.address).await;
    assert_eq!((&shown["weight"], &shown["weight_percent"]), (&1.into(), &1.into()));
    let before = (a.requests(), b.requests());
    for _ in 0..40 {
        assert_eq!(get(weir.web(), "/").await.status, 200);
    }
    assert!(b.requests() - before.1 < 10, "{} of 40 at a hundredth of the weight", b.requests() - before.1);
    assert!(a.requests() - before.0 > 30);
}
