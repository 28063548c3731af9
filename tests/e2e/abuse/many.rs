//! Too many connections: of everybody, of one client, at once.

use std::net::SocketAddr;

use http::{Method, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use super::{
    super::harness::{Client, Endpoint, Raw, Reply, Weir, empty, eventually, get, request, soon, until},
    endured, text, weir,
};

const GET: &str = "GET /ping HTTP/1.1\r\nHost: weir.test\r\n\r\n";

/// Whether a connection from this address is served; otherwise it must have been closed.
async fn is_served(from: [u8; 4], to: SocketAddr) -> Option<Raw> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let mut raw = Raw::of(socket.connect(to).await.ok()?);
    let _ = raw.try_send(GET).await;
    let mut first = [0; 1];
    match soon("an answer or a close", raw.stream.read(&mut first)).await {
        Ok(1) => Some(raw),
        _ => None,
    }
}

async fn refused(weir: &Weir, listener: &str, reason: &str, number: f64) {
    let series = format!(r#"weir_connections_refused_total{{listener="{listener}",reason="{reason}"}}"#);
    eventually(&format!("{series} {number}"), || async { (weir.metric(&series).await == number).then_some(()) }).await;
}

#[tokio::test]
async fn a_client_has_as_many_connections_as_it_may() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = weir(&endpoint, "", "connection-limits = { max-in-flight = 2 }").await;
    let first = is_served([127, 0, 0, 1], weir.web()).await.expect("the first");
    let _second = is_served([127, 0, 0, 1], weir.web()).await.expect("the second");
    assert!(is_served([127, 0, 0, 1], weir.web()).await.is_none(), "a third");
    let _other = is_served([127, 0, 0, 2], weir.web()).await.expect("another client");
    refused(&weir, "web", "limited", 1.0).await;
    drop(first);
    eventually("room again", || is_served([127, 0, 0, 1], weir.web())).await;
    weir.reload(&text(&endpoint, "", "connection-limits = { max-in-flight = 3 }")).await.unwrap();
    let _one_more = is_served([127, 0, 0, 1], weir.web()).await.expect("one more after the reload");
}

/// Two listeners, and as many connections as this over both.
async fn bounded(endpoint: &Endpoint, most: usize) -> Weir {
    let rest =
        format!("[listeners.other]\naddress = \"127.0.0.1:0\"\n[process]\nworkers = 2\nmax-connections = {most}\n");
    weir(endpoint, "", &rest).await
}

#[tokio::test]
async fn who_idles_makes_room_when_all_connections_are_taken() {
    let endpoint = Endpoint::start("a").await;
    let weir = bounded(&endpoint, 3).await;
    let mut idle = Vec::new();
    for address in [weir.web(), weir.listener("other"), weir.web()] {
        let mut raw = Raw::connect(address).await;
        raw.send(GET).await;
        assert_eq!(raw.response().await.1, "pong");
        idle.push(raw);
    }
    let reply = get(weir.listener("other"), "/ping").await;
    assert_eq!(reply.text(), "pong");
    // One is enough, but each of the two workers may have made room.
    let served = idle.iter_mut().map(|raw| async {
        let _ = raw.try_send(GET).await;
        let mut first = [0; 1];
        matches!(soon("an answer or a close", raw.stream.read(&mut first)).await, Ok(1))
    });
    let served = futures_util::future::join_all(served).await.iter().filter(|served| **served).count();
    assert!((1..=2).contains(&served), "{served}");
    let said = weir.said("running short: connections that idle are closed").await;
    assert_eq!(said["of"], "connections");
}

#[tokio::test]
async fn one_client_too_many_costs_those_that_have_idled_for_longest() {
    let endpoint = Endpoint::start("a").await;
    let weir = bounded(&endpoint, 40).await;
    let mut idle = Vec::new();
    for _ in 0..40 {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(GET).await;
        assert_eq!(raw.response().await.1, "pong");
        idle.push(raw);
    }
    let mut more = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(GET).await;
        assert_eq!(raw.response().await.1, "pong");
        more.push(raw);
    }
    let mut closed = Vec::new();
    for (number, raw) in idle.iter_mut().enumerate() {
        let _ = raw.try_send(GET).await;
        let mut first = [0; 1];
        match soon("an answer or a close", raw.stream.read(&mut first)).await {
            Ok(1) => {}
            _ => closed.push(number),
        }
    }
    // Each of the two workers may have made room for each of them.
    assert!((3..=6).contains(&closed.len()), "{closed:?}");
    assert!(closed.iter().all(|number| *number < 20), "{closed:?}");
}

