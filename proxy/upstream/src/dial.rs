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
use http::{HeaderMap, Request, Response};
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
use weir_config::{HealthKind, ProxyVersion, Unusable};
use weir_preamble::proxy;

use crate::{endpoint::Endpoint, tls::client_tls};

/// Bytes both ways, with TLS or without.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// How checks reach the endpoints of a cluster. Errors are for people: they say which step failed.
///
/// There is no time limit here: whoever asks sets one.
#[derive(Debug, Clone)]
pub struct Dial {
    http2: bool,
    tls: Option<Tls>,
    port: Option<u16>,
    preamble: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Tls {
    config: Arc<ClientConfig>,
    /// None takes the endpoint's address.
    name: Option<ServerName<'static>>,
}

/// How much of a response's body is wanted.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    /// None of it: it is left unread.
    Head,
    /// At most so many bytes; what follows is left unread.
    Start(usize),
    /// All of it with its trailers; more than so many bytes are an error.
    Whole(usize),
}

/// A response's body as far as it was wanted, with its trailers.
#[derive(Debug, Default)]
pub struct Answer {
    /// What was read.
    pub body: Vec<u8>,
    /// After a whole body.
    pub trailers: HeaderMap,
}

impl Dial {
    /// As the cluster's health check says; reads the authorities of its TLS from disk.
    pub fn try_new(cluster: &weir_config::Cluster) -> Result<Self, Unusable> {
        let health = cluster.health.as_ref();
        let http2 = match health.map(|health| &health.kind) {
            Some(HealthKind::Http(check)) => check.http2,
            Some(HealthKind::Grpc(_)) => true,
            _ => cluster.http2,
        };
        let tls = health.map_or(cluster.tls.as_ref(), |health| health.tls.as_ref());
        let tls = tls.map(|tls| Tls::try_new(tls, http2)).transpose().map_err(|unusable| unusable.below("tls"))?;
        let port = health.and_then(|health| health.port);
        // Another port is another service, which need not know of the protocol.
        let announced = cluster.send_proxy_protocol.filter(|_| port.is_none());
        Ok(Self { http2, tls, port, preamble: announced.map(preamble).unwrap_or_default() })
    }

    /// Whether HTTP/2 is spoken.
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The address that is asked about an endpoint.
    pub fn address(&self, endpoint: &Endpoint) -> SocketAddr {
        let mut address = endpoint.address();
        address.set_port(self.port.unwrap_or(address.port()));
        address
    }

    /// What a request names as its host unless it is told otherwise.
    pub fn authority(&self, endpoint: &Endpoint) -> String {
        match self.port {
            None => endpoint.name().to_owned(),
            Some(_) => self.address(endpoint).to_string(),
        }
    }

    /// A connection to an endpoint, ready for the first byte of its protocol.
    pub async fn open(&self, endpoint: &Endpoint) -> Result<Box<dyn Transport>, String> {
        let address = self.address(endpoint);
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

    /// One request on a connection of its own.
    ///
    /// The request's target is in origin form with a `host` field, or in absolute form.
    pub async fn ask(
        &self,
        endpoint: &Endpoint,
        request: Request<Full<Bytes>>,
        wanted: Wanted,
    ) -> Result<Response<Answer>, String> {
        let io = TokioIo::new(self.open(endpoint).await?);
        if self.http2 { ask_http2(io, request, wanted).await } else { ask_http1(io, request, wanted).await }
    }
}

async fn ask_http1(
    io: TokioIo<Box<dyn Transport>>,
    request: Request<Full<Bytes>>,
    wanted: Wanted,
) -> Result<Response<Answer>, String> {
    let handshake = http1::handshake(io).await;
    let (mut sender, connection) = handshake.map_err(|error| refused(&error))?;
    let answer = async move { answered(sender.send_request(request).await, wanted).await };
    beside(Box::pin(connection), answer).await
}

async fn ask_http2(
    io: TokioIo<Box<dyn Transport>>,
    request: Request<Full<Bytes>>,
    wanted: Wanted,
) -> Result<Response<Answer>, String> {
    let handshake = http2::handshake(TokioExecutor::new(), io).await;
    let (mut sender, connection) = handshake.map_err(|error| refused(&error))?;
    let answer = async move { answered(sender.send_request(request).await, wanted).await };
    beside(Box::pin(connection), answer).await
}

impl Tls {
    fn try_new(config: &weir_config::UpstreamTls, http2: bool) -> Result<Self, Unusable> {
        let name = config.sni.clone().map(ServerName::try_from).transpose();
        let name = name.map_err(|error| Unusable::new("sni", error.to_string()))?;
        Ok(Self { config: client_tls(config, http2)?, name })
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

async fn answered(response: hyper::Result<Response<Incoming>>, wanted: Wanted) -> Result<Response<Answer>, String> {
    let (head, body) = response.map_err(|error| refused(&error))?.into_parts();
    let answer = match wanted {
        Wanted::Head => Answer::default(),
        Wanted::Start(most) => start(body, most).await?,
        Wanted::Whole(most) => whole(body, most).await?,
    };
    Ok(Response::from_parts(head, answer))
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

async fn start(mut body: Incoming, most: usize) -> Result<Answer, String> {
    let mut answer = Answer::default();
    while answer.body.len() < most
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| step("response", &error.to_string()))?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        answer.body.extend(data.iter().take(most - answer.body.len()));
    }
    Ok(answer)
}

async fn whole(body: Incoming, most: usize) -> Result<Answer, String> {
    match Limited::new(body, most).collect().await {
        Ok(body) => {
            let trailers = body.trailers().cloned().unwrap_or_default();
            Ok(Answer { body: body.to_bytes().into(), trailers })
        }
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
