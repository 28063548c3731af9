//! HTTP/1.1 and HTTP/2 on either side, in all four combinations.

use http::{HeaderMap, HeaderValue, Method, Version, header::TE, header::TRAILER};

use super::harness::{Client, Endpoint, RawEndpoint, Weir, channel, empty, octets, request, with_trailers};

struct Road {
    client: Client,
    endpoint: Endpoint,
    weir: Weir,
    downstream: Version,
    upstream: Version,
}

async fn roads() -> Vec<Road> {
    let mut roads = Vec::new();
    for (downstream, upstream) in [
        (Version::HTTP_11, Version::HTTP_11),
        (Version::HTTP_11, Version::HTTP_2),
        (Version::HTTP_2, Version::HTTP_11),
        (Version::HTTP_2, Version::HTTP_2),
    ] {
        let endpoint = Endpoint::start("a").await;
        let cluster = format!("http2 = {}", upstream == Version::HTTP_2);
        let weir = Weir::before_with(&[endpoint.address], &cluster).await;
        let client = match downstream {
            Version::HTTP_2 => Client::http2(weir.web()).await,
            _ => Client::http1(weir.web()).await,
        };
        roads.push(Road { client, endpoint, weir, downstream, upstream });
    }
    roads
}

#[tokio::test]
async fn requests_pass_in_all_four_combinations() {
    for mut road in roads().await {
        let reply = road.client.get("/path/to?q=1&r=%20").await;
        assert_eq!((reply.version, reply.text()), (road.downstream, "a"));
        let seen = road.endpoint.last();
        assert_eq!(seen.version, road.upstream);
        assert_eq!(seen.uri.path_and_query().unwrap(), "/path/to?q=1&r=%20");
        let authority = seen.uri.authority().map(ToString::to_string);
        let host = authority.or_else(|| seen.values("host").pop());
        assert_eq!(host.as_deref(), Some("weir.test"));
        let line = road.weir.logged("/path/to?q=1&r=%20").await;
        let protocol = if road.downstream == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" };
        assert_eq!(line["protocol"], protocol);
    }
}

#[tokio::test]
async fn bodies_of_known_and_unknown_length_pass_in_all_four_combinations() {
    for mut road in roads().await {
        for told in [true, false] {
            let asked = request(Method::POST, "/echo").body(octets(300_000, told)).unwrap();
            let reply = road.client.ask(asked).await;
            assert_eq!(reply.body.len(), 300_000, "{:?} to {:?}, {told}", road.downstream, road.upstream);
        }
        let reply = road.client.get("/octets/12345").await;
        assert_eq!((reply.header("content-length"), reply.body.len()), ("12345", 12345));
        let reply = road.client.get("/chunks/12345").await;
        assert_eq!((reply.header("content-length"), reply.body.len()), ("", 12345));
        assert_eq!(road.client.post("/count", "").await.text(), "0");
    }
}

#[tokio::test]
async fn a_request_that_says_it_has_no_body_still_says_so_in_all_four_combinations() {
    for mut road in roads().await {
        let ask = request(Method::POST, "/").header("content-length", "0").body(empty()).unwrap();
        road.client.ask(ask).await;
        let told = road.endpoint.last().values("content-length");
        assert_eq!(told, ["0"], "{:?} to {:?}", road.downstream, road.upstream);
    }
}

#[tokio::test]
async fn trailers_pass_both_ways_in_all_four_combinations() {
    for mut road in roads().await {
        let road_is = format!("{:?} to {:?}", road.downstream, road.upstream);
        let (sender, body) = channel();
        sender.data("body");
        sender.trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("4"))]));
        let asked = request(Method::POST, "/echo").header(TE, "trailers").header(TRAILER, "x-sum").body(body).unwrap();
        let reply = road.client.ask(asked).await;
        assert_eq!(reply.text(), "body", "{road_is}");
        assert_eq!(reply.trailers.unwrap_or_default().get("x-sum").unwrap(), "4", "{road_is}");
    }
}

