//! A second attempt beside one that is slow.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use http::Method;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use super::{
    super::harness::{
        Ca, Client, Endpoint, Raw, RawEndpoint, Reply, Weir, empty, eventually, get, plain_of, request, until,
    },
    asked, by_latency,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Never answers, and counts the connections that were closed on it.
async fn deaf(closed: &Arc<AtomicUsize>) -> RawEndpoint {
    let closed = Arc::clone(closed);
    RawEndpoint::start(move |mut raw, _| {
        let closed = Arc::clone(&closed);
        async move {
            raw.head().await;
            raw.closed().await;
            closed.fetch_add(1, SeqCst);
        }
    })
    .await
}

#[tokio::test]
async fn the_first_answer_wins_and_the_other_is_cancelled() {
    let closed = Arc::default();
    let (deaf, quick) = (deaf(&closed).await, RawEndpoint::answering(OK).await);
    let weir = Weir::before_with(&[deaf.address, quick.address], "hedge = { after = \"50ms\" }").await;
    let mut client = Client::http1(weir.web()).await;
    for number in 0..4 {
        assert_eq!(client.get(&format!("/{number}")).await.text(), "ok");
    }
    let line = weir.logged_where("a hedge", |line| line["hedge"] == "won").await;
    assert_eq!((&line["attempts"], &line["endpoint"]), (&2.into(), &quick.address.to_string().into()));
    assert!(weir.metric("weir_hedges_total{cluster=\"web\",result=\"won\"}").await >= 1.0);
    assert!(deaf.connections() >= 1);
    until("the slow connections to be closed", || closed.load(SeqCst) == deaf.connections()).await;
}

/// The endpoint of a session is slow; requests of nobody are hedged meanwhile.
#[tokio::test]
async fn a_session_is_answered_by_its_own_endpoint() {
    for affinity in ["{ cookie = { name = \"stick\" } }", "{ header = \"x-user\" }"] {
        let (asked, slow) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(1)));
        let (count, answers) = (Arc::clone(&asked), Arc::clone(&slow));
        let own = RawEndpoint::start(move |mut raw, _| {
            let (count, answers) = (Arc::clone(&count), Arc::clone(&answers));
            async move {
                loop {
                    raw.head().await;
                    count.fetch_add(1, SeqCst);
                    answers.acquire().await.unwrap().forget();
                    raw.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown").await;
                }
            }
        })
        .await;
        let other = RawEndpoint::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother").await;
        let text = format!(
            "affinity = {affinity}\nbalance = \"first\"\nhedge = {{ after = \"50ms\" }}\noutlier-detection = false"
        );
        let weir = Weir::before_with(&[own.address, other.address], &text).await;
        let web = weir.web();
        let ask = async |path: &str, cookie: String| {
            let asked = request(Method::GET, path).header("x-user", "u").header("cookie", cookie);
            Client::http1(web).await.ask(asked.body(empty()).unwrap()).await
        };
        let first = ask("/first", String::new()).await;
        assert_eq!(first.text(), "own");
        let cookie = first.header("set-cookie").split(';').next().unwrap().to_owned();
        let rest = async {
            until("the session to wait", || asked.load(SeqCst) == 2).await;
            assert_eq!(get(web, "/hedged").await.text(), "other");
            slow.add_permits(1);
        };
        let (again, ()) = tokio::join!(ask("/again", cookie), rest);
        assert_eq!((again.text(), again.header("set-cookie")), ("own", ""));
        let line = weir.logged("/again").await;
        assert_eq!((&line["affinity"], &line["attempts"]), (&"hit".into(), &1.into()), "{line}");
        assert_eq!(weir.logged("/hedged").await["hedge"], "won");
    }
}

#[tokio::test]
async fn a_stream_that_lost_is_reset_and_its_connection_goes_on() {
    let (slow, quick) = (Endpoint::start("slow").await, Endpoint::start("quick").await);
    quick.open();
    let text =
        "http2 = true\nhedge = { after = \"50ms\" }\nlimits = { endpoint-requests = 1 }\nqueue = { timeout = \"20s\" }";
    let weir = Weir::before_with(&[slow.address, quick.address], text).await;
    let mut client = Client::http1(weir.web()).await;
    for number in 0..6 {
        assert_eq!(client.get(&format!("/late/{number}")).await.text(), "late");
    }
    assert!(slow.requests() >= 2, "it was asked again after its stream was given up");
    assert!(slow.connections() <= 2, "{} connections for two workers", slow.connections());
}

/// One worker sees to both: when the later one is hedged, the earlier one would have been.
#[tokio::test]
async fn what_is_not_safe_to_repeat_is_not_hedged() {
    let (one, two) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let text = "hedge = { after = \"1ms\" }\n[process]\nworkers = 1";
    let weir = Weir::before_with(&[one.address, two.address], text).await;
    let (address, requests) = (weir.web(), || one.requests() + two.requests());
    let order = tokio::spawn(async move { Client::http1(address).await.post("/late/order", "one").await });
    until("the order to arrive", || requests() == 1).await;
    let question = tokio::spawn(get(address, "/late/question"));
    until("the question to be asked twice", || requests() == 3).await;
    one.open();
    two.open();
    assert_eq!((order.await.unwrap().text(), question.await.unwrap().text()), ("late", "late"));
    assert_eq!(weir.logged("/late/question").await["attempts"], 2);
    let line = weir.logged("/late/order").await;
    assert_eq!((&line["attempts"], &line["hedge"]), (&1.into(), &Value::Null));
    assert_eq!(requests(), 3);
}

