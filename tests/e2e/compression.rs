//! Responses made smaller on their way, read back by decoders of others.

use std::io::Read;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::harness::{Client, Raw, RawEndpoint, Reply, Weir, empty, request, soon};

const TEXT: &str = "to be compressed, again and again; ";

async fn before(endpoint: &RawEndpoint, compression: &str) -> Weir {
    Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"web\"\ncluster = \"web\"\n\
         compression = {compression}\nrequest-headers = {{ remove = [\"accept-encoding\"] }}\n\
         [clusters.web]\nendpoints = [\"{}\"]\n",
        endpoint.address
    ))
    .await
}

/// Answers every request with these fields and this text.
async fn answering(fields: &'static str, text: String) -> RawEndpoint {
    RawEndpoint::start(move |mut raw, _| {
        let length = text.len();
        let whole = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n{text}");
        async move {
            loop {
                let head = raw.head().await.to_ascii_lowercase();
                assert!(!head.contains("accept-encoding"), "the route takes it away: {head}");
                raw.send(&whole).await;
            }
        }
    })
    .await
}

async fn ask(client: &mut Client, accept: &str) -> Reply {
    client.ask(request(Method::GET, "/page").header("accept-encoding", accept).body(empty()).unwrap()).await
}

fn plain(encoding: &str, octets: &[u8]) -> String {
    let mut text = String::new();
    match encoding {
        "gzip" => flate2::read::GzDecoder::new(octets).read_to_string(&mut text),
        "br" => brotli::Decompressor::new(octets, 4096).read_to_string(&mut text),
        "zstd" => zstd::stream::read::Decoder::new(octets).unwrap().read_to_string(&mut text),
        "" => (&mut &*octets).read_to_string(&mut text),
        other => panic!("{other}"),
    }
    .unwrap();
    text
}

#[tokio::test]
async fn clients_get_what_they_take() {
    let text = TEXT.repeat(2_000);
    let endpoint = answering("Content-Type: text/html\r\nETag: \"v1\"\r\n", text.clone()).await;
    let weir = before(&endpoint, "{}").await;
    for mut client in [Client::http1(weir.web()).await, Client::http2(weir.web()).await] {
        for (accept, encoding) in [
            ("gzip", "gzip"),
            ("gzip, br", "br"),
            ("gzip, br, zstd", "zstd"),
            ("zstd;q=0.5, gzip", "gzip"),
            ("identity", ""),
        ] {
            let reply = ask(&mut client, accept).await;
            assert_eq!((reply.status, reply.header("content-encoding")), (StatusCode::OK, encoding), "{accept}");
            assert_eq!(reply.header("vary"), "accept-encoding");
            assert_eq!(reply.header("etag"), if encoding.is_empty() { "\"v1\"" } else { "W/\"v1\"" });
            assert!(encoding.is_empty() || reply.body.len() < text.len() / 20, "{}", reply.body.len());
            assert_eq!(plain(encoding, &reply.body), text);
        }
    }
    let line = weir.logged_where("brotli", |line| line["encoding"] == "br").await;
    assert!(line["bytes_out"].as_u64().unwrap() < 5_000, "{line}");
    let figure = |stage: &str| {
        format!("weir_compression_bytes_total{{listener=\"web\",route=\"web\",cluster=\"web\",stage=\"{stage}\"}}")
    };
    assert_eq!(weir.metric(&figure("before")).await, (8 * text.len()) as f64);
    assert!(weir.metric(&figure("after")).await < (text.len()) as f64);
}

