//! HTTP/1.1 messages as they appear on the wire.

use tokio::io::AsyncReadExt;

use super::harness::{Endpoint, Raw, RawEndpoint, Weir, soon};

async fn before_endpoint() -> (Endpoint, Weir, Raw) {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before(&[endpoint.address]).await;
    let raw = Raw::connect(weir.web()).await;
    (endpoint, weir, raw)
}

async fn before_raw(answer: &'static str) -> (RawEndpoint, Weir, Raw) {
    let endpoint = RawEndpoint::answering(answer).await;
    let weir = Weir::before(&[endpoint.address]).await;
    let raw = Raw::connect(weir.web()).await;
    (endpoint, weir, raw)
}

fn has(head: &str, field: &str) -> bool {
    head.lines().any(|line| line.eq_ignore_ascii_case(field))
}

#[tokio::test]
async fn continue_is_said_by_the_endpoint_that_wants_the_body() {
    let (_endpoint, _weir, mut raw) = before_endpoint().await;
    raw.send("POST /count HTTP/1.1\r\nHost: weir.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    assert_eq!(raw.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    raw.send("12345").await;
    let (head, body) = raw.response().await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "5");
}

#[tokio::test]
async fn an_endpoint_that_does_not_want_the_body_says_no_continue() {
    let (_endpoint, _weir, mut raw) = before_endpoint().await;
    raw.send("POST /early HTTP/1.1\r\nHost: weir.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    let (head, body) = raw.response().await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "a");
    assert!(has(&head, "connection: close"), "{head}");
}

#[tokio::test]
async fn an_unknown_expectation_is_417() {
    let (endpoint, _weir, mut raw) = before_endpoint().await;
    raw.send("POST /count HTTP/1.1\r\nHost: weir.test\r\nExpect: magic\r\nContent-Length: 5\r\n\r\n").await;
    assert!(raw.head().await.starts_with("HTTP/1.1 417 "));
    assert_eq!(endpoint.requests(), 0);
}

#[tokio::test]
async fn other_informational_responses_pass() {
    let (_endpoint, _weir, mut raw) = before_raw(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    raw.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    for hint in ["link: </a.css>", "link: </b.css>"] {
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 103 ") && has(&head, hint), "{head}");
    }
    assert_eq!(raw.response().await.1, "ok");
}

#[tokio::test]
async fn an_early_answer_to_a_large_body_is_seen() {
    let (_endpoint, _weir, mut raw) = before_endpoint().await;
    raw.send("POST /early HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 100000000\r\n\r\n").await;
    raw.send(vec![b'x'; 50_000]).await;
    let (head, body) = raw.response().await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "a");
    raw.closed().await;
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let (_endpoint, _weir, mut raw) = before_endpoint().await;
    raw.send("HEAD /octets/9 HTTP/1.1\r\nHost: weir.test\r\n\r\nGET /end HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    let head = raw.head().await;
    assert!(has(&head, "content-length: 9"), "{head}");
    assert_eq!(raw.response().await.1, "a");
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let (_endpoint, _weir, mut raw) = before_endpoint().await;
    for status in ["204 No Content", "304 Not Modified"] {
        raw.send(format!("GET /status/{} HTTP/1.1\r\nHost: weir.test\r\n\r\n", &status[..3])).await;
        let head = raw.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
        assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
    }
    raw.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    assert_eq!(raw.response().await.1, "a");
}

#[tokio::test]
async fn chunks_pass_both_ways() {
    let (endpoint, _weir, mut raw) = before_endpoint().await;
    raw.send("POST /echo HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    raw.send("5;ext=1\r\nhello\r\n").await;
    let head = raw.head().await;
    assert!(has(&head, "transfer-encoding: chunked"), "{head}");
    assert_eq!(raw.until("hello\r\n").await, "5\r\nhello\r\n");
    raw.send("0\r\n\r\n").await;
    assert_eq!(raw.until("0\r\n\r\n").await, "0\r\n\r\n");
    assert_eq!(endpoint.last().values("transfer-encoding"), ["chunked"]);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (endpoint, _weir, mut raw) = before_endpoint().await;
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: weir.test\r\n\r\n");
    raw.send(format!("{}{}{}", one("/octets/1"), one("/octets/2"), one("/octets/3"))).await;
    for length in 1..=3 {
        assert_eq!(raw.response().await.1.len(), length);
    }
    assert_eq!(endpoint.requests(), 3);
}

#[tokio::test]
async fn an_http10_client_gets_no_chunks_and_a_close() {
    let (endpoint, _weir, mut raw) = before_endpoint().await;
    raw.send("GET /chunks/5 HTTP/1.0\r\nHost: weir.test\r\n\r\n").await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
    assert_eq!(raw.rest().await, "xxxxx");
    assert_eq!(endpoint.last().version, http::Version::HTTP_11);
}

#[tokio::test]
async fn an_http10_client_may_keep_its_connection() {
    let (_endpoint, _weir, mut raw) = before_endpoint().await;
    for _ in 0..2 {
        raw.send("GET / HTTP/1.0\r\nHost: weir.test\r\nConnection: keep-alive\r\n\r\n").await;
        let (head, body) = raw.response().await;
        assert!(has(&head, "connection: keep-alive"), "{head}");
        assert_eq!(body, "a");
    }
}

#[tokio::test]
async fn a_client_that_wants_to_close_is_let_go() {
    let (_endpoint, _weir, mut raw) = before_endpoint().await;
    raw.send("GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n").await;
    let (head, _) = raw.response().await;
    assert!(has(&head, "connection: close"), "{head}");
    raw.closed().await;
}

#[tokio::test]
async fn an_http10_endpoint_without_length_is_read_to_its_close() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        raw.send("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
    })
    .await;
    let weir = Weir::before(&[endpoint.address]).await;
    let reply = super::harness::get(weir.web(), "/").await;
    assert_eq!((reply.version, reply.text()), (http::Version::HTTP_11, "until the end"));
}

#[tokio::test]
async fn what_is_about_the_connection_stays_on_it() {
    let (endpoint, _weir, mut raw) = before_endpoint().await;
    raw.send(
        "GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: X-Mine, keep-alive\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nTE: gzip\r\nX-Kept: 2\r\n\r\n",
    )
    .await;
    raw.response().await;
    let seen = endpoint.last();
    for name in ["connection", "x-mine", "keep-alive", "proxy-connection", "te"] {
        assert!(!seen.headers.contains_key(name), "{name}: {:?}", seen.headers);
    }
    assert_eq!(seen.values("x-kept"), ["2"]);
}

#[tokio::test]
async fn what_is_about_the_endpoints_connection_stays_there() {
    let (_endpoint, _weir, mut raw) = before_raw(
        "HTTP/1.1 200 OK\r\nConnection: X-Theirs\r\nX-Theirs: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: 2\r\n\
         Content-Length: 2\r\n\r\nok",
    )
    .await;
    raw.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    let (head, _) = raw.response().await;
    let names: Vec<String> =
        head.lines().filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase())).collect();
    for name in ["connection", "x-theirs", "keep-alive"] {
        assert!(!names.iter().any(|one| one == name), "{head}");
    }
    assert!(names.iter().any(|one| one == "x-kept"), "{head}");
}

