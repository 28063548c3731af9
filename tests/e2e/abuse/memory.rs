//! Too little memory: what idles is let go, what holds the most is closed, and when all is in use nobody new is taken on.

use http::Method;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    super::{
        h2_rfc9113::wire,
        harness::{Client, Endpoint, Meter, Raw, Weir, eventually, get},
    },
    narrow, text, weir,
};

fn within(endpoint: &Endpoint, memory: u64) -> String {
    text(endpoint, "", &format!("[process]\nworkers = 2\nmax-memory = {memory}\n"))
}

async fn is_short(weir: &Weir, short: bool) {
    let wanted = f64::from(u8::from(short));
    eventually(&format!("short of memory: {short}"), || async {
        (weir.metric(r#"weir_short_of{resource="memory"}"#).await == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nobody_is_taken_on_while_memory_is_short() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = weir(&endpoint, "", "").await;
    let mut idle = Raw::connect(weir.web()).await;
    idle.send("GET /ping HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    assert_eq!(idle.response().await.1, "pong");
    let mut busy = Client::http1(weir.web()).await;
    let busy = tokio::spawn(async move { (busy.get("/late").await, busy) });
    eventually("it to be asked", || async { (endpoint.requests() == 1).then_some(()) }).await;

    // Far below what it needs to run at all.
    weir.reload(&within(&endpoint, 16 << 20)).await.unwrap();
    is_short(&weir, true).await;
    idle.closed().await;
    eventually("new connections to be refused", || async {
        let Ok(stream) = TcpStream::connect(weir.web()).await else { return Some(()) };
        let mut raw = Raw::of(stream);
        let _ = raw.try_send("GET /ping HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
        raw.rest().await.is_empty().then_some(())
    })
    .await;
    assert!(weir.metric(r#"weir_connections_refused_total{listener="web",reason="memory"}"#).await >= 1.0);
    assert_eq!(weir.command(Method::GET, "/healthz", "").await.status, 200);
    endpoint.open();
    let (reply, client) = busy.await.unwrap();
    assert_eq!(reply.text(), "late", "who is at work goes on");
    eventually("its connection to be closed", || async { client.is_closed().then_some(()) }).await;

    weir.reload(&within(&endpoint, 8 << 30)).await.unwrap();
    is_short(&weir, false).await;
    assert_eq!(get(weir.web(), "/").await.text(), "a");
}

/// Readers that do not read make us keep what their endpoints sent: it stops at the limit, and comes back.
#[tokio::test]
async fn an_attack_on_memory_is_over_when_it_is() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = weir(&endpoint, "", "").await;
    get(weir.web(), "/octets/1000000").await;
    let most = weir.rss() + (64 << 20);
    weir.reload(&within(&endpoint, most)).await.unwrap();
    let meter = Meter::start("readers that do not read", &weir);
    let mut readers = Vec::new();
    while weir.metric(r#"weir_short_of{resource="memory"}"#).await == 0.0 {
        assert!(readers.len() < 4000, "memory does not grow: {} of {most}", weir.rss());
        for _ in 0..20 {
            if let Ok(mut reader) = narrow(&weir).await {
                let _ = reader.write_all(b"GET /octets/100000000 HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
                readers.push(reader);
            }
        }
    }
    meter.end(&weir);
    assert_eq!(weir.command(Method::GET, "/healthz", "").await.status, 200);
    drop(readers);
    is_short(&weir, false).await;
    assert_eq!(get(weir.web(), "/").await.text(), "a");
}

/// What a client sends that opens a hundred streams and grants all there is for their responses.
fn hundred_streams() -> Vec<u8> {
    let largest = (1 << 31) - 1;
    let mut octets = [
        wire::PREFACE,
        &wire::settings(&[(4, largest)]),
        &wire::frame(wire::SETTINGS, wire::ACK, 0, &[]),
        &wire::window_update(0, largest - 65_535),
    ]
    .concat();
    let request = wire::request("GET", "/octets/100000000");
    for number in 0..100 {
        octets.extend(wire::headers(wire::END_HEADERS | wire::END_STREAM, 2 * number + 1, &request));
    }
    octets
}

/// The connections that hold the most are closed, and make room for others though the rest of them stay.
#[tokio::test]
async fn streams_that_are_not_read_cost_their_own_connections() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = weir(&endpoint, "", "").await;
    get(weir.web(), "/octets/1000000").await;
    let most = weir.rss() + (48 << 20);
    weir.reload(&within(&endpoint, most)).await.unwrap();
    let (meter, octets) = (Meter::start("streams that are not read", &weir), hundred_streams());
    let (mut readers, mut peak) = (Vec::new(), 0);
    while weir.metric(r#"weir_short_of{resource="memory"}"#).await == 0.0 && readers.len() < 60 {
        if let Ok(mut reader) = narrow(&weir).await {
            let _ = reader.write_all(&octets).await;
            readers.push(reader);
        }
        peak = peak.max(weir.rss());
    }
    is_short(&weir, false).await;
    meter.end(&weir);
    weir.said("short of memory: closed those that held the most").await;
    println!("{} connections, {} MiB of {} MiB", readers.len(), peak >> 20, most >> 20);
    eventually("a newcomer to be served", || async {
        let mut raw = Raw::of(TcpStream::connect(weir.web()).await.ok()?);
        raw.try_send("GET /ping HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n").await.ok()?;
        raw.rest().await.ends_with("pong").then_some(())
    })
    .await;
    drop(readers);
}