#[tokio::test]
async fn an_attempt_that_fails_leaves_the_other_to_answer() {
    let slow = Endpoint::start("slow").await;
    let failing = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
    })
    .await;
    let endpoints = format!("[{{ address = \"{}\", weight = 1000 }}, \"{}\"]", slow.address, failing.address);
    let weir = Weir::start(&plain_of(&endpoints, "hedge = { after = \"50ms\" }")).await;
    let address = weir.web();
    let asked = tokio::spawn(async move { get(address, "/late").await });
    until("the failing endpoint to be asked", || failing.connections() >= 1).await;
    slow.open();
    assert_eq!(asked.await.unwrap().text(), "late");
    let line = weir.logged_where("a hedge", |line| line["hedge"] == "lost").await;
    assert_eq!((&line["status"], &line["endpoint"]), (&200.into(), &slow.address.to_string().into()));
}

#[tokio::test]
async fn hedges_stay_inside_the_budget() {
    let closed = Arc::default();
    let (one, two) = (deaf(&closed).await, deaf(&closed).await);
    let text =
        "hedge = { after = \"1ms\" }\nattempt-timeout = \"100ms\"\nretry-budget = { percent = 0, min-per-second = 0 }";
    let weir = Weir::before_with(&[one.address, two.address], text).await;
    assert_eq!(get(weir.web(), "/").await.status, 504);
    assert_eq!(one.connections() + two.connections(), 1);
    assert_eq!(weir.metric("weir_retries_denied_total{cluster=\"web\"}").await, 1.0);
}

#[tokio::test]
async fn of_many_requests_only_some_are_hedged() {
    let closed = Arc::default();
    let (one, two) = (deaf(&closed).await, deaf(&closed).await);
    let text = "hedge = { after = \"1ms\", at-most = 1 }\nattempt-timeout = \"1s\"\noutlier-detection = false";
    let weir = Weir::before_with(&[one.address, two.address], text).await;
    let asked: Vec<_> = (0..40).map(|_| tokio::spawn(get(weir.web(), "/"))).collect();
    for reply in asked {
        assert_eq!(reply.await.unwrap().status, 504);
    }
    let line = weir.logged_where("both that were slow", |line| line["attempts"] == 2).await;
    assert_eq!((&line["error"], &line["hedge"]), (&"attempt timed out".into(), &"lost".into()));
    let denied = weir.metric("weir_retries_denied_total{cluster=\"web\"}").await;
    assert!(denied >= 1.0, "{denied}");
    assert!((one.connections() + two.connections()) as f64 <= 80.0 - denied);
}

#[tokio::test]
async fn slow_is_what_the_last_minute_was_not() {
    let (slow, quick) = (Endpoint::start("slow").await, Endpoint::start("quick").await);
    quick.open();
    let text = "hedge = { percentile = 95, min-requests = 20 }\nbalance = \"first\"";
    let weir = Weir::before_with(&[slow.address, quick.address], text).await;
    let mut client = Client::http1(weir.web()).await;
    for _ in 0..30 {
        assert_eq!(client.get("/").await.text(), "slow");
    }
    let known = eventually("the percentile", || async {
        let hedges = weir.status().await["clusters"][0]["limits"]["hedges"].clone();
        (hedges["attempts"].as_u64().unwrap() >= 20).then_some(hedges)
    })
    .await;
    assert!(known["p95_us"].as_u64().unwrap() > 0, "{known}");
    assert_eq!(client.get("/late").await.text(), "late");
    let line = weir.logged("/late").await;
    assert_eq!((&line["hedge"], &line["endpoint"]), (&"won".into(), &quick.address.to_string().into()));
}

#[tokio::test]
async fn before_enough_is_known_nothing_is_hedged() {
    let (one, two) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let text = "hedge = { percentile = 50, min-requests = 1000 }\nattempt-timeout = \"300ms\"";
    let weir = Weir::before_with(&[one.address, two.address], text).await;
    assert_eq!(get(weir.web(), "/hang").await.status, 504);
    assert_eq!(one.requests() + two.requests(), 1);
}

#[tokio::test]
async fn who_lost_is_let_go_while_the_answer_goes_on() {
    let closed = Arc::default();
    let (deaf, quick) = (deaf(&closed).await, Endpoint::start("quick").await);
    let weir =
        Weir::before_with(&[deaf.address, quick.address], "hedge = { after = \"1ms\" }\nbalance = \"first\"").await;
    let mut client = Client::http1(weir.web()).await;
    let response = client.send(request(Method::GET, "/half").body(empty()).unwrap()).await.unwrap();
    until("the slow connection to be closed", || closed.load(SeqCst) == 1).await;
    let mut in_flight = Vec::new();
    for address in [deaf.address, quick.address] {
        in_flight.push(weir.endpoint("web", address).await["in_flight"].clone());
    }
    assert_eq!(in_flight, [0, 1]);
    quick.open();
    assert_eq!(Reply::read(response).await.unwrap().text(), "first last");
}

