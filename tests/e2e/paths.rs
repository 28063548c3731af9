//! One reading of a path for gates, plugins and endpoints, however it is written.

use http::Method;

use super::harness::{Client, Endpoint, Raw, Setup, Weir, empty, get, request};

/// `/admin` for another network, `/login` once a day, `/public`, and whatever else there is, before one endpoint.
fn gated(endpoint: &Endpoint, listener: &str) -> String {
    format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        {listener}
        [[routes]]
        name = "admin"
        match = {{ path-prefix = "/admin" }}
        allow = ["192.0.2.0/24"]
        cluster = "a"
        [[routes]]
        name = "login"
        match = {{ path-prefix = "/login" }}
        rate-limits = {{ rate = "1/1d" }}
        cluster = "a"
        [[routes]]
        name = "public"
        match = {{ path-prefix = "/public" }}
        cluster = "a"
        [[routes]]
        name = "rest"
        cluster = "a"
        [clusters.a]
        endpoints = ["{}"]
        "#,
        endpoint.address
    )
}

/// Statuses of these paths, exactly as they are written, over HTTP/1.1 and over HTTP/2.
async fn statuses(weir: &Weir, path: &str) -> [u16; 2] {
    let mut raw = Raw::connect(weir.web()).await;
    raw.send(format!("GET {path} HTTP/1.1\r\nHost: weir.test\r\n\r\n")).await;
    let (head, _) = raw.response().await;
    let http1 = head.split(' ').nth(1).unwrap().parse().unwrap();
    let asked = request(Method::GET, path).body(empty()).unwrap();
    [http1, Client::http2(weir.web()).await.ask(asked).await.status.as_u16()]
}

/// What the endpoint is asked for.
async fn sent(weir: &Weir, endpoint: &Endpoint, path: &str) -> String {
    assert_eq!(statuses(weir, path).await, [200, 200], "{path}");
    endpoint.last().uri.path_and_query().unwrap().to_string()
}

const SPELLINGS: [&str; 14] = [
    "/admin/",
    "//admin/",
    "/x/../admin/",
    "/./admin/",
    "/%61dmin/",
    "/admin%2f",
    "/admin%5Cusers",
    "/admin\\users",
    "/public/..%2fadmin",
    "/public/..;/admin",
    "/admin;x=1/",
    "/admin%3Bx=1/",
    "/;a=1%2f/admin%5c",
    "/x/%2e%2e//%41dmin/../admin",
];

#[tokio::test]
async fn no_spelling_of_a_path_passes_its_gate() {
    for listener in ["", r#"paths = { send = "as-sent" }"#, r#"paths = { encoded-slashes = "decode" }"#] {
        let endpoint = Endpoint::start("a").await;
        let weir = Weir::start(&gated(&endpoint, listener)).await;
        for path in SPELLINGS {
            let found = statuses(&weir, path).await;
            assert!(found == [403, 403] || found == [400, 400], "{listener}: {path}: {found:?}");
        }
        assert_eq!(endpoint.requests(), 0);
    }
}

#[tokio::test]
async fn the_usual_spellings_are_of_the_route_itself() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&gated(&endpoint, "")).await;
    for path in &SPELLINGS[..5] {
        assert_eq!(statuses(&weir, path).await, [403, 403], "{path}");
    }
    assert_eq!(weir.logged("/%61dmin/").await["route"], "admin", "the log has the path as it was sent");
}

#[tokio::test]
async fn a_limit_that_is_used_up_is_used_up_in_every_spelling() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&gated(&endpoint, "")).await;
    assert_eq!(get(weir.web(), "/login").await.status, 200);
    for path in ["/%6cogin", "//login", "/x/../login", "/./login", "/login/."] {
        assert_eq!(statuses(&weir, path).await, [429, 429], "{path}");
    }
    assert_eq!(statuses(&weir, "/login%2f").await, [400, 400]);
    assert_eq!(endpoint.requests(), 1);
}

#[tokio::test]
async fn a_path_that_leads_above_the_root_or_is_malformed_is_refused() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&gated(&endpoint, "")).await;
    for path in ["/x/../../etc", "/..", "/%2e%2e/etc", "/..%2fetc", "/a%00", "/%", "/%zz"] {
        assert_eq!(statuses(&weir, path).await, [400, 400], "{path}");
    }
    let refused = weir.logged("/x/../../etc").await;
    assert!(refused["error"].as_str().unwrap().contains("above the root"), "{refused}");
    assert_eq!(endpoint.requests(), 0);
}

