//! What endpoints are told of the client.

use http::Method;

use super::harness::{Client, Endpoint, Raw, Seen, Setup, Weir, empty, request};

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
        .header("x_forwarded_for", "192.0.2.1")
        .header("x-forwarded-port", "444")
        .header("x-forwarded-prefix", "/app")
        .header("x-forwarded-ssl", "on")
        .header("x-real-ip", "192.0.2.9")
        .header("x_real_ip", "192.0.2.9");
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
async fn append_adds_to_each_field() {
    for trusted in ["", r#", trusted = ["127.0.0.1"]"#] {
        let seen = seen(&format!(r#"forwarded = {{ mode = "append"{trusted} }}"#)).await;
        assert_eq!(
            fields(&seen),
            [vec!["192.0.2.1, 127.0.0.1"], vec!["https, http"], vec!["theirs.test, weir.test"], vec!["for=192.0.2.1"]]
        );
    }
}

#[tokio::test]
async fn a_peer_that_is_not_trusted_is_not_believed_in_any_mode() {
    for mode in ["", "mode = \"append\", ", "mode = \"trusted\", ", "mode = \"replace\", "] {
        let headers = r#"headers = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"]"#;
        let seen = seen(&format!("forwarded = {{ {mode}{headers}, trusted = [\"10.0.0.0/8\"] }}")).await;
        assert_eq!(fields(&seen), [vec!["127.0.0.1"], vec!["http"], vec!["weir.test"], vec![]], "{mode}");
        assert_ne!(seen.values("x-forwarded-port"), ["444"], "{mode}");
        for gone in ["x-real-ip", "x_real_ip", "x_forwarded_for", "x-forwarded-prefix", "x-forwarded-ssl"] {
            assert!(seen.values(gone).is_empty(), "{mode}: {gone}");
        }
    }
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_added_to() {
    for mode in ["", "mode = \"trusted\", "] {
        let seen = seen(&format!("forwarded = {{ {mode}trusted = [\"127.0.0.1\"] }}")).await;
        assert_eq!(fields(&seen), [vec!["192.0.2.1, 127.0.0.1"], vec!["https"], vec!["theirs.test"], vec![]], "{mode}");
        assert_eq!(seen.values("x-forwarded-port"), ["444"]);
        assert_eq!(seen.values("x-forwarded-prefix"), ["/app"]);
        assert_eq!(seen.values("x-real-ip"), ["192.0.2.1"], "not what a client may have written");
        assert!(seen.values("x_forwarded_for").is_empty());
    }
}

#[tokio::test]
async fn every_field_can_be_ours() {
    let all =
        r#"headers = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip"]"#;
    let direct = seen(&format!("forwarded = {{ {all} }}")).await;
    assert_eq!(direct.values("x-real-ip"), ["127.0.0.1"]);
    let port: u16 = direct.values("x-forwarded-port")[0].parse().unwrap();
    assert!(port > 444, "the port of the listener: {port}");
    let behind = seen(&format!("forwarded = {{ {all}, trusted = [\"127.0.0.1\"] }}")).await;
    assert_eq!(behind.values("x-real-ip"), ["192.0.2.1"]);
    assert_eq!(behind.values("x-forwarded-port"), ["444"]);
    let replaced = seen(&format!("forwarded = {{ mode = \"replace\", {all}, trusted = [\"127.0.0.1\"] }}")).await;
    assert_eq!(fields(&replaced), [vec!["192.0.2.1"], vec!["https"], vec!["weir.test"], vec![]]);
    assert_eq!(replaced.values("x-forwarded-port"), ["443"]);
}

/// A Weir that sends plain HTTP to HTTPS, and answers the rest with the scheme in a header.
fn to_https(listener: &str, endpoint: &Endpoint) -> String {
    format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        {listener}
        [[routes]]
        name = "to-https"
        match = {{ scheme = "http" }}
        redirect = {{ scheme = "https" }}
        [[routes]]
        name = "web"
        cluster = "web"
        request-headers = {{ set = {{ x-scheme = "{{scheme}}" }} }}
        [clusters.web]
        endpoints = ["{}"]
        affinity = {{ cookie = {{ name = "s", mode = "insert" }} }}
        "#,
        endpoint.address
    )
}

#[tokio::test]
async fn the_scheme_is_the_one_that_a_trusted_proxy_tells() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&to_https("forwarded = { trusted = [\"127.0.0.1\", \"10.0.0.0/8\"] }", &endpoint)).await;
    for version in [1, 2] {
        let mut client = if version == 1 { Client::http1(weir.web()).await } else { Client::http2(weir.web()).await };
        for (hops, proto, secure) in [
            ("203.0.113.9", "https", true),
            ("203.0.113.9", "HTTPS", true),
            ("203.0.113.9", "http", false),
            ("203.0.113.9", "nonsense", false),
            // What a client wrote itself stands further left.
            ("203.0.113.9", "https, http", false),
            ("203.0.113.9, 10.1.2.3", "https, http", true),
            ("203.0.113.9, 10.1.2.3", "http, https", false),
            ("203.0.113.9, 10.1.2.3", "https", true),
        ] {
            let asked = request(Method::GET, "/x").header("x-forwarded-for", hops).header("x-forwarded-proto", proto);
            let reply = client.ask(asked.body(empty()).unwrap()).await;
            match secure {
                true => {
                    assert_eq!(reply.status, 200, "{hops}: {proto}");
                    assert_eq!(endpoint.last().values("x-scheme"), ["https"]);
                    assert_eq!(endpoint.last().values("x-forwarded-proto"), ["https"], "{hops}: {proto}");
                    assert!(reply.header("set-cookie").contains("; Secure"), "{}", reply.header("set-cookie"));
                }
                false => assert_eq!(reply.header("location"), "https://weir.test/x", "{hops}: {proto}"),
            }
        }
        // Without a chain it is the proxy's own word.
        let alone = request(Method::GET, "/x").header("x-forwarded-proto", "https");
        assert_eq!(client.ask(alone.body(empty()).unwrap()).await.status, 200);
    }
}

