//! Informational responses, from one version of HTTP to the other.

use http::{Request, Response};
use tokio::net::TcpStream;

use super::harness::{Raw, RawEndpoint, Weir, soon};

const HINT: &str = "</a.css>";

/// Sends a hint before each response, over HTTP/2.
async fn hinting_http2() -> RawEndpoint {
    RawEndpoint::start(|raw, _| async move {
        let mut connection = h2::server::handshake(raw.stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let hint = Response::builder().status(103).header("link", HINT).body(()).unwrap();
            respond.send_informational(hint).unwrap();
            respond.send_response(Response::new(()), false).unwrap().send_data("done".into(), true).unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn early_hints_pass_between_versions() {
    let old = RawEndpoint::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone",
    )
    .await;
    let new = hinting_http2().await;
    for (endpoint, cluster) in [(&old, ""), (&new, "http2 = true")] {
        let weir = Weir::before_with(&[endpoint.address], cluster).await;
        let mut raw = Raw::connect(weir.web()).await;
        raw.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
        let head = raw.head().await.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 103 ") && head.contains("link: </a.css>"), "{head}");
        assert!(raw.head().await.starts_with("HTTP/1.1 200 "));

        let stream = TcpStream::connect(weir.web()).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("http://weir.test/").body(()).unwrap();
        let (mut response, _) = sender.send_request(request, true).unwrap();
        let hint = soon("a hint", std::future::poll_fn(|cx| response.poll_informational(cx))).await.unwrap().unwrap();
        assert_eq!((hint.status().as_u16(), &hint.headers()["link"]), (103, &HINT.parse().unwrap()));
        assert_eq!(soon("the response", response).await.unwrap().status(), 200);
    }
}
