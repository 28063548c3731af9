//! How large bodies of requests and their targets may be.

use std::io::{BufRead, BufReader, Write};

use http::Method;

use super::super::{
    h2_rfc9113::{
        start,
        wire::{DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, Wire, frame, headers, request as fields},
    },
    harness::{Client, Endpoint, Raw, RawEndpoint, Weir, full, get, octets, request},
};

/// A listener with these limits before one endpoint, and what else there is.
async fn weir(limits: &str, endpoint: &Endpoint, rest: &str) -> Weir {
    let address = endpoint.address;
    Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\nlimits = {{ {limits} }}\n{rest}\n\
         [[routes]]\nname = \"all\"\ncluster = \"web\"\n[clusters.web]\nendpoints = [\"{address}\"]\n"
    ))
    .await
}

#[tokio::test]
async fn a_body_announced_as_too_large_is_413_at_once() {
    let endpoint = Endpoint::start("a").await;
    let weir = weir("max-body = 1000", &endpoint, "").await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("POST /announced HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 1001\r\n\r\n").await;
    let (head, _) = raw.response().await;
    assert!(head.starts_with("HTTP/1.1 413 ") && head.to_ascii_lowercase().contains("connection: close"), "{head}");
    raw.closed().await;
    let mut client = Client::http2(weir.web()).await;
    assert_eq!(client.post("/announced", vec![b'x'; 1001]).await.status, 413);
    assert_eq!(endpoint.requests(), 0);
    assert_eq!(weir.logged("/announced").await["error"], "request body is too large");
    assert_eq!(client.post("/count", vec![b'x'; 1000]).await.text(), "1000", "the connection goes on");
    assert_eq!(Client::http1(weir.web()).await.post("/count", vec![b'x'; 1000]).await.text(), "1000");
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_413() {
    let endpoint = Endpoint::start("a").await;
    let weir = weir("max-body = 1000", &endpoint, "").await;
    let chunk = |length: usize| format!("{length:x}\r\n{}\r\n", "x".repeat(length));
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("POST /count HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    raw.send(chunk(600)).await;
    raw.send(chunk(401)).await;
    // What the client goes on sending does not cost it the answer.
    let _ = raw.try_send(chunk(50_000)).await;
    let (head, _) = raw.response().await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    for mut client in [Client::http1(weir.web()).await, Client::http2(weir.web()).await] {
        let exact = client.ask(request(Method::POST, "/count").body(octets(1000, false)).unwrap()).await;
        assert_eq!((exact.status.as_u16(), exact.text()), (200, "1000"));
    }
    let mut client = Client::http2(weir.web()).await;
    let large = request(Method::POST, "/count").body(octets(100_000, false)).unwrap();
    assert_eq!(client.ask(large).await.status, 413);
    assert_eq!(client.get("/").await.text(), "a", "the connection goes on");
}

#[tokio::test]
async fn a_response_under_way_is_cut_when_the_body_grows_too_large() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nearly").await;
        raw.rest().await;
    })
    .await;
    let weir = Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\nlimits = {{ max-body = 10 }}\n\
         [[routes]]\nname = \"all\"\ncluster = \"web\"\n[clusters.web]\nendpoints = [\"{}\"]\n",
        endpoint.address
    ))
    .await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("POST /early HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    raw.until("early").await;
    raw.send("b\r\n12345678901\r\n0\r\n\r\n").await;
    raw.closed().await;
    assert_eq!(weir.logged("/early").await["error"], "request body is too large");
}

#[test]
fn an_http2_stream_ends_after_the_answer() {
    let weir = start(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\nlimits = { max-body = 10 }\n\
         [[routes]]\nname = \"all\"\nrespond = { body = \"ok\" }\n",
    );
    let mut wire = Wire::ready(weir.web());
    let announced = [fields("POST", "/"), vec![("content-length", "11")]].concat();
    wire.send(&headers(END_HEADERS, 1, &announced));
    let answer = wire.until(|frame| frame.stream == 1 && frame.kind == HEADERS).unwrap();
    assert_eq!(answer.status(), Some(413));
    let reset = wire.until(|frame| frame.stream == 1 && frame.kind == RST_STREAM).unwrap();
    assert_eq!(reset.code(), 0, "the response is whole");
    wire.send(&headers(END_HEADERS | END_STREAM, 3, &fields("GET", "/")));
    let other = wire.until(|frame| frame.stream == 3 && frame.kind == HEADERS).unwrap();
    assert_eq!(other.status(), Some(200));
}

