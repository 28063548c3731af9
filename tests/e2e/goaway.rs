//! Endpoints that end an HTTP/2 connection while requests are under way on it, or take only so many at once.

use std::sync::{Arc, Mutex};

use http::{Method, Request};
use tokio::sync::watch;

use super::harness::{Body, Client, Raw, RawEndpoint, Weir, full, plain, request, until};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const MAX_CONCURRENT_STREAMS: u8 = 3;
const REFUSED_STREAM: u32 = 7;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn goaway(last: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())
}

/// `:status 200` by its place in the static table, and a body.
fn answer(stream: u32, body: &str) -> Vec<u8> {
    [frame(HEADERS, END_HEADERS, stream, &[0x88]), frame(DATA, END_STREAM, stream, body.as_bytes())].concat()
}

/// The stream of the next request that has come with its body.
async fn requested(raw: &mut Raw) -> u32 {
    loop {
        let head = raw.exactly(9).await;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        raw.exactly(length).await;
        match (head[3], head[4]) {
            (SETTINGS, flags) if flags & ACK == 0 => raw.send(frame(SETTINGS, ACK, 0, &[])).await,
            (DATA, flags) if flags & END_STREAM != 0 => {
                return u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            }
            _ => {}
        }
    }
}

async fn greeted(raw: &mut Raw) {
    raw.exactly(24).await;
    raw.send(frame(SETTINGS, 0, 0, &[])).await;
}

/// Takes `first` requests on its first connection, says there that it goes after stream `last`, answers
/// what it took up if it is `honest`, and closes. It answers every request on further connections.
async fn leaving(first: usize, last: u32, honest: bool) -> RawEndpoint {
    RawEndpoint::start(move |mut raw, number| async move {
        greeted(&mut raw).await;
        if number > 0 {
            loop {
                let stream = requested(&mut raw).await;
                raw.send(answer(stream, "later")).await;
            }
        }
        let mut streams = Vec::new();
        while streams.len() < first {
            streams.push(requested(&mut raw).await);
        }
        raw.send(goaway(last)).await;
        for stream in streams.into_iter().filter(|stream| honest && *stream <= last) {
            raw.send(answer(stream, "first")).await;
        }
        if honest {
            raw.rest().await;
        }
    })
    .await
}

async fn before(endpoint: &RawEndpoint) -> Weir {
    Weir::before_with(&[endpoint.address], "http2 = true").await
}

fn post(path: &str) -> Request<Body> {
    request(Method::POST, path).body(full("once")).unwrap()
}

/// Status and body of so many requests at once, over one connection.
async fn ask(weir: &Weir, number: usize) -> Vec<(u16, String)> {
    let client = Client::http2(weir.web()).await;
    let replies = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..number {
        let (mut client, replies) = (client.another(), Arc::clone(&replies));
        tokio::spawn(async move {
            let reply = client.ask(post("/once")).await;
            replies.lock().unwrap().push((reply.status.as_u16(), reply.text().to_owned()));
        });
    }
    until("replies to all", || replies.lock().unwrap().len() == number).await;
    let mut replies = std::mem::take(&mut *replies.lock().unwrap());
    replies.sort();
    replies
}

#[tokio::test]
async fn what_it_did_not_take_up_goes_over_another_connection() {
    let endpoint = leaving(2, 1, true).await;
    let weir = before(&endpoint).await;
    assert_eq!(ask(&weir, 2).await, [(200, "first".to_owned()), (200, "later".to_owned())]);
    let line = weir.logged_where("a retry", |line| line["attempts"] == 2).await;
    assert_eq!((&line["retries"], &line["bytes_in"]), (&"stale".into(), &4.into()));
    assert_eq!(weir.metric("weir_retries_total{cluster=\"web\",reason=\"stale\"}").await, 1.0);
}

#[tokio::test]
async fn all_of_them_share_the_other_connection() {
    let endpoint = leaving(50, 0, true).await;
    let weir = before(&endpoint).await;
    assert!(ask(&weir, 50).await.iter().all(|reply| *reply == (200, "later".to_owned())));
    assert_eq!(endpoint.connections(), 2);
}

#[tokio::test]
async fn what_it_may_have_acted_upon_is_not_repeated() {
    let endpoint = leaving(1, 1, false).await;
    let weir = before(&endpoint).await;
    let [(status, _)] = &ask(&weir, 1).await[..] else { panic!("one reply") };
    assert_eq!((*status, endpoint.connections()), (502, 1));
}

