//! Connections to endpoints whose number is limited, those that are kept idle among them.

use serde_json::json;

use super::{
    super::harness::{Client, Endpoint, Raw, RawEndpoint, Weir, eventually, get, plain, plain_of, until},
    waiting,
};

async fn open(weir: &Weir, endpoint: &Endpoint) -> f64 {
    weir.metric(&format!("weir_endpoint_connections{{cluster=\"web\",endpoint=\"{}\"}}", endpoint.address)).await
}

#[tokio::test]
async fn a_connection_that_is_kept_idle_makes_place_for_another() {
    let endpoint = Endpoint::start("a").await;
    let text = "limits = { endpoint-connections = 1 }\nqueue = { timeout = \"20s\" }";
    let weir = Weir::before_with(&[endpoint.address], text).await;
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(Client::http1(weir.web()).await);
    }
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.get("/").await.text(), "a");
            assert!(open(&weir, &endpoint).await <= 1.0);
        }
    }
    assert_eq!(endpoint.requests(), 36);
    until("one connection to be left", || endpoint.open_connections() == 1).await;
    let status = weir.endpoint("web", endpoint.address).await;
    assert_eq!((&status["connections"], &status["max_connections"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn endpoints_share_the_connections_of_their_cluster() {
    let endpoints = [Endpoint::start("a").await, Endpoint::start("b").await, Endpoint::start("c").await];
    let text = "limits = { connections = 2 }\nqueue = { timeout = \"20s\" }";
    let weir = Weir::before_with(&endpoints.each_ref().map(|one| one.address), text).await;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let address = weir.web();
            tokio::spawn(async move {
                let mut client = Client::http1(address).await;
                for _ in 0..10 {
                    assert_eq!(client.get("/").await.status, 200);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert!(endpoints.iter().all(|endpoint| endpoint.requests() > 0));
    let status = weir.status().await;
    let connections = &status["clusters"][0]["limits"]["connections"];
    assert!(connections["most"] == 2 && connections["open"].as_u64().unwrap() <= 2, "{connections}");
    let left = || endpoints.iter().map(Endpoint::open_connections).sum::<usize>();
    until("no more to be open", || left() <= 2).await;
}

#[tokio::test]
async fn a_request_waits_for_a_connection() {
    let endpoint = Endpoint::start("a").await;
    let text = "limits = { endpoint-connections = 1 }\nqueue = { timeout = \"20s\" }";
    let weir = Weir::before_with(&[endpoint.address], text).await;
    let address = weir.web();
    let held = tokio::spawn(get(address, "/late"));
    until("it to arrive", || endpoint.requests() == 1).await;
    let waits = tokio::spawn(get(address, "/"));
    waiting(&weir, 1.0).await;
    assert_eq!(endpoint.connections(), 1);
    endpoint.open();
    assert_eq!((held.await.unwrap().text(), waits.await.unwrap().text()), ("late", "a"));
}

#[tokio::test]
async fn an_endpoint_may_have_a_limit_of_its_own() {
    let (small, large) = (Endpoint::start("small").await, Endpoint::start("large").await);
    let endpoints = format!("[{{ address = \"{}\", max-connections = 1 }}, \"{}\"]", small.address, large.address);
    let text = "balance = \"first\"\nlimits = { endpoint-connections = 50 }";
    let weir = Weir::start(&plain_of(&endpoints, text)).await;
    let held = tokio::spawn(get(weir.web(), "/late"));
    until("it to arrive", || small.requests() == 1).await;
    for _ in 0..5 {
        assert_eq!(get(weir.web(), "/").await.text(), "large");
    }
    assert_eq!(weir.endpoint("web", large.address).await["max_connections"], 50);
    small.open();
    held.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_names_its_client_makes_place_too() {
    let endpoint = RawEndpoint::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let text = "limits = { endpoint-connections = 1 }\nqueue = { timeout = \"20s\" }\nsend-proxy-protocol = \"v1\"";
    let weir = Weir::before_with(&[endpoint.address], text).await;
    let (mut one, mut other) = (Client::http1(weir.web()).await, Client::http1(weir.web()).await);
    for _ in 0..3 {
        assert_eq!(one.get("/").await.text(), "ok");
        assert_eq!(other.get("/").await.text(), "ok");
    }
    assert_eq!(endpoint.connections(), 6);
    for _ in 0..3 {
        assert_eq!(other.get("/").await.text(), "ok");
    }
    assert_eq!(endpoint.connections(), 6, "nobody else wants the place");
}

#[tokio::test]
async fn a_limit_that_comes_late_calls_back_what_was_kept_before() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let endpoints = [RawEndpoint::answering(OK).await, RawEndpoint::answering(OK).await];
    let addresses = endpoints.each_ref().map(|endpoint| endpoint.address);
    let strict = "outlier-detection = { consecutive-connect-failures = 1, max-ejected = 100 }";
    let text = |limits: &str| plain(&addresses, &format!("send-proxy-protocol = \"v1\"\n{strict}\n{limits}"));
    let mut weir = Weir::start(&text("")).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::http1(weir.web()).await;
        assert_eq!(client.get("/").await.text(), "ok");
        clients.push(client);
    }
    weir.reload(&text("limits = { connections = 1 }")).await.unwrap();
    assert_eq!(get(weir.web(), "/").await.text(), "ok", "clients that idle do not keep it out");
    let mut open = 0;
    for endpoint in &endpoints {
        let status = weir.endpoint("web", endpoint.address).await;
        assert_eq!(status["state"], "healthy", "{status}");
        open += status["connections"].as_u64().unwrap();
    }
    assert!(open <= 1, "{open} are open");
}

#[tokio::test]
async fn an_endpoint_that_warms_up_takes_a_share_of_what_it_may() {
    let endpoint = Endpoint::start("a").await;
    let limits = "limits = { endpoint-requests = 50, endpoint-connections = 150 }\nslow-start = \"1h\"";
    let weir = Weir::before_with(&[endpoint.address], &format!("{limits}\nqueue = {{ timeout = \"20s\" }}")).await;
    assert_eq!(weir.endpoint("web", endpoint.address).await["max_requests"], 50);
    for order in ["maintenance", "ready"] {
        let path = format!("/v1/clusters/web/endpoints/{}/{order}", endpoint.address);
        assert_eq!(weir.command(http::Method::POST, &path, "").await.status, 200);
    }
    let status = weir.endpoint("web", endpoint.address).await;
    assert_eq!((&status["state"], &status["max_requests"]), (&json!("warming"), &json!(1)));
    assert_eq!(status["max_connections"], 2);
    let held = tokio::spawn(get(weir.web(), "/late"));
    until("it to arrive", || endpoint.requests() == 1).await;
    let waits = tokio::spawn(get(weir.web(), "/"));
    waiting(&weir, 1.0).await;
    endpoint.open();
    assert_eq!((held.await.unwrap().text(), waits.await.unwrap().text()), ("late", "a"));
}

#[tokio::test]
async fn what_passes_as_it_is_counts_too() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move { raw.closed().await }).await;
    let weir = Weir::start(&format!(
        "[listeners.tcp]\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\ncluster = \"web\"\n\
         [clusters.web]\nendpoints = [\"{}\"]\nlimits = {{ connections = 2 }}\n",
        endpoint.address
    ))
    .await;
    let _held = [Raw::connect(weir.listener("tcp")).await, Raw::connect(weir.listener("tcp")).await];
    let open = || async { (weir.status().await["clusters"][0]["limits"]["connections"]["open"] == 2).then_some(()) };
    eventually("both to be counted", open).await;
    let _third = Raw::connect(weir.listener("tcp")).await;
    waiting(&weir, 1.0).await;
    assert_eq!(endpoint.connections(), 2);
}