/// Writes all of a body before it reads, as the clients of many standard libraries do; gives the first line it is told.
async fn upload(address: std::net::SocketAddr, path: &'static str, length: usize) -> String {
    let write_then_read = move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let head = format!("PUT {path} HTTP/1.1\r\nHost: weir.test\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![b'x'; length]).map_err(|error| format!("{path}: {error}")).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    };
    tokio::task::spawn_blocking(write_then_read).await.unwrap()
}

#[tokio::test]
async fn a_client_that_writes_all_of_a_refused_upload_first_sees_the_status() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        raw.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        raw.finish().await;
        raw.rest().await;
    })
    .await;
    let weir = Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"small\"\nmatch = {{ path = \"/small\" }}\nmax-body = 1000\ncluster = \"web\"\n\
         [[routes]]\nname = \"none\"\nmatch = {{ path = \"/none\" }}\nrespond = {{ status = 403, body = \"no\" }}\n\
         [[routes]]\nname = \"early\"\ncluster = \"web\"\n[clusters.web]\nendpoints = [\"{}\"]\n",
        endpoint.address
    ))
    .await;
    for (path, status) in [("/small", "413"), ("/none", "403"), ("/early", "401")] {
        let line = upload(weir.web(), path, 20_000_000).await;
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {line}");
    }
}

#[test]
fn a_small_rest_of_a_body_is_taken_before_an_http2_stream_ends() {
    let weir = start(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"all\"\nrespond = { status = 403, body = \"no\" }\n",
    );
    let mut wire = Wire::ready(weir.web());
    wire.send(&headers(END_HEADERS, 1, &fields("PUT", "/")));
    let answer = wire.until(|frame| frame.stream == 1 && frame.kind == HEADERS).unwrap();
    assert_eq!(answer.status(), Some(403));
    wire.send(&frame(DATA, END_STREAM, 1, &[b'x'; 10_000]));
    wire.send(&headers(END_HEADERS | END_STREAM, 3, &fields("GET", "/")));
    let next = wire.until(|frame| frame.kind == RST_STREAM || (frame.stream == 3 && frame.kind == HEADERS)).unwrap();
    assert_eq!(next.kind, HEADERS, "no reset of a request that ended");
}

#[tokio::test]
async fn routes_say_otherwise_and_tenants_have_the_last_word() {
    let endpoint = Endpoint::start("a").await;
    let rest = "[tenants.acme]\nmatch = { hosts = [\"acme.test\"] }\nlimits = { max-body = 1000 }\n\
                [[routes]]\nname = \"wide\"\nmatch = { path = \"/count/wide\" }\ncluster = \"web\"\nmax-body = 100\n\
                [[routes]]\nname = \"none\"\nmatch = { path = \"/count/none\" }\ncluster = \"web\"\nmax-body = 0\n";
    let weir = weir("max-body = 10", &endpoint, rest).await;
    for (host, path, most) in [
        ("weir.test", "/count", 10),
        ("weir.test", "/count/wide", 100),
        ("weir.test", "/count/none", 0),
        ("acme.test", "/count", 1000),
        ("acme.test", "/count/none", 1000),
    ] {
        for (length, status) in [(most, 200), (most + 1, 413)] {
            let post = request(Method::POST, path).header("host", host).body(full(vec![b'x'; length])).unwrap();
            let reply = Client::http1(weir.web()).await.ask(post).await;
            assert_eq!(reply.status, status, "{length} octets to {path} of {host}");
        }
    }
}

#[tokio::test]
async fn what_a_tunnel_carries_is_no_body() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        raw.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").await;
        raw.exactly(1000).await;
        raw.send("all").await;
    })
    .await;
    let weir = Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\nlimits = {{ max-body = 0 }}\n\
         [[routes]]\nname = \"all\"\ncluster = \"web\"\n[clusters.web]\nendpoints = [\"{}\"]\n",
        endpoint.address
    ))
    .await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("GET /x HTTP/1.1\r\nHost: weir.test\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").await;
    raw.head().await;
    raw.send(vec![b'x'; 1000]).await;
    assert_eq!(raw.exactly(3).await, b"all");
}

#[tokio::test]
async fn a_target_beyond_its_own_limit_is_414() {
    let endpoint = Endpoint::start("a").await;
    let weir = weir("url-bytes = 100", &endpoint, "").await;
    let longest = format!("/?{}", "x".repeat(98));
    for mut client in [Client::http1(weir.web()).await, Client::http2(weir.web()).await] {
        assert_eq!(client.get(&longest).await.status, 200);
        assert_eq!(client.get(&format!("{longest}x")).await.status, 414);
    }
    assert_eq!(get(weir.web(), "/").await.text(), "a");
    assert_eq!(endpoint.requests(), 3);
}
