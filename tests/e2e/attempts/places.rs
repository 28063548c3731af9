//! Who finds no place for a connection, and what is held against nobody.

use http::Method;
use serde_json::json;

use super::{
    super::harness::{Client, Endpoint, Raw, RawEndpoint, Reserved, Weir, empty, eventually, get, request, until},
    asked, by_latency, waiting,
};

/// Ejects at the first failure, and every endpoint if need be but one.
const STRICT: &str = "outlier-detection = { consecutive-connect-failures = 1, consecutive-gateway-errors = 1, \
                      max-ejected = 100 }";

/// Listeners `tcp` and `web` before one cluster of these endpoints, with more to say on it.
fn text(endpoints: [&Endpoint; 2], cluster: &str) -> String {
    let listed = endpoints.map(|endpoint| endpoint.address.to_string());
    format!(
        "[process]\nworkers = 1\n[listeners.tcp]\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\ncluster = \"web\"\n\
         [listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"web\"\ncluster = \"web\"\n\
         [clusters.web]\nendpoints = {listed:?}\nidle-connections = 0\n{STRICT}\n{cluster}\n"
    )
}

/// Weir before two endpoints, each with a connection that is held; and then this is said on the cluster.
async fn held(endpoints: [&Endpoint; 2], before: &str, after: &str) -> (Weir, [Raw; 2]) {
    let mut weir = Weir::start(&text(endpoints, before)).await;
    let held = [Raw::connect(weir.listener("tcp")).await, Raw::connect(weir.listener("tcp")).await];
    until("both to arrive", || endpoints.iter().all(|endpoint| endpoint.connections() == 1)).await;
    weir.reload(&text(endpoints, &format!("{before}\n{after}"))).await.unwrap();
    (weir, held)
}

async fn nobody_is_blamed(weir: &Weir, endpoints: [&Endpoint; 2]) {
    for endpoint in endpoints {
        assert_eq!(weir.endpoint("web", endpoint.address).await["state"], "healthy");
    }
}

#[tokio::test]
async fn an_endpoint_is_not_blamed_for_places_that_others_hold() {
    for patience in [
        "connect-timeout = \"100ms\"",
        "attempt-timeout = \"100ms\"",
        "attempt-timeout = \"100ms\"\nhedge = { after = \"10ms\" }",
        "connect-timeout = \"100ms\"\nhedge = { after = \"10ms\" }",
    ] {
        let (one, other) = (Endpoint::start("one").await, Endpoint::start("other").await);
        let limits = "limits = { connections = 1, requests = 9 }";
        let (weir, _held) = held([&one, &other], patience, limits).await;
        let reply = get(weir.web(), "/").await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"), "{patience}");
        let line = weir.logged("/").await;
        assert_eq!(line["error"], "as many connections are open as may be");
        assert_eq!(line["attempts"], 1, "another endpoint would not do: {patience}");
        nobody_is_blamed(&weir, [&one, &other]).await;
        let counted =
            ["upstream_connect_failures_total{cluster=\"web\"", "retries_total{cluster=\"web\",reason=\"connect\""];
        for series in counted {
            assert_eq!(weir.metric(&format!("weir_{series}}}")).await, 0.0, "{series}, {patience}");
        }
    }
}

