//! Routes that send clients elsewhere.

use http::Method;

use super::harness::{Ca, Client, Raw, Setup, Weir, empty, get, request};

async fn weir(route: &str) -> Weir {
    Weir::start(&format!("[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"r\"\n{route}\n")).await
}

#[tokio::test]
async fn http_goes_to_https_and_https_stays() {
    let ca = Ca::new();
    let config = "[listeners.web]\naddress = \"127.0.0.1:0\"\n[listeners.secure]\naddress = \"127.0.0.1:0\"\n\
         tls = { certificates = [{ cert = \"weir.pem\", key = \"weir.key\" }] }\n\
         [[routes]]\nname = \"to-https\"\nmatch = { scheme = \"http\" }\nredirect = { scheme = \"https\" }\n\
         [[routes]]\nname = \"all\"\nrespond = { body = \"secure\" }\n";
    let weir = Setup::new(config).certificate("weir", &ca.issue(&["weir.test"])).start().await;
    let reply = get(weir.web(), "/a/b?c=d").await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (308, "https://weir.test/a/b?c=d"));
    assert_eq!((reply.header("content-length"), reply.text()), ("0", ""));
    for alpn in ["h2", "http/1.1"] {
        let mut client = Client::tls(weir.listener("secure"), &ca, "weir.test", &[alpn]).await;
        assert_eq!(client.get("/a/b").await.text(), "secure");
    }
    let mut plain = Client::http2(weir.web()).await;
    assert_eq!(plain.get("/x").await.header("location"), "https://weir.test/x");
    let line = weir.logged("/a/b?c=d").await;
    assert_eq!((&line["route"], &line["status"]), (&"to-https".into(), &308.into()));
}

#[tokio::test]
async fn parts_of_the_location_are_replaced() {
    for (matcher, redirect, path, status, location) in [
        ("{}", "{ status = 301, host = \"www.example.com\" }", "/x?y", 301, "http://www.example.com/x?y"),
        ("{}", "{ port = 8443, scheme = \"https\" }", "/x", 308, "https://weir.test:8443/x"),
        (
            "{ path-prefix = \"/old\" }",
            "{ prefix = \"/new\", status = 302 }",
            "/old/a?b",
            302,
            "http://weir.test/new/a?b",
        ),
        ("{}", "{ path = \"/\", strip-query = true, status = 303 }", "/a?b", 303, "http://weir.test/"),
    ] {
        let weir = weir(&format!("match = {matcher}\nredirect = {redirect}")).await;
        let reply = get(weir.web(), path).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (status, location), "{redirect}");
        let head = request(Method::HEAD, path).body(empty()).unwrap();
        assert_eq!(Client::http1(weir.web()).await.ask(head).await.header("location"), location);
    }
}

#[tokio::test]
async fn a_hostile_path_names_no_other_host() {
    let weir = weir("match = { path-prefix = \"/old\" }\nredirect = { prefix = \"/\" }").await;
    for (target, location) in [
        ("/old//evil.example/%2f..", "http://weir.test/evil.example/%2F.."),
        ("/old/%0d%0aset-cookie:x=1", "http://weir.test/%0D%0Aset-cookie:x=1"),
        ("/old/\"><script>", "http://weir.test/%22%3E%3Cscript%3E"),
        ("/old/?q=\"", "http://weir.test/?q=%22"),
    ] {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(format!("GET {target} HTTP/1.1\r\nHost: weir.test\r\n\r\n")).await;
        let (head, _) = raw.response().await;
        let refused = head.starts_with("HTTP/1.1 400 ");
        assert!(refused || head.contains(&format!("location: {location}\r\n")), "{target}\n{head}");
    }
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("GET /old//evil.example/ HTTP/1.0\r\n\r\n").await;
    let (head, _) = raw.response().await;
    assert!(head.contains(&format!("location: http://{}/evil.example/\r\n", weir.web())), "{head}");
}