/// Refuses so many streams unprocessed, and answers all others.
async fn refusing(streams: usize) -> RawEndpoint {
    RawEndpoint::start(move |mut raw, _| async move {
        greeted(&mut raw).await;
        for number in 0.. {
            let stream = requested(&mut raw).await;
            raw.send(match number < streams {
                true => frame(RST_STREAM, 0, stream, &REFUSED_STREAM.to_be_bytes()),
                false => answer(stream, "taken"),
            })
            .await;
        }
    })
    .await
}

#[tokio::test]
async fn what_the_only_endpoint_refuses_is_asked_of_it_once_more() {
    let endpoint = refusing(1).await;
    let weir = before(&endpoint).await;
    assert_eq!(ask(&weir, 1).await, [(200, "taken".to_owned())]);
    let line = weir.logged_where("a retry", |line| line["attempts"] == 2).await;
    assert_eq!((&line["retries"], &line["bytes_in"]), (&"connect".into(), &4.into()));
    assert_eq!(weir.metric("weir_retries_total{cluster=\"web\",reason=\"connect\"}").await, 1.0);
}

#[tokio::test]
async fn what_is_refused_again_is_502() {
    let endpoint = refusing(usize::MAX).await;
    let weir = before(&endpoint).await;
    let [(status, _)] = &ask(&weir, 1).await[..] else { panic!("one reply") };
    assert_eq!(*status, 502);
    assert_eq!(weir.logged_where("an exchange", |line| line["status"] == 502).await["attempts"], 2);
}

/// Says that it takes `told` streams at once, answers the first request of all, and later ones once `number` are under
/// way; and how many were on each connection then.
async fn holding(told: u32, number: usize) -> (RawEndpoint, Arc<Mutex<Vec<usize>>>) {
    let under_way = watch::Sender::new(0);
    let loads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&loads);
    let endpoint = RawEndpoint::start(move |mut raw, connection| {
        let (under_way, mut all, seen) = (under_way.clone(), under_way.subscribe(), Arc::clone(&seen));
        async move {
            raw.exactly(24).await;
            let setting = [&[0, MAX_CONCURRENT_STREAMS][..], &told.to_be_bytes()].concat();
            raw.send(frame(SETTINGS, 0, 0, &setting)).await;
            if connection == 0 {
                let first = requested(&mut raw).await;
                raw.send(answer(first, "first")).await;
            }
            let mut streams = Vec::new();
            loop {
                tokio::select! {
                    stream = requested(&mut raw) => {
                        streams.push(stream);
                        under_way.send_modify(|under_way| *under_way += 1);
                    }
                    _ = all.wait_for(|under_way| *under_way >= number) => break,
                }
            }
            seen.lock().unwrap().push(streams.len());
            for stream in streams {
                raw.send(answer(stream, "held")).await;
            }
            raw.rest().await;
        }
    })
    .await;
    (endpoint, loads)
}

#[tokio::test]
async fn streams_are_spread_over_connections() {
    // Of the cluster's limit and the endpoint's, the lower counts.
    for (limit, told) in [("h2-streams = 10", 1000), ("", 10)] {
        let (endpoint, loads) = holding(told, 25).await;
        let cluster = format!("http2 = true\n{limit}\n[process]\nworkers = 1");
        let weir = Weir::start(&plain(&[endpoint.address], &cluster)).await;
        assert_eq!(ask(&weir, 1).await, [(200, "first".to_owned())]);
        assert!(ask(&weir, 25).await.iter().all(|reply| *reply == (200, "held".to_owned())), "{limit}");
        let mut loads = loads.lock().unwrap().clone();
        loads.sort_unstable();
        assert_eq!(loads, [5, 10, 10], "{limit}");
        assert_eq!(weir.metric("weir_retries_total{cluster=\"web\",reason=\"connect\"}").await, 0.0);
    }
}

#[tokio::test]
async fn a_connection_takes_a_hundred_streams_unless_told_otherwise() {
    let (endpoint, loads) = holding(1000, 110).await;
    let weir = Weir::start(&plain(&[endpoint.address], "http2 = true\n[process]\nworkers = 1")).await;
    ask(&weir, 1).await;
    assert!(ask(&weir, 110).await.iter().all(|reply| reply.0 == 200));
    let mut loads = loads.lock().unwrap().clone();
    loads.sort_unstable();
    assert_eq!(loads, [10, 100]);
}
