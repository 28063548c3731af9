//! Clients by hyper: HTTP/1.1, HTTP/2, and either over TLS.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version, header::HOST};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    Ca,
    body::{Body, empty, full},
    soon,
};

/// The host requests are for unless they say otherwise.
pub const AUTHORITY: &str = "weir.test";

/// One connection.
pub struct Client {
    sender: Sender,
    scheme: &'static str,
    /// The certificate the server showed.
    pub certificate: Option<Vec<u8>>,
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// A field's value, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What is printed by the endpoint's `/seen`.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The whole response, or why it broke off.
    pub async fn read(response: Response<Incoming>) -> hyper::Result<Reply> {
        let (head, body) = response.into_parts();
        let collected = soon("a response's body", body.collect()).await?;
        let trailers = collected.trailers().cloned();
        let body = collected.to_bytes();
        Ok(Reply { status: head.status, version: head.version, headers: head.headers, body, trailers })
    }
}

/// A request to be given a body; its target is a path.
pub fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path)
}

/// One GET on a connection of its own.
pub async fn get(address: SocketAddr, path: &str) -> Reply {
    Client::http1(address).await.get(path).await
}

/// What is written goes out at once, or small messages wait for acknowledgements.
async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

impl Client {
    pub async fn http1(address: SocketAddr) -> Client {
        Client::over_http1(connect(address).await, "http").await
    }

    /// From this address of the machine.
    pub async fn http1_from(local: IpAddr, address: SocketAddr) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(local, 0)).unwrap();
        Client::over_http1(socket.connect(address).await.unwrap(), "http").await
    }

    /// With prior knowledge.
    pub async fn http2(address: SocketAddr) -> Client {
        Client::over_http2(connect(address).await, "http").await
    }

    /// Over TLS, in the protocol that was agreed on.
    pub async fn tls(address: SocketAddr, ca: &Ca, name: &str, alpn: &[&str]) -> Client {
        Client::over(Client::handshake(address, ca.client(alpn), name).await.unwrap()).await
    }

    /// Over this, in the protocol that was agreed on.
    pub async fn over(stream: TlsStream<TcpStream>) -> Client {
        let connection = stream.get_ref().1;
        let certificate = connection.peer_certificates().unwrap()[0].to_vec();
        let mut client = match connection.alpn_protocol() {
            Some(b"h2") => Client::over_http2(stream, "https").await,
            _ => Client::over_http1(stream, "https").await,
        };
        client.certificate = Some(certificate);
        client
    }

    /// TLS alone.
    pub async fn handshake(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = connect(address).await;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        soon("a TLS handshake", TlsConnector::from(config).connect(name, stream)).await
    }

    async fn over_http1(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, scheme: &'static str) -> Client {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        Client { sender: Sender::Http1(sender), scheme, certificate: None }
    }

    async fn over_http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, scheme: &'static str) -> Client {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Client { sender: Sender::Http2(sender), scheme, certificate: None }
    }

    /// Another handle of an HTTP/2 connection.
    pub fn another(&self) -> Client {
        let Sender::Http2(sender) = &self.sender else { panic!("HTTP/1.1 has one exchange at a time") };
        Client { sender: Sender::Http2(sender.clone()), scheme: self.scheme, certificate: None }
    }

    /// The response's head; its body is read as the test likes.
    pub async fn send(&mut self, mut request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                request.headers_mut().entry(HOST).or_insert_with(|| AUTHORITY.parse().unwrap());
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                let host = request.headers_mut().remove(HOST);
                let host = host.map_or(AUTHORITY.to_owned(), |host| host.to_str().unwrap().to_owned());
                let uri = Uri::builder().scheme(self.scheme).authority(host).path_and_query(request.uri().to_string());
                *request.uri_mut() = uri.build().unwrap();
                *request.version_mut() = Version::HTTP_2;
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// The whole exchange, or why it broke off.
    pub async fn try_ask(&mut self, request: Request<Body>) -> hyper::Result<Reply> {
        let response = soon("a response", self.send(request)).await?;
        Reply::read(response).await
    }

    /// The whole exchange.
    pub async fn ask(&mut self, request: Request<Body>) -> Reply {
        self.try_ask(request).await.unwrap()
    }

    pub async fn get(&mut self, path: &str) -> Reply {
        self.ask(request(Method::GET, path).body(empty()).unwrap()).await
    }

    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.ask(request(Method::POST, path).body(full(body)).unwrap()).await
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }
}