#[tokio::test]
async fn trailers_of_http2_decide_nothing_either() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        assert_eq!(raw.until("\r\n\r\n").await, "4\r\nbody\r\n0\r\nx-sum: 4\r\n\r\n");
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        raw.rest().await;
    })
    .await;
    let weir = Weir::before(&[endpoint.address]).await;
    let decisive = ["authorization", "cookie", "content-length", "host", "set-cookie", "trailer", "x-sum"];
    let trailers = decisive.map(|name| (name.parse().unwrap(), HeaderValue::from_static("4")));
    let ask = request(Method::POST, "/").body(with_trailers("body", trailers.into_iter().collect())).unwrap();
    assert_eq!(Client::http2(weir.web()).await.ask(ask).await.text(), "ok");

    let endpoint = RawEndpoint::start(move |raw, _| {
        let trailers =
            HeaderMap::from_iter(decisive.map(|name| (name.parse().unwrap(), HeaderValue::from_static("4"))));
        async move {
            let mut connection = h2::server::handshake(raw.stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                body.send_data(bytes::Bytes::from_static(b"ok"), false).unwrap();
                body.send_trailers(trailers.clone()).unwrap();
            }
        }
    })
    .await;
    let weir = Weir::before_with(&[endpoint.address], "http2 = true").await;
    let trailers = Client::http2(weir.web()).await.get("/").await.trailers.unwrap();
    assert_eq!(trailers.keys().collect::<Vec<_>>(), ["x-sum"]);
}

#[tokio::test]
async fn bodiless_answers_pass_in_all_four_combinations() {
    for mut road in roads().await {
        for status in [204, 304] {
            let reply = road.client.get(&format!("/status/{status}")).await;
            assert_eq!(
                (reply.status.as_u16(), reply.body.len()),
                (status, 0),
                "{:?} to {:?}",
                road.downstream,
                road.upstream
            );
        }
        let reply = road.client.ask(request(Method::HEAD, "/octets/77").body(empty()).unwrap()).await;
        assert_eq!((reply.header("content-length"), reply.body.len()), ("77", 0));
        assert_eq!(road.client.get("/").await.text(), "a", "the connection goes on");
    }
}

#[tokio::test]
async fn an_early_answer_arrives_in_all_four_combinations() {
    for mut road in roads().await {
        let (sender, body) = channel();
        sender.data(vec![b'x'; 100_000]);
        let reply = road.client.ask(request(Method::POST, "/early").body(body).unwrap()).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "a"), "{:?} to {:?}", road.downstream, road.upstream);
        drop(sender);
    }
}

#[tokio::test]
async fn many_streams_of_one_connection_run_at_once() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before_with(&[endpoint.address], "http2 = true").await;
    let mut client = Client::http2(weir.web()).await;
    client.get("/").await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let mut client = client.another();
        asking.spawn(async move { client.get("/late").await.text().to_owned() });
    }
    super::harness::until("all requests to be there", || endpoint.requests() == 51).await;
    endpoint.open();
    while let Some(text) = asking.join_next().await {
        assert_eq!(text.unwrap(), "late");
    }
    assert_eq!(endpoint.connections(), 1);
}

#[tokio::test]
async fn split_cookies_of_http2_become_one_field_for_http1() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before(&[endpoint.address]).await;
    let asked = request(Method::GET, "/").header("cookie", "a=1").header("cookie", "b=2").body(empty()).unwrap();
    Client::http2(weir.web()).await.ask(asked).await;
    assert_eq!(endpoint.last().values("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn bodies_larger_than_every_window_come_back_while_they_go_up_in_all_four_combinations() {
    for mut road in roads().await {
        for length in [300 << 10, 511_111, 1 << 20, 2 << 20] {
            for told in [true, false] {
                let asked = request(Method::POST, "/echo").body(octets(length, told)).unwrap();
                let reply = road.client.ask(asked).await;
                let road_is = format!("{:?} to {:?}, {length}, {told}", road.downstream, road.upstream);
                assert_eq!(reply.body.len() as u64, length, "{road_is}");
            }
        }
    }
}

#[tokio::test]
async fn trailers_of_a_response_of_known_length_pass_from_http2_to_http2() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before_with(&[endpoint.address], "http2 = true").await;
    let mut client = Client::http2(weir.web()).await;
    let asked = request(Method::GET, "/trailers/4").header(TE, "trailers").body(empty()).unwrap();
    let reply = client.ask(asked).await;
    assert_eq!((reply.header("content-length"), reply.text()), ("4", "body"));
    assert_eq!(reply.trailers.unwrap_or_default().get("x-sum").unwrap(), "4");
}
