//! Which route takes a request.

use http::Method;

use super::harness::{Client, Weir, empty, request};

/// A route that answers with its name for each matcher, and one for the rest.
async fn weir(matchers: &[(&str, &str)]) -> Weir {
    let mut text = "[listeners.web]\naddress = \"127.0.0.1:0\"\n".to_owned();
    for (name, matcher) in matchers {
        text += &format!("[[routes]]\nname = \"{name}\"\nmatch = {{ {matcher} }}\nrespond = {{ body = \"{name}\" }}\n");
    }
    text += "[[routes]]\nname = \"rest\"\nrespond = { body = \"rest\" }\n";
    Weir::start(&text).await
}

async fn ask(weir: &Weir, asked: http::request::Builder) -> String {
    Client::http1(weir.web()).await.ask(asked.body(empty()).unwrap()).await.text().to_owned()
}

#[tokio::test]
async fn by_host() {
    let weir = weir(&[("exact", r#"host = "api.example.com""#), ("below", r#"host = "*.example.com""#)]).await;
    for (host, route) in [
        ("api.example.com", "exact"),
        ("API.Example.COM:8080", "exact"),
        ("a.example.com", "below"),
        ("a.b.example.com", "below"),
        ("example.com", "rest"),
        ("api.example.org", "rest"),
    ] {
        assert_eq!(ask(&weir, request(Method::GET, "/").header("host", host)).await, route, "{host}");
        let mut client = Client::http2(weir.web()).await;
        let asked = request(Method::GET, "/").header("host", host).body(empty()).unwrap();
        assert_eq!(client.ask(asked).await.text(), route, "{host} by HTTP/2");
    }
}

#[tokio::test]
async fn by_path() {
    let weir = weir(&[("exact", r#"path = "/ping""#), ("prefix", r#"path-prefix = "/v1""#)]).await;
    for (path, route) in [
        ("/ping", "exact"),
        ("/ping?x=1", "exact"),
        ("/ping/", "rest"),
        ("/v1", "prefix"),
        ("/v1/", "prefix"),
        ("/v1/a/b?c", "prefix"),
        ("/v10", "rest"),
        ("/", "rest"),
    ] {
        assert_eq!(ask(&weir, request(Method::GET, path)).await, route, "{path}");
    }
}

#[tokio::test]
async fn by_header() {
    let weir = weir(&[("blue", r#"headers = { x-team = "blue", x-env = "prod" }"#)]).await;
    let asked = |team: &str, env: &str| request(Method::GET, "/").header("X-Team", team).header("x-env", env);
    assert_eq!(ask(&weir, asked("blue", "prod")).await, "blue");
    assert_eq!(ask(&weir, asked("blue", "test")).await, "rest");
    assert_eq!(ask(&weir, asked("red", "prod").header("x-team", "blue")).await, "blue");
    assert_eq!(ask(&weir, request(Method::GET, "/").header("x-team", "blue")).await, "rest");
}

#[tokio::test]
async fn by_method() {
    let weir = weir(&[("write", r#"methods = ["POST", "PUT"]"#)]).await;
    for (method, route) in [(Method::POST, "write"), (Method::PUT, "write"), (Method::GET, "rest")] {
        assert_eq!(ask(&weir, request(method, "/")).await, route);
    }
}

#[tokio::test]
async fn by_query() {
    let weir = weir(&[("two", r#"query = { v = "2", mode = "a b" }"#)]).await;
    for (path, route) in
        [("/?v=2&mode=a%20b", "two"), ("/?mode=a+b&v=1&v=2", "two"), ("/?v=2", "rest"), ("/?v=22&mode=a%20b", "rest")]
    {
        assert_eq!(ask(&weir, request(Method::GET, path)).await, route, "{path}");
    }
}

#[tokio::test]
async fn by_cookie() {
    let weir = weir(&[("beta", r#"cookies = { stage = "beta" }"#)]).await;
    let asked = |cookie: &str| request(Method::GET, "/").header("cookie", cookie);
    assert_eq!(ask(&weir, asked("a=1; stage=beta; b=2")).await, "beta");
    assert_eq!(ask(&weir, asked("stage=alpha")).await, "rest");
    assert_eq!(ask(&weir, asked("xstage=beta")).await, "rest");
}

#[tokio::test]
async fn the_first_that_fits_wins() {
    let weir = weir(&[
        ("narrow", r#"path-prefix = "/a", methods = ["GET"]"#),
        ("wide", r#"path-prefix = "/a""#),
        ("never", r#"path = "/a/b""#),
    ])
    .await;
    assert_eq!(ask(&weir, request(Method::GET, "/a/b")).await, "narrow");
    assert_eq!(ask(&weir, request(Method::POST, "/a/b")).await, "wide");
}
