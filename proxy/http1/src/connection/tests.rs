use http::StatusCode;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::*;

fn pair() -> (Connection<DuplexStream>, Connection<DuplexStream>) {
    let (a, b) = duplex(1 << 16);
    (Connection::new(a, BytesMut::new()), Connection::new(b, BytesMut::new()))
}

async fn request(connection: &mut Connection<DuplexStream>) -> Result<Option<RequestHead>, Error> {
    poll_fn(|cx| connection.poll_request(cx, Limits::default())).await
}

async fn body(connection: &mut Connection<DuplexStream>) -> Result<(Vec<u8>, Option<HeaderMap>), Error> {
    let (mut data, mut trailers) = (Vec::new(), None);
    while let Some(frame) = poll_fn(|cx| connection.poll_frame(cx)).await? {
        match frame {
            Frame::Data(piece) => data.extend_from_slice(&piece),
            Frame::Trailers(map) => trailers = Some(map),
        }
    }
    Ok((data, trailers))
}

fn host() -> HeaderMap {
    HeaderMap::from_iter([(http::header::HOST, "h".parse().unwrap())])
}

#[tokio::test]
async fn a_body_in_chunks_with_trailers_passes_both_sides() {
    let (mut client, mut server) = pair();
    client.start(Framing::Chunked, |out| RequestHead::write(out, &Method::POST, "/", &host(), Framing::Chunked));
    client.send(Frame::Data(Bytes::from(vec![7; 20_000]))).unwrap();
    client.send(Frame::Data(Bytes::from_static(b"tail"))).unwrap();
    client.send(Frame::Trailers(HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())]))).unwrap();
    client.flush().await.unwrap();
    assert_eq!(request(&mut server).await.unwrap().unwrap().length, Length::Chunked);
    let (data, trailers) = body(&mut server).await.unwrap();
    assert_eq!(data.len(), 20_004);
    assert_eq!(trailers.unwrap().get("etag").unwrap(), "x");
    assert!(server.is_received());
}

#[tokio::test]
async fn pipelined_requests_come_one_by_one() {
    let (client, mut server) = pair();
    let (mut client, _) = client.into_parts();
    client
        .write_all(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(request(&mut server).await.unwrap().unwrap().uri.path(), "/1");
    assert_eq!(body(&mut server).await.unwrap().0, b"abc");
    assert_eq!(request(&mut server).await.unwrap().unwrap().uri.path(), "/2");
    drop(client);
    assert!(request(&mut server).await.unwrap().is_none());
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error() {
    let (client, mut server) = pair();
    let (mut client, _) = client.into_parts();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc").await.unwrap();
    drop(client);
    request(&mut server).await.unwrap();
    assert!(matches!(body(&mut server).await, Err(Error::Truncated)));
}

#[tokio::test]
async fn a_response_until_close_ends_with_the_stream() {
    let (mut client, server) = pair();
    let (mut server, _) = server.into_parts();
    server.write_all(b"HTTP/1.1 200 OK\r\n\r\nall of it").await.unwrap();
    drop(server);
    let head = poll_fn(|cx| client.poll_response(cx, Limits::default(), &Method::GET)).await.unwrap().unwrap();
    assert_eq!((head.status, head.keep_alive), (StatusCode::OK, false));
    assert_eq!(body(&mut client).await.unwrap().0, b"all of it");
}

#[tokio::test]
async fn a_body_must_have_its_announced_length() {
    let (mut client, _server) = pair();
    client.start(Framing::Known(3), |_| {});
    assert!(matches!(client.send(Frame::Data(Bytes::from_static(b"four"))), Err(Error::WrongLength)));
    client.start(Framing::Known(3), |_| {});
    assert!(matches!(client.finish(), Err(Error::WrongLength)));
}

#[test]
fn hexadecimal_sizes() {
    for n in [1, 9, 15, 16, 255, 256, 65_536, 1_048_575] {
        let mut out = BytesMut::new();
        write_hex(&mut out, n);
        assert_eq!(out, format!("{n:x}\r\n"));
    }
}
