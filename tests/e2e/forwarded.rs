//! What endpoints are told of the client.

use http::Method;

use super::harness::{Client, Endpoint, Seen, Weir, empty, request};

/// What an endpoint sees of a request that brings forwarding fields of its own.
async fn seen(forwarded: &str) -> Seen {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        {forwarded}
        [[routes]]
        name = "web"
        cluster = "web"
        [clusters.web]
        endpoints = ["{}"]
        "#,
        endpoint.address
    ))
    .await;
    let asked = request(Method::GET, "/")
        .header("x-forwarded-for", "192.0.2.1")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "theirs.test")
        .header("forwarded", "for=192.0.2.1");
    Client::http1(weir.web()).await.ask(asked.body(empty()).unwrap()).await;
    endpoint.last()
}

fn fields(seen: &Seen) -> [Vec<String>; 4] {
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"].map(|name| seen.values(name))
}

#[tokio::test]
async fn a_client_is_not_believed_by_default() {
    let seen = seen("").await;
    assert_eq!(fields(&seen), [vec!["127.0.0.1"], vec!["http"], vec!["weir.test"], vec![]]);
}

#[tokio::test]
async fn a_trusted_proxy_is_added_to() {
    let seen = seen(r#"forwarded = { mode = "append" }"#).await;
    assert_eq!(
        fields(&seen),
        [vec!["192.0.2.1, 127.0.0.1"], vec!["https"], vec!["theirs.test"], vec!["for=192.0.2.1"]]
    );
}

#[tokio::test]
async fn fields_can_be_left_alone() {
    let seen = seen(r#"forwarded = { mode = "off" }"#).await;
    assert_eq!(fields(&seen), [vec!["192.0.2.1"], vec!["https"], vec!["theirs.test"], vec!["for=192.0.2.1"]]);
}

#[tokio::test]
async fn the_standard_field_can_be_chosen() {
    let seen = seen(r#"forwarded = { headers = ["forwarded"] }"#).await;
    let ours = vec!["for=127.0.0.1;host=\"weir.test\";proto=http"];
    assert_eq!(fields(&seen), [vec![], vec![], vec![], ours]);
}

#[tokio::test]
async fn the_standard_field_can_be_added_to() {
    let seen = seen(r#"forwarded = { mode = "append", headers = ["forwarded"] }"#).await;
    assert_eq!(seen.values("forwarded"), ["for=192.0.2.1, for=127.0.0.1;host=\"weir.test\";proto=http"]);
}
