//! Upgraded connections, seen by an independent WebSocket library.

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async, tungstenite::Message};

use super::harness::{Endpoint, Raw, RawEndpoint, Weir, soon};

/// Echoes messages.
pub(super) async fn echo() -> RawEndpoint {
    RawEndpoint::start(|raw, _| async move {
        let Ok(mut socket) = accept_async(raw.stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() || message.is_binary() {
                let _ = socket.send(message).await;
            }
        }
    })
    .await
}

/// A WebSocket by way of listener `web`.
pub(super) async fn connect(weir: &Weir) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(weir.web()).await.unwrap();
    let (socket, response) = soon("the upgrade", client_async("ws://weir.test/chat", stream)).await.unwrap();
    assert_eq!(response.status(), 101);
    socket
}

/// Sends a message and waits for its echo.
pub(super) async fn said_back<S>(socket: &mut WebSocketStream<S>, message: Message)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    assert!(is_said_back(socket, message).await, "no echo");
}

/// The same of one that may have ended.
pub(super) async fn is_said_back<S>(socket: &mut WebSocketStream<S>, message: Message) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let sent = socket.send(message.clone()).await.is_ok();
    sent && soon("an echo", socket.next()).await.is_some_and(|echo| echo.is_ok_and(|echo| echo == message))
}

#[tokio::test]
async fn messages_pass_both_ways() {
    let endpoint = echo().await;
    let weir = Weir::before(&[endpoint.address]).await;
    let mut socket = connect(&weir).await;
    for length in [0, 1, 125, 126, 70_000, 1_000_000] {
        said_back(&mut socket, Message::binary(vec![7; length])).await;
        said_back(&mut socket, Message::text("x".repeat(length))).await;
    }
    assert_eq!(weir.metric("weir_tunnels").await, 1.0);
    socket.close(None).await.unwrap();
    while soon("the close", socket.next()).await.is_some_and(|message| message.is_ok()) {}
    drop(socket);
    let line = weir.logged("/chat").await;
    assert_eq!(line["status"], 101);
    assert!(
        line["bytes_in"].as_u64().unwrap() > 1_000_000 && line["bytes_out"].as_u64().unwrap() > 1_000_000,
        "{line}"
    );
}

#[tokio::test]
async fn a_tunnel_survives_a_reload_that_takes_its_route_away() {
    let endpoint = echo().await;
    let mut weir = Weir::before(&[endpoint.address]).await;
    let mut socket = connect(&weir).await;
    said_back(&mut socket, Message::text("before")).await;
    let without = r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "gone"
        respond = { status = 410 }
        "#;
    weir.reload(without).await.unwrap();
    assert_eq!(super::harness::get(weir.web(), "/chat").await.status, 410);
    said_back(&mut socket, Message::text("after")).await;
}

#[tokio::test]
async fn an_endpoint_may_decline_to_switch() {
    let endpoint = RawEndpoint::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let weir = Weir::before(&[endpoint.address]).await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("GET /chat HTTP/1.1\r\nHost: weir.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    let (head, body) = raw.response().await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert_eq!(body, "no");
}

#[tokio::test]
async fn either_side_may_close_its_half_first() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        raw.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: lines\r\n\r\nhello ").await;
        let rest = raw.rest().await;
        raw.send(format!("heard {rest}")).await;
    })
    .await;
    let weir = Weir::before(&[endpoint.address]).await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("GET /lines HTTP/1.1\r\nHost: weir.test\r\nConnection: upgrade\r\nUpgrade: lines\r\n\r\n").await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.to_ascii_lowercase().contains("upgrade: lines"), "{head}");
    raw.until("hello ").await;
    raw.send("you").await;
    raw.finish().await;
    assert_eq!(raw.rest().await, "heard you");
}

#[tokio::test]
async fn a_cluster_of_http2_answers_without_switching() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before_with(&[endpoint.address], "http2 = true").await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("GET /chat HTTP/1.1\r\nHost: weir.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    let (head, body) = raw.response().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body, "a");
    assert!(!endpoint.last().headers.contains_key("upgrade"));
}

#[tokio::test]
async fn http_is_not_asked_for_within_http() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before(&[endpoint.address]).await;
    let unreadable = [&b"h2c, \xff"[..], b"h2c,websocket\xff"];
    let readable = ["h2c", "foo, h2c", "h2c, websocket", "H2C-14", "HTTP/2.0"].map(str::as_bytes);
    for upgrade in readable.into_iter().chain(unreadable) {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send("GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: upgrade, http2-settings\r\nUpgrade: ").await;
        raw.send(upgrade).await;
        raw.send("\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n").await;
        assert_eq!(raw.response().await.1, "a");
        assert!(endpoint.last().headers.get("upgrade").is_none(), "{}", upgrade.escape_ascii());
    }
}

#[tokio::test]
async fn an_endpoint_switches_to_nothing_else() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        raw.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n").await;
        raw.rest().await;
    })
    .await;
    let weir = Weir::before(&[endpoint.address]).await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("GET /chat HTTP/1.1\r\nHost: weir.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    let (head, _) = raw.response().await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
}