#[tokio::test]
async fn endpoints_are_sent_what_was_matched() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&gated(&endpoint, "")).await;
    for (path, told) in [
        ("/a//b/./c?x=//y&z=%61", "/a/b/c?x=//y&z=%61"),
        ("/%7euser/%c3%bc", "/~user/%C3%BC"),
        ("/@scope%2fname", "/@scope%2Fname"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/public/../a", "/a"),
        ("/.well-known/x", "/.well-known/x"),
    ] {
        assert_eq!(sent(&weir, &endpoint, path).await, told, "{path}");
    }
    let line = weir.logged("/public/../a").await;
    assert_eq!(line["route"], "rest");
}

#[tokio::test]
async fn endpoints_can_be_sent_what_came() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&gated(&endpoint, r#"paths = { send = "as-sent" }"#)).await;
    for path in ["/bucket//key%2f%7e?X-Amz-Date=1", "/a/./b", "/%70ublic/x"] {
        assert_eq!(sent(&weir, &endpoint, path).await, path);
    }
    // An endpoint that resolves nothing would take it for one below `/admin`.
    assert_eq!(statuses(&weir, "/admin/../public").await, [400, 400]);
}

#[tokio::test]
async fn encoded_slashes_can_be_slashes_or_refused() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&gated(&endpoint, r#"paths = { encoded-slashes = "decode" }"#)).await;
    assert_eq!(sent(&weir, &endpoint, "/@scope%2fname%5cx").await, "/@scope/name/x");
    assert_eq!(statuses(&weir, "/admin%2f").await, [403, 403]);
    let weir = Weir::start(&gated(&endpoint, r#"paths = { encoded-slashes = "refuse" }"#)).await;
    assert_eq!(statuses(&weir, "/@scope%2fname").await, [400, 400]);
    assert_eq!(statuses(&weir, "/@scope/name").await, [200, 200]);
}

#[tokio::test]
async fn a_target_with_a_host_is_no_way_round() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&gated(&endpoint, "")).await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("GET http://weir.test/x/..//%61dmin HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    assert!(raw.response().await.0.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn a_prefix_is_replaced_in_every_spelling_and_nothing_climbs() {
    let endpoint = Endpoint::start("a").await;
    let text = |rewrite: &str| {
        format!(
            "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"r\"\n\
             match = {{ path-prefix = \"/v1\" }}\nrewrite = {{ {rewrite} }}\ncluster = \"a\"\n\
             [clusters.a]\nendpoints = [\"{}\"]\n",
            endpoint.address
        )
    };
    let weir = Weir::start(&text("prefix = \"/api\"")).await;
    for path in ["/v1/x", "//v1//x", "/%76%31/x", "/y/../v1/x"] {
        assert_eq!(sent(&weir, &endpoint, path).await, "/api/x", "{path}");
    }
    let weir = Weir::start(&text("regex = \"^/v1/x\", with = \"/api/\"")).await;
    assert_eq!(sent(&weir, &endpoint, "/v1/xy").await, "/api/y");
    assert_eq!(statuses(&weir, "/v1/x../secret").await, [400, 400]);
}

#[tokio::test]
async fn a_host_is_one_key_however_it_is_written() {
    let endpoint = Endpoint::start("a").await;
    let limit = r#"rate-limits = { rate = "1/1d", key = { header = "host" } }"#;
    let weir = Weir::start(&gated(&endpoint, limit)).await;
    for (host, status) in
        [("a.test", "200"), ("A.Test", "429"), ("a.test:8080", "429"), ("a.test.", "429"), ("b.test", "200")]
    {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(raw.response().await.0.split(' ').nth(1), Some(status), "{host}");
    }
}

#[tokio::test]
async fn a_check_tells_of_paths_that_gates_cannot_rely_on() {
    let endpoint = Endpoint::start("a").await;
    let check = |text: &str| {
        let output = Setup::new(text).check();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap()
    };
    assert!(!check(&gated(&endpoint, "")).contains("warning"));
    let told = check(&gated(&endpoint, r#"paths = { send = "as-sent" }"#));
    assert!(told.contains("`web` sends endpoints paths as they came, and `admin` guards some"), "{told}");
    let told = check(&gated(&endpoint, "").replace("\"/admin\"", "\"//%61dmin\""));
    assert!(told.contains("`//%61dmin` is matched as `/admin`"), "{told}");
}
