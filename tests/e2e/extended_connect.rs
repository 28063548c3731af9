//! Tunnels over HTTP/2 (RFC 8441), on either side.

use bytes::Bytes;
use futures_util::StreamExt;
use h2::{ext::Protocol, server::SendResponse};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest, protocol::Role},
};

use super::{
    harness::{Endpoint, RawEndpoint, Weir, soon},
    websocket::{connect, echo, said_back},
};

/// Both halves of a stream as one transport.
fn transport(mut send: h2::SendStream<Bytes>, mut receive: h2::RecvStream) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let (mut read, mut write) = tokio::io::split(theirs);
    tokio::spawn(async move {
        while let Some(Ok(data)) = receive.data().await {
            receive.flow_control().release_capacity(data.len()).unwrap();
            if write.write_all(&data).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    });
    tokio::spawn(async move {
        let mut piece = vec![0; 16 << 10];
        while let Ok(length @ 1..) = read.read(&mut piece).await {
            let mut rest = Bytes::copy_from_slice(&piece[..length]);
            while !rest.is_empty() {
                send.reserve_capacity(rest.len());
                let Some(Ok(room)) = std::future::poll_fn(|cx| send.poll_capacity(cx)).await else { return };
                send.send_data(rest.split_to(room.min(rest.len())), false).unwrap();
            }
        }
        let _ = send.send_data(Bytes::new(), true);
    });
    ours
}

/// A client's connection that has heard that tunnels are taken.
async fn client(weir: &Weir) -> h2::client::SendRequest<Bytes> {
    let stream = TcpStream::connect(weir.web()).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    super::harness::until("the setting", || sender.is_extended_connect_protocol_enabled()).await;
    sender
}

fn ask(protocol: &'static str) -> Request<()> {
    Request::builder()
        .method(Method::CONNECT)
        .uri("http://weir.test/chat?x=1")
        .extension(Protocol::from_static(protocol))
        .header("sec-websocket-version", "13")
        .header("origin", "http://weir.test")
        .body(())
        .unwrap()
}

/// What a tunnel was answered with, and the tunnel where there is one.
async fn open(weir: &Weir, protocol: &'static str) -> (StatusCode, HeaderMap, Option<DuplexStream>) {
    let mut sender = client(weir).await;
    let (response, send) = sender.send_request(ask(protocol), false).unwrap();
    let (head, receive) = soon("an answer", response).await.unwrap().into_parts();
    let tunnel = head.status.is_success().then(|| transport(send, receive));
    (head.status, head.headers, tunnel)
}

async fn chat(weir: &Weir) -> WebSocketStream<DuplexStream> {
    let (status, headers, tunnel) = open(weir, "websocket").await;
    assert_eq!(status, 200);
    assert!(!headers.contains_key("sec-websocket-accept") && !headers.contains_key("upgrade"), "{headers:?}");
    WebSocketStream::from_raw_socket(tunnel.unwrap(), Role::Client, None).await
}

/// Takes tunnels over HTTP/2 and echoes what is said in them.
async fn echo_http2() -> RawEndpoint {
    RawEndpoint::start(|raw, _| async move {
        let mut builder = h2::server::Builder::new();
        let mut connection = builder.enable_connect_protocol().handshake::<_, Bytes>(raw.stream).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::spawn(answer(request, respond));
        }
    })
    .await
}

async fn answer(request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) {
    let (head, receive) = request.into_parts();
    let protocol = head.extensions.get::<Protocol>().map(Protocol::as_str);
    assert_eq!((head.method, protocol), (Method::CONNECT, Some("websocket")));
    assert!(!head.headers.contains_key("sec-websocket-key"), "{:?}", head.headers);
    assert_eq!(head.uri.path(), "/chat");
    let send = respond.send_response(Response::new(()), false).unwrap();
    let mut socket = WebSocketStream::from_raw_socket(transport(send, receive), Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() || message.is_binary() {
            let _ = futures_util::SinkExt::send(&mut socket, message).await;
        }
    }
}

async fn talk<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(mut socket: WebSocketStream<S>) {
    for length in [0, 1, 125, 126, 70_000, 1_000_000] {
        said_back(&mut socket, Message::binary(vec![7; length])).await;
    }
    socket.close(None).await.unwrap();
    while soon("the close", socket.next()).await.is_some_and(|message| message.is_ok()) {}
}

#[tokio::test]
async fn a_client_of_http2_meets_an_endpoint_of_http1() {
    let endpoint = echo().await;
    let weir = Weir::before(&[endpoint.address]).await;
    talk(chat(&weir).await).await;
    let line = weir.logged("/chat?x=1").await;
    assert_eq!(
        (&line["method"], &line["status"], &line["protocol"]),
        (&"CONNECT".into(), &200.into(), &"HTTP/2.0".into())
    );
    assert!(line["bytes_in"].as_u64().unwrap() > 1_000_000 && line["bytes_out"].as_u64().unwrap() > 1_000_000);
    assert_eq!(weir.metric("weir_tunnels_total{cluster=\"web\",end=\"closed\"}").await, 1.0);
}

