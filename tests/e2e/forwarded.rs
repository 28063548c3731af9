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
        .header("forwarded", "for=192.0.2.1")
        .header("x_forwarded_for", "192.0.2.1");
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
    assert!(seen.values("x_forwarded_for").is_empty(), "many programs take it for the same");
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

/// The client of a request that brings this `X-Forwarded-For`, as the endpoint and as the log have it.
async fn client_behind(trusted: &str, lines: &[&str]) -> (Vec<String>, String) {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        forwarded = {{ trusted = {trusted} }}
        [[routes]]
        name = "web"
        cluster = "web"
        [clusters.web]
        endpoints = ["{}"]
        "#,
        endpoint.address
    ))
    .await;
    let asked = lines.iter().fold(request(Method::GET, "/"), |asked, line| asked.header("x-forwarded-for", *line));
    Client::http1(weir.web()).await.ask(asked.body(empty()).unwrap()).await;
    let client = weir.logged("/").await["client"].as_str().unwrap().to_owned();
    (endpoint.last().values("x-forwarded-for"), client)
}

#[tokio::test]
async fn the_rightmost_address_that_is_not_trusted_is_the_client() {
    let ours = r#"["127.0.0.0/8", "10.0.0.0/8"]"#;
    for (lines, client) in [
        (&["203.0.113.9"][..], "203.0.113.9:0"),
        (&["192.0.2.1, 203.0.113.9, 10.1.2.3"], "203.0.113.9:0"),
        (&["192.0.2.1", "203.0.113.9", "10.1.2.3 ,127.0.0.2"], "203.0.113.9:0"),
        (&["203.0.113.9:4711,10.1.2.3"], "203.0.113.9:4711"),
        (&["[2001:db8::9]:80"], "[2001:db8::9]:80"),
        (&["2001:db8::9"], "[2001:db8::9]:0"),
        (&["::ffff:203.0.113.9"], "203.0.113.9:0"),
        (&["10.9.9.9, 10.1.2.3"], "10.9.9.9:0"),
        (&["203.0.113.9, unknown, 10.1.2.3"], "10.1.2.3:0"),
    ] {
        let (told, logged) = client_behind(ours, lines).await;
        assert_eq!(logged, client, "{lines:?}");
        let ip = client.parse::<std::net::SocketAddr>().unwrap().ip().to_string();
        assert_eq!(told, [ip], "{lines:?}");
    }
}

#[tokio::test]
async fn nobody_else_is_believed() {
    for (trusted, lines) in [(r#"["10.0.0.0/8"]"#, &["203.0.113.9"]), (r#"["127.0.0.1"]"#, &["nonsense"])] {
        let (told, logged) = client_behind(trusted, lines).await;
        assert_eq!(told, ["127.0.0.1"]);
        assert!(logged.starts_with("127.0.0.1:") && !logged.ends_with(":0"), "{logged}");
    }
}

#[tokio::test]
async fn a_chain_is_added_to_with_the_proxy_that_asked() {
    let seen = seen(r#"forwarded = { mode = "append", trusted = ["127.0.0.0/8"] }"#).await;
    assert_eq!(seen.values("x-forwarded-for"), ["192.0.2.1, 127.0.0.1"]);
}