/// Closes after a request's head, once the gate is open.
async fn failing(gate: &watch::Sender<bool>) -> RawEndpoint {
    let gate = gate.subscribe();
    RawEndpoint::start(move |mut raw, _| {
        let mut gate = gate.clone();
        async move {
            raw.head().await;
            drop(gate.wait_for(|open| *open).await);
        }
    })
    .await
}

#[tokio::test]
async fn both_that_fail_are_held_to_account_and_their_connections_counted() {
    let gate = watch::Sender::new(false);
    let (one, two, other) = (failing(&gate).await, failing(&gate).await, Endpoint::start("other").await);
    let detection = "{ consecutive-gateway-errors = 1, ejection = \"1h\", max-ejected = 100 }";
    let text = format!(
        "hedge = {{ after = \"1ms\" }}\nretries = {{ attempts = 1 }}\nbalance = \"first\"\noutlier-detection = {detection}"
    );
    let weir = Weir::before_with(&[one.address, two.address, other.address], &text).await;
    let asked = tokio::spawn(get(weir.web(), "/"));
    until("both to be asked", || one.connections() == 1 && two.connections() == 1).await;
    gate.send_replace(true);
    assert_eq!(asked.await.unwrap().status, 502);
    weir.endpoint_is("web", one.address, "ejected").await;
    weir.endpoint_is("web", two.address, "ejected").await;
    assert_eq!(weir.logged("/").await["hedge"], "lost");
    assert_eq!(weir.metric("weir_upstream_connect_total{cluster=\"web\"}").await, 2.0);
    assert_eq!(get(weir.web(), "/").await.text(), "other");
}

/// A hedge that loses for as long as many requests take, and then its endpoint beside one that answers at once.
#[tokio::test]
async fn who_lost_answers_for_its_time_but_not_for_that_without_a_connection() {
    for held in [false, true] {
        let [one, other, next] = [Endpoint::start("a").await, Endpoint::start("b").await, Endpoint::start("c").await];
        let hedged = "hedge = { after = \"1ms\" }\nconnect-timeout = \"1m\"";
        let limited = format!("{hedged}\nlimits = {{ connections = 2 }}");
        let both = [one.address, other.address];
        let mut weir = Weir::start(&by_latency(both, hedged)).await;
        let tcp = if held { Some(Raw::connect(weir.listener("tcp")).await) } else { None };
        until("it to arrive", || one.connections() + other.connections() == usize::from(held)).await;
        weir.reload(&by_latency(both, &limited)).await.unwrap();
        let (winner, loser) = if one.connections() == 1 { (&other, &one) } else { (&one, &other) };
        let address = weir.web();
        let late = tokio::spawn(async move { get(address, "/late").await });
        let under_way = || async {
            let under_way = weir.status().await["clusters"][0]["limits"]["requests"]["under_way"].clone();
            (under_way == 2).then_some(())
        };
        eventually("both attempts", under_way).await;
        until("the winner to be asked", || winner.requests() == 1).await;
        until("the loser to be asked", || loser.requests() == usize::from(!held)).await;
        asked(&weir, "/ping", 300).await;
        winner.open();
        assert_eq!(late.await.unwrap().text(), "late");
        drop(tcp);
        let idle = || async { (weir.endpoint("web", loser.address).await["in_flight"] == 0).then_some(()) };
        eventually("the loser to be idle", idle).await;
        weir.reload(&by_latency([loser.address, next.address], "")).await.unwrap();
        asked(&weir, "/", 30).await;
        match held {
            true => assert!(loser.requests() > 0, "it had never been asked"),
            false => assert_eq!(loser.requests(), 1, "it had been slow"),
        }
    }
}

#[tokio::test]
async fn who_lost_answers_for_a_connection_that_was_not_made() {
    let (ca, silent) = (Ca::new(), RawEndpoint::start(|mut raw, _| async move { drop(raw.rest().await) }).await);
    let certificate = ca.issue(&["weir.test"]);
    let [quick, next] = ["a", "b"].map(|name| Endpoint::start_tls(name, &certificate, &[]));
    let (quick, next) = (quick.await, next.await);
    let tls = "tls = { verify = false }\nconnect-timeout";
    let hedged = format!("{tls} = \"1m\"\nhedge = {{ after = \"1ms\" }}");
    let mut weir = Weir::start(&by_latency([silent.address, quick.address], &hedged)).await;
    let address = weir.web();
    let late = tokio::spawn(async move { get(address, "/late").await });
    until("both attempts", || silent.connections() == 1 && quick.requests() == 1).await;
    asked(&weir, "/ping", 300).await;
    quick.open();
    assert_eq!(late.await.unwrap().text(), "late");
    weir.reload(&by_latency([silent.address, next.address], &format!("{tls} = \"1s\""))).await.unwrap();
    asked(&weir, "/", 30).await;
    assert_eq!(silent.connections(), 1);
}
