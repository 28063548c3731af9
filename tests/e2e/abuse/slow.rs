//! Clients that take their time: with a head, a body, a response, a handshake.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::interval,
};

use super::{
    super::{
        h2_rfc9113::{
            start,
            wire::{
                CONTINUATION, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, Wire, block, frame, request as fields,
            },
        },
        harness::{Ca, Client, Endpoint, Meter, Raw, Setup, Weir, eventually, octets, request, soon},
    },
    DRIP, endured, narrow, weir,
};

const CLIENTS: usize = 100;

/// So many connections that begin with this, and go on octet by octet until they are closed.
async fn dripping(weir: &Weir, beginning: &'static str) {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut stream = TcpStream::connect(weir.web()).await.unwrap();
        clients.spawn(async move {
            stream.write_all(beginning.as_bytes()).await.unwrap();
            let (mut ticks, mut answer) = (interval(DRIP), [0; 1024]);
            loop {
                tokio::select! {
                    read = stream.read(&mut answer) => match read {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {}
                    },
                    _ = ticks.tick() => drop(stream.write_all(b"x").await),
                }
            }
        });
    }
    soon("all of them to be closed", async { while clients.join_next().await.is_some() {} }).await;
}

/// Waits until as many lines of the access log have this error.
async fn noted(weir: &Weir, error: &str, number: usize) {
    let wanted = format!("\"error\":\"{error}\"");
    eventually(&format!("{number} times {error:?}"), || async {
        let lines = weir.stdout();
        (lines.iter().filter(|line| line.contains(&wanted)).count() == number).then_some(())
    })
    .await;
}

#[tokio::test]
async fn heads() {
    let endpoint = Endpoint::start("a").await;
    let weir = weir(&endpoint, r#"header-timeout = "1s""#, "").await;
    endured("slow heads", &weir, dripping(&weir, "GET / HTTP/1.1\r\nHost: weir.test\r\nX-Slow: ")).await;
    noted(&weir, "request head took too long", CLIENTS).await;
    assert_eq!(endpoint.requests(), 0);
}

#[tokio::test]
async fn bodies() {
    let endpoint = Endpoint::start("a").await;
    let weir = weir(&endpoint, r#"body-timeout = "1s", min-rate = "10KiB""#, "").await;
    let post = "POST /count HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 1000000\r\n\r\n";
    endured("slow bodies", &weir, dripping(&weir, post)).await;
    noted(&weir, "client too slow to send", CLIENTS).await;
    let mut client = Client::http2(weir.web()).await;
    let reply = client.ask(request(http::Method::POST, "/count").body(octets(1 << 20, false)).unwrap()).await;
    assert_eq!(reply.text(), "1048576", "who is fast enough is not cut");
}

#[tokio::test]
async fn readers() {
    let endpoint = Endpoint::start("a").await;
    let weir = weir(&endpoint, r#"body-timeout = "1s", min-rate = "10MiB""#, "").await;
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let mut stream = narrow(&weir).await.unwrap();
        clients.spawn(async move {
            stream.write_all(b"GET /octets/100000000 HTTP/1.1\r\nHost: weir.test\r\n\r\n").await.unwrap();
            let (mut ticks, mut some) = (interval(DRIP), [0; 1024]);
            while stream.read(&mut some).await.is_ok_and(|read| read > 0) {
                ticks.tick().await;
            }
        });
    }
    endured("slow readers", &weir, async {
        noted(&weir, "client too slow to read", 20).await;
    })
    .await;
    clients.abort_all();
}

#[tokio::test]
async fn handshakes() {
    let ca = Ca::new();
    let text = r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [listeners.secure]
        address = "127.0.0.1:0"
        tls = { certificates = [{ cert = "site.pem", key = "site.key" }] }
        limits = { header-timeout = "500ms" }
        [[routes]]
        name = "ping"
        respond = { body = "pong" }
        "#;
    let weir = Setup::new(text).certificate("site", &ca.issue(&["weir.test"])).start().await;
    endured("slow handshakes", &weir, async {
        for said in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
            let mut raw = Raw::connect(weir.listener("secure")).await;
            raw.send(said).await;
            raw.closed().await;
        }
    })
    .await;
    assert_eq!(Client::tls(weir.listener("secure"), &ca, "weir.test", &["h2"]).await.get("/").await.text(), "pong");
}

/// The head of a request on HTTP/2 that never ends holds its connection no longer than one of HTTP/1.1.
#[test]
fn header_blocks() {
    let weir = start(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\nlimits = { header-timeout = \"500ms\" }\n\
         [[routes]]\nname = \"all\"\nrespond = { body = \"ok\" }\n",
    );
    let meter = Meter::start("slow header blocks", &weir);
    for begun in [
        frame(HEADERS, END_STREAM, 1, &block(&fields("GET", "/"))),
        [frame(HEADERS, END_STREAM, 1, &block(&fields("GET", "/"))), frame(CONTINUATION, 0, 1, &[])].concat(),
        frame(HEADERS, END_STREAM, 1, &block(&fields("GET", "/")))[..12].to_vec(),
        vec![0, 0],
    ] {
        let mut wire = Wire::ready(weir.web());
        wire.send(&begun);
        let end = wire.until(|frame| frame.kind == GOAWAY);
        assert_eq!(end.map(|frame| frame.code()), Ok(ENHANCE_YOUR_CALM), "{begun:?}");
    }
    meter.end(&weir);
}