#[tokio::test]
async fn a_listener_that_is_full_is_seen() {
    let endpoint = Endpoint::start("a").await;
    let weir = weir(&endpoint, "connections = 2", "").await;
    let mut held = [Raw::connect(weir.web()).await, Raw::connect(weir.web()).await, Raw::connect(weir.web()).await];
    let line = weir.said("listener is full: further connections wait").await;
    assert_eq!((&line["listener"], &line["limit"]), (&"web".into(), &2.into()));
    assert_eq!(weir.metric(r#"weir_connections_limit{listener="web"}"#).await, 2.0);
    assert_eq!(weir.metric(r#"weir_connections{listener="web"}"#).await, 2.0);
    let status = weir.status().await;
    assert_eq!((&status["listeners"][0]["connections"], &status["listeners"][0]["limit"]), (&2.into(), &2.into()));
    held[0].stream.shutdown().await.unwrap();
    held[2].send(GET).await;
    assert_eq!(held[2].response().await.1, "pong");
}

#[tokio::test]
async fn who_is_at_work_is_waited_for_when_all_connections_are_taken() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = bounded(&endpoint, 2).await;
    let late = |address| {
        tokio::spawn(async move {
            let mut client = Client::http2(address).await;
            client.get("/late").await
        })
    };
    let held = [late(weir.web()), late(weir.listener("other"))];
    until("both to be asked", || endpoint.requests() == 2).await;
    let mut third = Raw::connect(weir.web()).await;
    third.send(GET).await;
    eventually("no room for the third", || async {
        (weir.status().await["short_of"] == serde_json::json!(["connections"])).then_some(())
    })
    .await;
    for listener in ["web", "other"] {
        let series = format!("weir_connections{{listener=\"{listener}\"}}");
        assert_eq!(weir.metric(&series).await, 1.0, "a third connection was served");
    }
    let wider = text(&endpoint, "", "[listeners.other]\naddress = \"127.0.0.1:0\"\n[process]\nmax-connections = 3\n");
    weir.reload(&wider).await.unwrap();
    assert_eq!(third.response().await.1, "pong", "a reload makes room");
    endpoint.open();
    for held in held {
        let reply: Reply = soon("an answer", held).await.unwrap();
        assert_eq!((reply.status, reply.text()), (StatusCode::OK, "late"));
    }
    eventually("enough connections", || async {
        (weir.status().await["short_of"] == serde_json::json!([])).then_some(())
    })
    .await;
}

/// 10,000 connections, as fast as they can be made, of which every other one asks for something.
#[tokio::test]
async fn a_storm() {
    let endpoint = Endpoint::start("a").await;
    let weir = weir(&endpoint, "", "").await;
    let mut kept = Client::http1(weir.web()).await;
    kept.get("/ping").await;
    endured("10,000 connections at once", &weir, async {
        let (mut storm, web) = (JoinSet::new(), weir.web());
        for client in 0..100 {
            storm.spawn(async move {
                for number in 0..100 {
                    let mut stream = TcpStream::connect(web).await?;
                    stream.set_zero_linger()?;
                    if (client + number) % 2 == 0 {
                        stream.write_all(GET.as_bytes()).await?;
                        stream.read_exact(&mut [0; 16]).await?;
                    }
                }
                std::io::Result::Ok(())
            });
        }
        while let Some(ended) = storm.join_next().await {
            ended.unwrap().unwrap();
            assert_eq!(weir.command(Method::GET, "/healthz", "").await.status, 200);
        }
    })
    .await;
    let asked = kept.ask(request(Method::GET, "/").body(empty()).unwrap()).await;
    assert_eq!(asked.text(), "a", "who was there before is still served");
    eventually("all of them to be gone", || async {
        (weir.metric(r#"weir_connections{listener="web"}"#).await == 1.0).then_some(())
    })
    .await;
    assert!(weir.metric(r#"weir_connections_total{listener="web"}"#).await > 10_000.0);
}