#[tokio::test]
async fn a_426_says_what_to_upgrade_to() {
    let (_endpoint, weir, mut raw) = before_raw(
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nKeep-Alive: timeout=5\r\n\
         Content-Length: 2\r\n\r\nno",
    )
    .await;
    for (asked, connection) in
        [("", "connection: upgrade\r\n"), ("Connection: close\r\n", "connection: close, upgrade\r\n")]
    {
        raw.send(format!("GET / HTTP/1.1\r\nHost: weir.test\r\n{asked}\r\n")).await;
        let (head, _) = raw.response().await;
        let head = head.to_ascii_lowercase();
        assert!(head.contains("upgrade: websocket\r\n") && head.contains(connection), "{head}");
        assert!(!head.contains("keep-alive"), "{head}");
    }
    let reply = super::harness::Client::http2(weir.web()).await.get("/").await;
    assert_eq!((reply.status.as_u16(), reply.text()), (426, "no"), "HTTP/2 has no such field");
}

#[tokio::test]
async fn a_path_with_octets_that_are_to_be_encoded_is_passed_on_encoded() {
    let (endpoint, weir, mut raw) = before_endpoint().await;
    raw.send("GET /a`<b>\"{}|^?q=<\"`> HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    assert!(raw.response().await.0.starts_with("HTTP/1.1 200 "));
    let logged = weir.logged("/a%60%3Cb%3E%22{}|^?q=%3C%22%60%3E").await;
    assert_eq!(logged["status"], 200, "{logged}");
    assert_eq!(endpoint.requests(), 1);
}

#[tokio::test]
async fn repeated_fields_keep_their_number_and_order() {
    let (_endpoint, _weir, mut raw) =
        before_raw("HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok").await;
    raw.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    let (head, _) = raw.response().await;
    let cookies: Vec<_> = head
        .lines()
        .filter_map(|line| line.to_ascii_lowercase().strip_prefix("set-cookie: ").map(str::to_owned))
        .collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

#[tokio::test]
async fn a_respond_route_answers_head_without_a_body() {
    let weir = Weir::start(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "teapot"
        respond = { status = 418, body = "short and stout", headers = { x-handle = "here" } }
        "#,
    )
    .await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("HEAD / HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    let head = raw.head().await;
    assert!(
        head.starts_with("HTTP/1.1 418 ") && has(&head, "content-length: 15") && has(&head, "x-handle: here"),
        "{head}"
    );
    raw.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    assert_eq!(raw.response().await.1, "short and stout");
}

#[tokio::test]
async fn an_http10_request_without_host_has_one_for_the_endpoint() {
    let (endpoint, _weir, mut raw) = before_endpoint().await;
    raw.send("GET / HTTP/1.0\r\n\r\n").await;
    let (head, body) = raw.response().await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body == "a", "{head}");
    assert_eq!(endpoint.last().values("host").len(), 1);
}

#[tokio::test]
async fn a_query_right_after_the_authority_is_one_of_the_root() {
    let (endpoint, _weir, mut raw) = before_endpoint().await;
    raw.send("GET http://weir.test?x=1 HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    assert_eq!(raw.response().await.1, "a");
    let seen = endpoint.last();
    assert_eq!((seen.uri.to_string().as_str(), seen.values("host")), ("/?x=1", vec!["weir.test".to_owned()]));
}

const PAGE: &str =
    "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"page\"\nrespond = { body = \"page\" }\n";

#[tokio::test]
async fn a_body_that_nobody_wants_is_passed_over_where_it_has_come() {
    let weir = Weir::start(PAGE).await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("POST /first HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 10\r\n\r\n0123456789").await;
    let (head, body) = raw.response().await;
    assert!(!has(&head, "connection: close"), "{head}");
    assert_eq!(body, "page");
    raw.send("GET /second HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    assert_eq!(raw.response().await.1, "page");
    for (path, octets) in [("/first", 10), ("/second", 0)] {
        assert_eq!(weir.logged(path).await["bytes_in"], octets, "{path}");
    }
}

#[tokio::test]
async fn a_client_that_has_its_answer_before_it_has_sent_its_body_is_told_to_come_again() {
    let weir = Weir::start(PAGE).await;
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.until("012").await;
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").await;
        raw.rest().await;
    })
    .await;
    let before = Weir::before(&[endpoint.address]).await;
    for (weir, sent) in [(&weir, ""), (&weir, "012"), (&before, "012")] {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(format!("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 10\r\n\r\n{sent}")).await;
        let (head, _) = raw.response().await;
        assert!(has(&head, "connection: close"), "{sent:?}: {head}");
    }
}

#[tokio::test]
async fn a_connection_goes_on_when_a_long_answer_was_done_before_the_body() {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{}", "x".repeat(20_000));
    let endpoint = RawEndpoint::start(move |mut raw, _| {
        let answer = answer.clone();
        async move {
            loop {
                raw.until("012").await;
                raw.send(&answer).await;
            }
        }
    })
    .await;
    let weir = Weir::before(&[endpoint.address]).await;
    let mut raw = Raw::connect(weir.web()).await;
    for _ in 0..2 {
        raw.send("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 10\r\n\r\n012").await;
        let (head, body) = raw.response().await;
        assert!(!has(&head, "connection: close"), "{head}");
        assert_eq!(body.len(), 20_000);
        raw.send("3456789").await;
    }
}

#[tokio::test]
async fn what_has_no_body_tells_no_length() {
    let (_endpoint, _weir, mut raw) = before_raw(
        "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    raw.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    let hints = raw.head().await;
    assert!(has(&hints, "link: </a>") && !hints.contains("content-length"), "{hints}");
    assert_eq!(raw.response().await.1, "ok");

    let (_endpoint, _weir, mut raw) = before_raw(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: lines\r\nContent-Length: 5\r\n\r\nhello",
    )
    .await;
    raw.send("GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: upgrade\r\nUpgrade: lines\r\n\r\n").await;
    let switched = raw.head().await;
    assert!(has(&switched, "upgrade: lines") && !switched.contains("content-length"), "{switched}");
    assert_eq!(raw.exactly(5).await, b"hello");
}

#[tokio::test]
async fn an_http10_client_sees_that_a_response_is_not_whole() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        raw.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    })
    .await;
    let weir = Weir::before(&[endpoint.address]).await;
    let mut raw = Raw::connect(weir.web()).await;
    raw.send("GET / HTTP/1.0\r\nHost: weir.test\r\n\r\n").await;
    let mut read = Vec::new();
    let end = soon("the end", raw.stream.read_to_end(&mut read)).await.unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn the_log_has_the_words_of_what_was_refused_and_none_for_what_was_not_read() {
    let weir = Weir::start(PAGE).await;
    for (asked, status, words) in [
        ("BREW /a HTTP/1.1\r\nHost: b\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, ["-", "-", ""]),
        ("PUT /c HTTP/1.1\r\nHost: d\r\nExpect: magic\r\n\r\n", 417, ["PUT", "/c", "d"]),
        ("CONNECT e:1 HTTP/1.1\r\nHost: e:1\r\nContent-Length: 1\r\n\r\n", 400, ["CONNECT", "", "e:1"]),
    ] {
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(asked).await;
        let head = raw.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        let line = weir.logged_where(asked, |line| line["method"] == words[0]).await;
        assert_eq!((&line["path"], &line["host"]), (&words[1].into(), &words[2].into()), "{line}");
    }
}