#[tokio::test]
async fn a_scheme_that_a_client_tells_is_none() {
    let endpoint = Endpoint::start("a").await;
    for listener in ["", "forwarded = { mode = \"append\" }", "forwarded = { trusted = [\"10.0.0.0/8\"] }"] {
        let weir = Weir::start(&to_https(listener, &endpoint)).await;
        let asked = request(Method::GET, "/x").header("x-forwarded-proto", "https");
        let reply = Client::http1(weir.web()).await.ask(asked.body(empty()).unwrap()).await;
        assert_eq!(reply.status, 308, "{listener}");
    }
}

#[tokio::test]
async fn trust_is_in_the_address_that_a_proxy_header_tells() {
    let endpoint = Endpoint::start("a").await;
    let listener = "proxy-protocol = { accept = \"required\", trusted = [\"127.0.0.1\"] }\n\
                    forwarded = { trusted = [\"198.51.100.0/24\"] }";
    let weir = Weir::start(&to_https(listener, &endpoint)).await;
    for (source, status) in [("198.51.100.7", "200"), ("203.0.113.9", "308")] {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(format!("PROXY TCP4 {source} 192.0.2.80 4711 80\r\n")).await;
        raw.send(
            "GET /x HTTP/1.1\r\nHost: weir.test\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\r\n",
        )
        .await;
        assert_eq!(raw.response().await.0.split(' ').nth(1), Some(status), "{source}");
    }
    assert_eq!(endpoint.last().values("x-forwarded-for"), ["192.0.2.1, 198.51.100.7"]);
}

#[tokio::test]
async fn a_check_tells_of_modes_that_trust_nobody() {
    let check = |mode: &str| {
        let text = format!(
            "[listeners.web]\naddress = \"127.0.0.1:0\"\nforwarded = {{ mode = \"{mode}\" }}\n\
             [[routes]]\nname = \"r\"\nrespond = {{}}\n"
        );
        String::from_utf8(Setup::new(&text).check().stderr).unwrap()
    };
    assert!(check("append").contains("endpoints are told what any client writes"), "{}", check("append"));
    assert!(check("trusted").contains("no proxy is trusted"), "{}", check("trusted"));
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
        assert_eq!(told, [format!("{}, 127.0.0.1", lines.join(", "))], "{lines:?}");
    }
}

#[tokio::test]
async fn nobody_else_is_believed() {
    for (trusted, lines, chain) in [
        (r#"["10.0.0.0/8"]"#, &["203.0.113.9"], "127.0.0.1"),
        (r#"["127.0.0.1"]"#, &["nonsense"], "nonsense, 127.0.0.1"),
    ] {
        let (told, logged) = client_behind(trusted, lines).await;
        assert_eq!(told, [chain]);
        assert!(logged.starts_with("127.0.0.1:") && !logged.ends_with(":0"), "{logged}");
    }
}

#[tokio::test]
async fn a_chain_is_added_to_with_the_proxy_that_asked() {
    let seen = seen(r#"forwarded = { mode = "append", trusted = ["127.0.0.0/8"] }"#).await;
    assert_eq!(seen.values("x-forwarded-for"), ["192.0.2.1, 127.0.0.1"]);
}