#[tokio::test]
async fn some_responses_stay_as_they_are() {
    let long = TEXT.repeat(100);
    for (fields, text) in [
        ("Content-Type: image/png\r\n", &long),
        ("Content-Type: text/html\r\n", &TEXT.to_owned()),
        ("Content-Type: text/html\r\nContent-Encoding: x-own\r\n", &long),
        ("Content-Type: text/html\r\nCache-Control: no-transform\r\n", &long),
    ] {
        let endpoint = answering(fields, text.clone()).await;
        let weir = before(&endpoint, "{}").await;
        let reply = ask(&mut Client::http1(weir.web()).await, "gzip").await;
        assert_eq!(
            (reply.text(), reply.header("content-length")),
            (text.as_str(), &*text.len().to_string()),
            "{fields}"
        );
        assert_eq!(reply.header("vary"), "", "{fields}");
        assert!(weir.logged("/page").await["encoding"].is_null());
    }
}

async fn piece(body: &mut Incoming) -> Bytes {
    soon("a piece", body.frame()).await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn pieces_are_not_held_back() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        raw.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for number in 0..3 {
            raw.send(format!("6\r\nsaid {number}\r\n")).await;
            // The client says when it has it.
            raw.until("next").await;
        }
        raw.send("0\r\n\r\n").await;
    })
    .await;
    for encoding in ["gzip", "br", "zstd"] {
        let weir = before(&endpoint, "{ types = [\"text/event-stream\"] }").await;
        let (sender, body) = super::harness::channel();
        let asked = request(Method::POST, "/events").header("accept-encoding", encoding);
        let mut client = Client::http1(weir.web()).await;
        let response = client.send(asked.body(body).unwrap()).await.unwrap();
        assert_eq!(response.headers()["content-encoding"], encoding);
        let (mut body, mut seen) = (response.into_body(), Vec::new());
        for number in 0..3 {
            let wanted: String = (0..=number).map(|number| format!("said {number}")).collect();
            while !so_far(encoding, &seen).ends_with(&wanted) {
                seen.extend_from_slice(&piece(&mut body).await);
            }
            sender.data("next");
        }
        drop(sender);
        seen.extend_from_slice(&soon("the end", body.collect()).await.unwrap().to_bytes());
        assert_eq!(plain(encoding, &seen), "said 0said 1said 2");
    }
}

/// What can be read although the end has not come.
fn so_far(encoding: &str, octets: &[u8]) -> String {
    let mut out = Vec::new();
    let _ = match encoding {
        "gzip" => flate2::read::GzDecoder::new(octets).read_to_end(&mut out),
        "br" => brotli::Decompressor::new(octets, 4096).read_to_end(&mut out),
        _ => zstd::stream::read::Decoder::new(octets).unwrap().read_to_end(&mut out),
    };
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn a_head_is_left_and_caches_are_told() {
    let endpoint =
        RawEndpoint::answering("HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nContent-Length: 5000\r\n\r\n").await;
    let weir = before(&endpoint, "{}").await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("HEAD / HTTP/1.1\r\nHost: weir.test\r\nAccept-Encoding: gzip\r\n\r\n").await;
    let head = raw.head().await.to_ascii_lowercase();
    assert!(head.contains("content-length: 5000\r\n") && head.contains("vary: accept-encoding\r\n"), "{head}");
    assert!(!head.contains("content-encoding"), "{head}");
}

#[tokio::test]
async fn what_is_not_modified_says_what_it_was_when_it_was_compressed() {
    let endpoint = RawEndpoint::answering("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n").await;
    let weir = before(&endpoint, "{}").await;
    for (asked, vary, tag) in [
        ("\"v0\", W/\"v1\"", "accept-encoding", "W/\"v1\""),
        ("\"v1\"", "", "\"v1\""),
        ("W/\"v0\", \"v1\"", "", "\"v1\""),
        ("*", "", "\"v1\""),
    ] {
        let ask = request(Method::GET, "/page").header("accept-encoding", "gzip").header("if-none-match", asked);
        let reply = Client::http1(weir.web()).await.ask(ask.body(empty()).unwrap()).await;
        assert_eq!(reply.status, StatusCode::NOT_MODIFIED);
        assert_eq!((reply.header("vary"), reply.header("etag")), (vary, tag), "{asked}");
    }
}