/// A request waits for as long as many others take, and is refused then; its endpoint is back beside one that takes as
/// long as a few.
#[tokio::test]
async fn an_endpoint_that_refuses_does_not_answer_for_the_wait_for_a_place() {
    let (up, next, refusing) = (Endpoint::start("a").await, Endpoint::start("c").await, Reserved::new());
    let (both, text) = ([up.address, refusing.address], "outlier-detection = false\nconnect-timeout = \"1m\"");
    let mut weir = Weir::start(&by_latency(both, text)).await;
    let held = Raw::connect(weir.listener("tcp")).await;
    until("it to arrive", || up.connections() == 1).await;
    weir.reload(&by_latency(both, &format!("{text}\nlimits = {{ connections = 1 }}"))).await.unwrap();
    let address = weir.web();
    let waits = tokio::spawn(async move { get(address, "/waits").await });
    let in_flight = || async { (weir.endpoint("web", refusing.address).await["in_flight"] == 1).then_some(()) };
    eventually("it to wait for the one that refuses", in_flight).await;
    asked(&weir, "/ping", 300).await;
    drop(held);
    assert_eq!(waits.await.unwrap().text(), "a");
    assert_eq!(weir.logged("/waits").await["attempts"], 2);
    let back = Endpoint::start_at("b", refusing).await;
    weir.reload(&by_latency([back.address, next.address], text)).await.unwrap();
    let late = tokio::spawn(async move { get(address, "/late").await });
    until("the one that nobody has heard of to be asked", || next.requests() == 1).await;
    asked(&weir, "/ping", 50).await;
    next.open();
    assert_eq!(late.await.unwrap().text(), "late");
    asked(&weir, "/", 30).await;
    assert!(back.requests() > 0, "it had refused at once");
}

#[tokio::test]
async fn a_session_that_finds_no_place_is_not_lost() {
    let (one, other) = (Endpoint::start("one").await, Endpoint::start("other").await);
    let cluster = "connect-timeout = \"100ms\"\naffinity = { header = \"x-user\", on-lost = \"reject\" }";
    let mut weir = Weir::start(&text([&one, &other], cluster)).await;
    let mut client = Client::http1(weir.web()).await;
    let ask = |path: &str| request(Method::GET, path).header("x-user", "7").body(empty()).unwrap();
    assert_eq!(client.ask(ask("/first")).await.status, 200);
    let both = [Raw::connect(weir.listener("tcp")).await, Raw::connect(weir.listener("tcp")).await];
    until("both to arrive", || one.connections() + other.connections() == 3).await;
    weir.reload(&text([&one, &other], &format!("{cluster}\nlimits = {{ connections = 1, requests = 9 }}")))
        .await
        .unwrap();
    let reply = client.ask(ask("/second")).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"));
    let line = weir.logged("/second").await;
    assert_eq!((&line["error"], &line["affinity"]), (&json!("as many connections are open as may be"), &json!("hit")));
    drop(both);
}

#[tokio::test]
async fn who_waits_for_its_sessions_endpoint_leaves_it_when_it_closes() {
    for (on_lost, status, affinity) in [("rebind", 200, "moved"), ("reject", 503, "lost")] {
        let (one, other) = (Endpoint::start("one").await, Endpoint::start("other").await);
        let cluster = format!(
            "affinity = {{ header = \"x-user\", on-lost = \"{on_lost}\" }}\n\
             limits = {{ endpoint-requests = 1 }}\nqueue = {{ timeout = \"1m\" }}"
        );
        let weir = Weir::start(&text([&one, &other], &cluster)).await;
        let address = weir.web();
        let ask = move |path: &'static str| async move {
            let asked = request(Method::GET, path).header("x-user", "7").body(empty()).unwrap();
            Client::http1(address).await.ask(asked).await
        };
        let home = if ask("/first").await.text() == "one" { &one } else { &other };
        let held = tokio::spawn(ask("/late"));
        until("it to arrive", || home.requests() == 2).await;
        let waits = tokio::spawn(ask("/waits"));
        waiting(&weir, 1.0).await;
        let path = format!("/v1/clusters/web/endpoints/{}/maintenance", home.address);
        assert_eq!(weir.command(Method::POST, &path, "").await.status, 200);
        assert_eq!(waits.await.unwrap().status, status, "{on_lost}");
        assert_eq!(weir.logged("/waits").await["affinity"], affinity);
        assert_eq!(home.requests(), 2, "no more come to an endpoint under maintenance");
        home.open();
        assert_eq!(held.await.unwrap().text(), "late");
    }
}

