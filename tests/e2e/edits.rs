//! What routes change on requests and responses.

use http::Method;

use super::harness::{Client, Endpoint, Raw, RawEndpoint, Weir, empty, get, guest, request};

/// Whether nothing, or something, is before a cluster of this endpoint.
async fn weir(endpoint: &Endpoint, route: &str) -> Weir {
    Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"r\"\n{route}\ncluster = \"web\"\n\
         [clusters.web]\nendpoints = [\"{}\"]\n",
        endpoint.address
    ))
    .await
}

#[tokio::test]
async fn headers_are_set_added_and_removed_both_ways() {
    let endpoint = Endpoint::start("one").await;
    let route = r#"
        [routes.request-headers]
        set = { x-from = "{client-address} by {scheme} on {listener}/{route} to {cluster}", x-twice = "ours" }
        add = { x-many = "ours", x-asked = "{method} {host}{path}" }
        remove = ["X-Secret", "x-absent"]
        [routes.response-headers]
        set = { x-endpoint = "{endpoint}" }
        add = { strict-transport-security = "max-age=63072000", x-braces = "{{}}" }
        remove = ["content-length", "date"]
    "#
    .replace("remove = [\"content-length\", \"date\"]", "remove = [\"date\"]");
    let weir = Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"r\"\ncluster = \"web\"\n{route}\n\
         [clusters.web]\nendpoints = [\"{}\"]\n",
        endpoint.address
    ))
    .await;
    for version in [1, 2] {
        let mut client = if version == 1 { Client::http1(weir.web()).await } else { Client::http2(weir.web()).await };
        let asked = request(Method::GET, "/a?b")
            .header("x-secret", "s")
            .header("x-twice", "theirs")
            .header("x-twice", "theirs again")
            .header("x-many", "theirs");
        let reply = client.ask(asked.body(empty()).unwrap()).await;
        let seen = endpoint.last();
        assert_eq!(seen.values("x-from"), ["127.0.0.1 by http on web/r to web"]);
        assert_eq!(seen.values("x-twice"), ["ours"]);
        assert_eq!(seen.values("x-many"), ["theirs", "ours"]);
        assert_eq!(seen.values("x-asked"), ["GET weir.test/a"]);
        assert!(seen.values("x-secret").is_empty());
        assert_eq!(reply.header("x-endpoint"), endpoint.address.to_string());
        assert_eq!(reply.header("strict-transport-security"), "max-age=63072000");
        assert_eq!(reply.header("x-braces"), "{}");
        assert_eq!(reply.text(), "one");
    }
}

#[tokio::test]
async fn answers_of_ours_are_edited_too() {
    let weir = Weir::start(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"fixed\"\nmatch = { path = \"/fixed\" }\nrespond = { headers = { server = \"x\" } }\n\
         response-headers = { set = { x-route = \"{route}\" }, remove = [\"server\"] }\n\
         [[routes]]\nname = \"away\"\nmatch = { path = \"/away\" }\nredirect = { path = \"/\" }\n\
         response-headers = { set = { x-route = \"{route}\" } }\n\
         [[routes]]\nname = \"broken\"\ncluster = \"web\"\nresponse-headers = { set = { x-route = \"{route} {cluster}\" } }\n\
         [clusters.web]\nendpoints = [\"127.0.0.1:1\"]\n",
    )
    .await;
    for (path, status, route) in [("/fixed", 200, "fixed"), ("/away", 308, "away"), ("/", 502, "broken web")] {
        let reply = get(weir.web(), path).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-route")), (status, route), "{path}");
        assert_eq!(reply.header("server"), "");
    }
}

#[tokio::test]
async fn paths_and_hosts_are_rewritten() {
    let endpoint = Endpoint::start("one").await;
    for (route, asked, seen, host) in [
        ("match.path-prefix = \"/v1\"\nrewrite = { prefix = \"/\" }", "/v1/a/b?c=d", "/a/b?c=d", "weir.test"),
        ("match.path-prefix = \"/v1\"\nrewrite = { prefix = \"/\" }", "/v1", "/", "weir.test"),
        ("match.path-prefix = \"/v1\"\nrewrite = { prefix = \"/v2\" }", "/v1/?x", "/v2/?x", "weir.test"),
        ("rewrite = { path = \"/index.html\" }", "/any?x", "/index.html?x", "weir.test"),
        (
            "rewrite = { regex = \"^/user/([^/]+)\", with = \"/u/$1\", host = \"in.example:81\" }",
            "/user/ann/x",
            "/u/ann/x",
            "in.example:81",
        ),
        ("rewrite = { regex = \"^/user/([^/]+)\", with = \"/u/$1\" }", "/other", "/other", "weir.test"),
    ] {
        let weir = weir(&endpoint, route).await;
        assert_eq!(get(weir.web(), asked).await.status, 200);
        let last = endpoint.last();
        assert_eq!((last.uri.to_string().as_str(), last.values("host")[0].as_str()), (seen, host), "{route}");
        assert_eq!(weir.logged(asked).await["host"], "weir.test", "the log has what the client asked for");
    }
}