#[tokio::test]
async fn clients_of_either_version_meet_an_endpoint_of_http2() {
    let endpoint = echo_http2().await;
    let weir = Weir::before_with(&[endpoint.address], "http2 = true\n[process]\nworkers = 1").await;
    talk(chat(&weir).await).await;
    talk(connect(&weir).await).await;
    talk(chat(&weir).await).await;
    assert_eq!(endpoint.connections(), 1, "tunnels share it");
}

#[tokio::test]
async fn a_client_of_http1_that_says_it_has_no_body_gets_its_tunnel() {
    let endpoint = echo_http2().await;
    let weir = Weir::before_with(&[endpoint.address], "http2 = true").await;
    let stream = TcpStream::connect(weir.web()).await.unwrap();
    let mut ask = "ws://weir.test/chat".into_client_request().unwrap();
    ask.headers_mut().insert("content-length", "0".parse().unwrap());
    let (socket, _) = soon("the upgrade", tokio_tungstenite::client_async(ask, stream)).await.unwrap();
    talk(socket).await;
}

#[tokio::test]
async fn an_endpoint_of_http2_that_takes_no_tunnels_gets_none() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before_with(&[endpoint.address], "http2 = true").await;
    let (status, ..) = open(&weir, "websocket").await;
    assert_eq!((status, endpoint.requests()), (StatusCode::NOT_IMPLEMENTED, 0));
    assert_eq!(weir.logged("/chat?x=1").await["error"], "the endpoint takes no tunnels");
}

#[tokio::test]
async fn an_answer_that_does_not_switch_is_no_tunnel() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";
    let wrong = format!("{switch}Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n");
    for (said, status) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned(), 403),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(), 502),
        (format!("{switch}\r\n"), 502),
        (wrong, 502),
    ] {
        let told = said.clone();
        let endpoint = RawEndpoint::start(move |mut raw, _| {
            let told = told.clone();
            async move {
                let head = raw.head().await.to_ascii_lowercase();
                assert!(head.starts_with("get /chat?x=1 http/1.1\r\n"), "{head}");
                assert!(
                    head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nsec-websocket-key: "),
                    "{head}"
                );
                raw.send(told).await;
                raw.rest().await;
            }
        })
        .await;
        let weir = Weir::before(&[endpoint.address]).await;
        assert_eq!(open(&weir, "websocket").await.0, status, "{said}");
    }
}

#[tokio::test]
async fn other_protocols_pass_too_and_halves_close_apart() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        let head = raw.head().await.to_ascii_lowercase();
        assert!(head.contains("\r\nupgrade: lines\r\n") && !head.contains("sec-websocket-key"), "{head}");
        raw.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: lines\r\n").await;
        raw.send("Content-Length: 6\r\n\r\nhello ").await;
        let rest = raw.rest().await;
        raw.send(format!("heard {rest}")).await;
    })
    .await;
    let weir = Weir::before(&[endpoint.address]).await;
    let (_, headers, tunnel) = open(&weir, "lines").await;
    assert!(!headers.contains_key("content-length"), "{headers:?}");
    let mut tunnel = tunnel.unwrap();
    tunnel.write_all(b"you").await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut said = String::new();
    soon("the rest", tunnel.read_to_string(&mut said)).await.unwrap();
    assert_eq!(said, "hello heard you");
}

#[tokio::test]
async fn a_response_of_the_route_is_no_tunnel() {
    let weir = Weir::start(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"page\"\nrespond = { body = \"page\" }\n",
    )
    .await;
    assert_eq!(open(&weir, "websocket").await.0, StatusCode::BAD_GATEWAY);
    assert_eq!(weir.logged("/chat?x=1").await["error"], "endpoint did not switch protocols");
}

#[tokio::test]
async fn nothing_but_one_protocol_can_be_asked_for_and_that_is_not_http() {
    let endpoint = Endpoint::start("a").await;
    for cluster in ["", "http2 = true"] {
        let weir = Weir::before_with(&[endpoint.address], cluster).await;
        for protocol in ["h2c", "H2C", "websocket, h2c", "a b", "a,b", "HTTP/2.0", ""] {
            let mut sender = client(&weir).await;
            let (response, _send) = sender.send_request(ask(protocol), false).unwrap();
            let error = soon("an end", response).await.unwrap_err();
            assert_eq!(error.reason(), Some(h2::Reason::PROTOCOL_ERROR), "{protocol}: {error}");
        }
    }
    assert_eq!(endpoint.requests(), 0);
}