#[tokio::test]
async fn who_leaves_waits_for_no_place() {
    let (one, other) = (Endpoint::start("one").await, Endpoint::start("other").await);
    let limits = "limits = { connections = 1, requests = 9 }";
    let (weir, _held) = held([&one, &other], "connect-timeout = \"10m\"", limits).await;
    let mut leaves = Raw::connect(weir.web()).await;
    leaves.send("GET /left HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let under_way =
        || async { (weir.status().await["clusters"][0]["limits"]["requests"]["under_way"] == 1).then_some(()) };
    eventually("it to be let in", under_way).await;
    drop(leaves);
    assert_eq!(weir.logged("/left").await["status"], 499);
    let third = Raw::connect(weir.listener("tcp")).await;
    eventually("the third to be let in", under_way).await;
    third.stream.set_zero_linger().unwrap();
    drop(third);
    let gone = |line: &serde_json::Value| line["listener"] == "tcp" && line["error"] == "client left";
    weir.logged_where("a connection that broke off", gone).await;
    nobody_is_blamed(&weir, [&one, &other]).await;
}

#[tokio::test]
async fn one_who_wants_a_place_gets_one_and_no_more_are_closed() {
    let names = ["a", "b", "c", "d"];
    let mut endpoints = Vec::new();
    for name in names {
        endpoints.push(Endpoint::start(name).await);
    }
    let listed: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
    let weir = Weir::start(&format!(
        "[process]\nworkers = 1\n[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"web\"\n\
         cluster = \"web\"\n[clusters.web]\nendpoints = {listed:?}\nlimits = {{ connections = 4 }}\n"
    ))
    .await;
    let mut client = Client::http1(weir.web()).await;
    for _ in names {
        client.get("/").await;
    }
    assert!(endpoints.iter().all(|endpoint| endpoint.connections() == 1));
    let held = tokio::spawn(get(weir.web(), "/late"));
    until("it to arrive", || endpoints.iter().map(Endpoint::requests).sum::<usize>() == 5).await;
    let busy = endpoints.iter().find(|endpoint| endpoint.requests() == 2).unwrap();
    while busy.connections() == 1 {
        client.get("/").await;
    }
    let open = || endpoints.iter().map(Endpoint::open_connections).sum::<usize>();
    until("one to be closed for it", || open() == 4).await;
    assert_eq!(endpoints.iter().map(Endpoint::connections).sum::<usize>(), 5);
    busy.open();
    assert_eq!(held.await.unwrap().text(), "late");
}

#[tokio::test]
async fn who_waits_for_a_shared_connection_shares_its_failure() {
    let silent = RawEndpoint::start(|mut raw, _| async move { drop(raw.rest().await) }).await;
    let text = "http2 = true\ntls = { verify = false }\nconnect-timeout = \"3s\"";
    let weir = Weir::before_with(&[silent.address], text).await;
    let client = Client::http2(weir.web()).await;
    let asked: Vec<_> = (0..4)
        .map(|_| {
            let mut client = client.another();
            tokio::spawn(async move { client.get("/").await.status })
        })
        .collect();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 504);
    }
    let failed = weir.metric("weir_upstream_connect_failures_total{cluster=\"web\"}").await;
    assert_eq!((silent.connections(), failed), (1, 1.0));
}

#[tokio::test]
async fn a_host_that_cannot_be_passed_on_is_refused_and_nobody_blamed() {
    let (one, other) = (Endpoint::start("one").await, Endpoint::start("other").await);
    let asked = "GET /odd HTTP/1.1\r\nHost: a%41b\r\n\r\n";
    for (http2, status) in [("http2 = true", "400"), ("", "200")] {
        let weir = Weir::start(&text([&one, &other], http2)).await;
        let mut raw = Raw::connect(weir.web()).await;
        for _ in 0..4 {
            raw.send(asked).await;
            let (head, _) = raw.response().await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        }
        nobody_is_blamed(&weir, [&one, &other]).await;
        let line = weir.logged("/odd").await;
        assert_eq!((&line["attempts"], &line["status"].to_string()), (&json!(1), &status.to_owned()));
        assert_eq!(get(weir.web(), "/").await.status, 200);
    }
    let passed = |endpoint: &Endpoint| endpoint.seen().iter().filter(|seen| seen.values("host") == ["a%41b"]).count();
    assert_eq!(passed(&one) + passed(&other), 4);
}