#[tokio::test]
async fn hostile_paths_stay_below_the_prefix() {
    let endpoint = Endpoint::start("one").await;
    let weir = weir(&endpoint, "match.path-prefix = \"/v1\"\nrewrite = { prefix = \"/api\" }").await;
    for (target, status) in [
        ("/v1/../x", "404"),
        ("/v1/%2e%2e/x", "404"),
        ("/v1/../../x", "400"),
        ("/v1/..%2fx", "400"),
        ("/v1/a%2f..%2f..%2fx", "400"),
        ("/v1/a/..%2fx", "400"),
        ("/v1/..;a=b/x", "400"),
    ] {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(format!("GET {target} HTTP/1.1\r\nHost: weir.test\r\n\r\n")).await;
        let head = raw.head().await;
        assert_eq!(head.split(' ').nth(1), Some(status), "{target}\n{head}");
    }
    assert_eq!(endpoint.requests(), 0);
    for (target, seen) in
        [("/v1//a", "/api/a"), ("/v1/%2fa", "/api/%2Fa"), ("/v1/.../a", "/api/.../a"), ("/v1/a/.%2E", "/api/")]
    {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(format!("GET {target} HTTP/1.1\r\nHost: weir.test\r\n\r\n")).await;
        raw.response().await;
        assert_eq!(endpoint.last().uri.to_string(), seen);
    }
    let line = weir.logged("/v1/a/..%2fx").await;
    assert_eq!((&line["status"], &line["error"]), (&400.into(), &"path with ..".into()));
}

#[tokio::test]
async fn a_plugin_has_the_last_word_on_the_path_and_the_route_on_headers() {
    let endpoint = Endpoint::start("one").await;
    let weir = Weir::start(&format!(
        "[plugins.told]\npath = \"{}\"\ndeadline = \"100ms\"\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"r\"\nplugins = [{{ plugin = \"told\", settings = {{ do = \"forward\" }} }}]\n\
         cluster = \"web\"\nrewrite = {{ path = \"/rewritten\" }}\nrequest-headers = {{ set = {{ x-set = \"route\" }} }}\n\
         [clusters.web]\nendpoints = [\"127.0.0.1:1\"]\n\
         [clusters.other]\nendpoints = [{{ address = \"{}\", labels = {{ version = \"v2\" }} }}]\n",
        guest("misbehave").display(),
        endpoint.address
    ))
    .await;
    assert_eq!(get(weir.web(), "/old").await.status, 200);
    let seen = endpoint.last();
    assert_eq!((seen.uri.to_string().as_str(), seen.values("x-set")), ("/new?a=b", vec!["route".to_owned()]));
}

#[tokio::test]
async fn trailers_say_nothing_of_what_is_edited() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        let asked = raw.until("\r\n\r\n").await.to_ascii_lowercase();
        assert_eq!(asked, "3\r\nabc\r\n0\r\nx-sum: 4\r\n\r\n");
        raw.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n").await;
        raw.send("0\r\nX-Inner: 1\r\nX-Ours: 1\r\nX-Sum: 5\r\n\r\n").await;
        raw.rest().await;
    })
    .await;
    let weir = Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"r\"\ncluster = \"web\"\n\
         request-headers = {{ remove = [\"x-internal\"], set = {{ x-role = \"guest\" }} }}\n\
         response-headers = {{ remove = [\"x-inner\"], set = {{ x-ours = \"2\" }} }}\n\
         [clusters.web]\nendpoints = [\"{}\"]\n",
        endpoint.address
    ))
    .await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("POST / HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    raw.send("0\r\nX-Internal: 1\r\nX-Role: admin\r\nX_Role: admin\r\nX-Sum: 4\r\n\r\n").await;
    assert!(raw.head().await.contains("\r\nx-ours: 2\r\n"));
    assert_eq!(raw.until("\r\n\r\n").await, "2\r\nok\r\n0\r\nx-sum: 5\r\n\r\n");
}

#[tokio::test]
async fn an_underscore_brings_no_field_past_an_edit() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        let head = raw.head().await.to_ascii_lowercase();
        assert!(head.contains("\r\nx-role: guest\r\n"), "{head}");
        assert!(!head.contains("admin"), "{head}");
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        raw.rest().await;
    })
    .await;
    let weir = Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"r\"\ncluster = \"web\"\n\
         request-headers = {{ remove = [\"x-user\"], set = {{ x-role = \"guest\" }} }}\n\
         [clusters.web]\nendpoints = [\"{}\"]\n",
        endpoint.address
    ))
    .await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("GET / HTTP/1.1\r\nHost: weir.test\r\nX_User: admin\r\nX-User: admin\r\nX_Role: admin\r\n\r\n").await;
    assert_eq!(raw.response().await.1, "ok");
}
