//! Connections of the control side: a fresh one for each question, by the cluster's own protocol and
//! TLS, so that what a check finds is what a new connection of a worker would find.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use weir_config::ProxyVersion;
use weir_preamble::proxy;

use crate::tls::client_tls;

/// Bytes both ways, with TLS or without.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// How the endpoints of a cluster are reached. Errors are for people: they say which step failed.
///
/// There is no time limit here: whoever asks sets one.
#[derive(Debug, Clone)]
pub struct Dial {
    http2: bool,
    tls: Option<Tls>,
    preamble: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Tls {
    config: Arc<ClientConfig>,
    /// None takes the endpoint's address.
    name: Option<ServerName<'static>>,
}

impl Dial {
    /// As the cluster says; reads the authorities of its TLS from disk.
    pub fn try_new(cluster: &weir_config::Cluster) -> Result<Self, String> {
        let tls = cluster.tls.as_ref();
        Ok(Self {
            http2: cluster.http2,
            tls: tls.map(|tls| Tls::try_new(tls, cluster.http2)).transpose()?,
            preamble: cluster.send_proxy_protocol.map(preamble).unwrap_or_default(),
        })
    }

    /// Whether HTTP/2 is spoken.
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// A connection to an endpoint, ready for the first byte of its protocol.
    pub async fn open(&self, address: SocketAddr) -> Result<Box<dyn Transport>, String> {
        let mut tcp = TcpStream::connect(address).await.map_err(|error| step("connect", &reason(&error)))?;
        // Without it small requests may wait; a socket that refuses still works.
        drop(tcp.set_nodelay(true));
        if !self.preamble.is_empty() {
            tcp.write_all(&self.preamble).await.map_err(|error| step("connect", &reason(&error)))?;
        }
        match &self.tls {
            None => Ok(Box::new(tcp)),
            Some(tls) => tls.wrap(tcp, address).await,
        }
    }

    /// One request on a connection of its own, and the head of its response.
    ///
    /// The request's target is in origin form with a `host` field, or in absolute form.
    pub async fn head(&self, address: SocketAddr, request: Request<Full<Bytes>>) -> Result<Response<()>, String> {
        let response = self.ask(address, request, None).await?;
        Ok(response.map(drop))
    }

    /// One request on a connection of its own, and its response with a body of at most `most` bytes;
    /// a longer one is an error.
    pub async fn exchange(
        &self,
        address: SocketAddr,
        request: Request<Full<Bytes>>,
        most: usize,
    ) -> Result<Response<Bytes>, String> {
        self.ask(address, request, Some(most)).await
    }

    /// Without `most` the body is left unread.
    async fn ask(
        &self,
        address: SocketAddr,
        request: Request<Full<Bytes>>,
        most: Option<usize>,
    ) -> Result<Response<Bytes>, String> {
        let io = TokioIo::new(self.open(address).await?);
        if self.http2 { ask_http2(io, request, most).await } else { ask_http1(io, request, most).await }
    }
}

async fn ask_http1(
    io: TokioIo<Box<dyn Transport>>,
    request: Request<Full<Bytes>>,
    most: Option<usize>,
) -> Result<Response<Bytes>, String> {
    let handshake = http1::handshake(io).await;
    let (mut sender, connection) = handshake.map_err(|error| refused(&error))?;
    let answer = async move { answered(sender.send_request(request).await, most).await };
    beside(Box::pin(connection), answer).await
}

async fn ask_http2(
    io: TokioIo<Box<dyn Transport>>,
    request: Request<Full<Bytes>>,
    most: Option<usize>,
) -> Result<Response<Bytes>, String> {
    let handshake = http2::handshake(TokioExecutor::new(), io).await;
    let (mut sender, connection) = handshake.map_err(|error| refused(&error))?;
    let answer = async move { answered(sender.send_request(request).await, most).await };
    beside(Box::pin(connection), answer).await
}

impl Tls {
    fn try_new(config: &weir_config::UpstreamTls, http2: bool) -> Result<Self, String> {
        let name = config.sni.clone().map(ServerName::try_from).transpose();
        Ok(Self { config: client_tls(config, http2)?, name: name.map_err(|error| format!("sni: {error}"))? })
    }

    async fn wrap(&self, tcp: TcpStream, address: SocketAddr) -> Result<Box<dyn Transport>, String> {
        let own = || ServerName::IpAddress(address.ip().into());
        let name = self.name.clone().unwrap_or_else(own);
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(name, tcp).await;
        let stream = stream.map_err(|error| step("tls", &reason(&error)))?;
        Ok(Box::new(stream))
    }
}

async fn answered(response: hyper::Result<Response<Incoming>>, most: Option<usize>) -> Result<Response<Bytes>, String> {
    match (response, most) {
        (Ok(response), Some(most)) => collect(response, most).await,
        (Ok(response), None) => Ok(response.map(|_| Bytes::new())),
        (Err(error), _) => Err(refused(&error)),
    }
}

/// Drive a connection until the answer that depends on it is there.
async fn beside<T>(
    connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>,
    answer: impl Future<Output = T>,
) -> T {
    let mut answer: Pin<&mut _> = pin!(answer);
    tokio::select! {
        biased;
        done = &mut answer => return done,
        _ = connection => {}
    }
    // The connection has ended: the answer has arrived with its last bytes or will be an error.
    answer.await
}

async fn collect(response: Response<Incoming>, most: usize) -> Result<Response<Bytes>, String> {
    let (head, body) = response.into_parts();
    match Limited::new(body, most).collect().await {
        Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(step("response", &format!("body of more than {most} bytes")))
        }
        Err(error) => Err(step("response", &error.to_string())),
    }
}

/// Checks are nobody's connections but our own.
fn preamble(version: ProxyVersion) -> Vec<u8> {
    let version = match version {
        ProxyVersion::V1 => proxy::Version::V1,
        ProxyVersion::V2 => proxy::Version::V2,
    };
    proxy::Header::local(version).octets()
}

fn step(step: &str, why: &str) -> String {
    format!("{step}: {why}")
}

/// The kind of a system error ("connection refused"), or the text of any other.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => error.kind().to_string(),
        None => error.to_string(),
    }
}

fn refused(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error);
    let system = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
    match (system, cause) {
        (Some(system), _) => step("request", &reason(system)),
        (None, Some(cause)) => step("request", &format!("{error}: {cause}")),
        (None, None) => step("request", &error.to_string()),
    }
}
