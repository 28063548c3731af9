//! The shortest road there is.

use super::harness::{Endpoint, Weir, get};

#[tokio::test]
async fn a_request_reaches_an_endpoint() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before(&[endpoint.address]).await;
    let reply = get(weir.web(), "/hello").await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "a"));
    assert_eq!(endpoint.last().uri.path(), "/hello");
    assert_eq!(weir.logged("/hello").await["status"], 200);
}

#[tokio::test]
async fn a_route_answers_by_itself() {
    let weir = Weir::start(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "ping"
        match = { path = "/ping" }
        respond = { status = 200, body = "pong", headers = { content-type = "text/plain" } }
        "#,
    )
    .await;
    let reply = get(weir.web(), "/ping").await;
    assert_eq!((reply.text(), reply.header("content-type")), ("pong", "text/plain"));
    assert_eq!(get(weir.web(), "/other").await.status, 404);
}
