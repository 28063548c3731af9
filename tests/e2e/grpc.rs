//! Calls of gRPC: what passes, when their time is over, and what Weir itself says to them.

use http::{HeaderMap, Method, request::Builder};

use super::harness::{Body, Client, Endpoint, RawEndpoint, Reply, Reserved, Weir, channel, full, request, soon};

fn call(path: &str) -> Builder {
    request(Method::POST, path).header("content-type", "application/grpc+proto").header("te", "trailers")
}

fn one() -> Body {
    full("message")
}

/// The status that gRPC's clients read, of a call that failed without a message.
fn told(reply: &Reply) -> &str {
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/grpc"));
    assert!(reply.body.is_empty() && reply.trailers.is_none(), "{reply:?}");
    assert!(!reply.header("grpc-message").is_empty());
    reply.header("grpc-status")
}

async fn before(endpoint: &Endpoint, route: &str) -> Weir {
    Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"web\"\ncluster = \"web\"\n{route}\n\
         [clusters.web]\nendpoints = [\"{}\"]\nhttp2 = true\n",
        endpoint.address
    ))
    .await
}

#[tokio::test]
async fn fields_and_trailers_pass_both_ways() {
    let endpoint = Endpoint::start("a").await;
    let weir = before(&endpoint, "").await;
    let mut client = Client::http2(weir.web()).await;
    let reply = client.ask(call("/trailers").header("grpc-timeout", "1H").body(one()).unwrap()).await;
    assert_eq!(reply.text(), "body");
    assert_eq!(reply.trailers.unwrap()["x-sum"], "4");
    let seen = endpoint.last();
    assert_eq!(seen.version, http::Version::HTTP_2);
    for (name, value) in [("te", "trailers"), ("content-type", "application/grpc+proto"), ("grpc-timeout", "1H")] {
        assert_eq!(seen.values(name), [value], "{name}");
    }
}

#[tokio::test]
async fn messages_of_a_stream_pass_as_they_come() {
    let endpoint = Endpoint::start("a").await;
    let weir = before(&endpoint, "").await;
    let mut client = Client::http2(weir.web()).await;
    let (sender, body) = channel();
    sender.data("0");
    let asked = call("/echo").header("trailer", "grpc-status").body(body).unwrap();
    let mut echo = client.send(asked).await.unwrap().into_body();
    for number in 0..20 {
        let frame = soon("a message", http_body_util::BodyExt::frame(&mut echo)).await.unwrap().unwrap();
        assert_eq!(frame.data_ref().unwrap(), &number.to_string());
        sender.data((number + 1).to_string());
    }
    sender.trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]));
    let rest = soon("the end", http_body_util::BodyExt::collect(echo)).await.unwrap();
    assert_eq!(rest.trailers().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn failures_of_ours_are_told_in_its_words() {
    let reserved = Reserved::new();
    let weir = Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"web\"\nmatch = {{ path-prefix = \"/web\" }}\ncluster = \"web\"\n\
         [clusters.web]\nendpoints = [\"{}\"]\nhttp2 = true\n",
        reserved.address
    ))
    .await;
    let mut client = Client::http2(weir.web()).await;
    let reply = client.ask(call("/elsewhere/Do").body(one()).unwrap()).await;
    assert_eq!(told(&reply), "12");
    assert_eq!(weir.logged("/elsewhere/Do").await["status"], 404, "the log says what it is elsewhere");
    let reply = client.ask(call("/web/Do").body(one()).unwrap()).await;
    assert_eq!(told(&reply), "14");
    assert_eq!(weir.logged("/web/Do").await["status"], 502);
    // Whoever does not speak gRPC is told as ever.
    let web = request(Method::POST, "/plain").header("content-type", "application/grpc-web");
    assert_eq!(client.ask(web.body(one()).unwrap()).await.status, 404);
    let mut old = Client::http1(weir.web()).await;
    assert_eq!(old.ask(call("/old").body(one()).unwrap()).await.status, 404);
}

#[tokio::test]
async fn a_deadline_of_the_client_ends_the_call() {
    let endpoint = Endpoint::start("a").await;
    let weir = before(&endpoint, "timeout = \"1h\"").await;
    let mut client = Client::http2(weir.web()).await;
    let reply = client.ask(call("/hang").header("grpc-timeout", "200m").body(one()).unwrap()).await;
    assert_eq!((told(&reply), reply.header("grpc-message")), ("4", "deadline exceeded"));
    let line = weir.logged("/hang").await;
    assert_eq!((&line["status"], &line["error"]), (&504.into(), &"deadline of the client passed".into()));
    // Fields of other requests mean nothing.
    let plain = request(Method::POST, "/count").header("grpc-timeout", "0n");
    assert_eq!(client.ask(plain.body(one()).unwrap()).await.text(), "7");
}

#[tokio::test]
async fn the_route_may_give_less_time_than_the_client() {
    let endpoint = Endpoint::start("a").await;
    let weir = before(&endpoint, "timeout = \"200ms\"").await;
    let mut client = Client::http2(weir.web()).await;
    let reply = client.ask(call("/hang").header("grpc-timeout", "99999999H").body(one()).unwrap()).await;
    assert_eq!(told(&reply), "4");
    assert_eq!(weir.logged("/hang").await["error"], "route timed out");
}

#[tokio::test]
async fn a_response_under_way_ends_with_the_status() {
    let endpoint = Endpoint::start("a").await;
    let weir = before(&endpoint, "").await;
    let mut client = Client::http2(weir.web()).await;
    let reply = client.ask(call("/half").header("grpc-timeout", "2S").body(one()).unwrap()).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "first "));
    assert_eq!(reply.trailers.unwrap()["grpc-status"], "4");
    assert_eq!(weir.logged("/half").await["error"], "deadline of the client passed");
}

const UNAVAILABLE: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: 14\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_call_that_fails_without_a_message_may_be_made_again() {
    let (failing, good) = (RawEndpoint::answering(UNAVAILABLE).await, Endpoint::start("a").await);
    let text =
        "balance = \"first\"\nretries = { on = [\"unavailable\", \"resource-exhausted\"], methods = [\"POST\"] }";
    let weir = Weir::before_with(&[failing.address, good.address], text).await;
    let mut client = Client::http2(weir.web()).await;
    assert_eq!(client.ask(call("/made-again").body(one()).unwrap()).await.text(), "a");
    assert_eq!(weir.logged("/made-again").await["retries"], "grpc-14");
    assert_eq!(weir.metric("weir_retries_total{cluster=\"web\",reason=\"grpc-status\"}").await, 1.0);
    let weir = Weir::before_with(&[failing.address, good.address], &text.replace("\"unavailable\", ", "")).await;
    let mut client = Client::http2(weir.web()).await;
    let reply = client.ask(call("/not-again").body(one()).unwrap()).await;
    assert_eq!(reply.header("grpc-status"), "14", "another status was asked for");
}
