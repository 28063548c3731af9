//! Requests to an authority: HTTP/1.1 over TLS, a connection each, for there are a dozen in two months.

use std::{
    future::Future,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, Uri,
    header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT},
    uri::PathAndQuery,
};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// Longest time of an exchange.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer that is read.
const MOST: usize = 1 << 20;
/// What an authority knows us by, as RFC 8555 section 6.1 wants.
const NAME: &str = concat!("weir/", env!("CARGO_PKG_VERSION"));

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Asks an authority, and remembers when it was last told to wait.
#[derive(Clone)]
pub(super) struct Client {
    tls: TlsConnector,
    asked: Arc<Mutex<Option<Duration>>>,
}

impl Client {
    /// Trusts the authorities in this file, or those of the system. Blocking: reads them.
    ///
    /// # Errors
    /// There are none to be had.
    pub(super) fn build(ca: Option<&Path>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let mut tls = builder.with_root_certificates(weir_upstream::authorities(ca)?).with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(tls)), asked: Arc::default() })
    }

    /// For how long the authority wants no request, when it refused the last one with that.
    pub(super) fn asked(&self) -> Option<Duration> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (url, writes) = (request.uri().clone(), request.method() == Method::POST);
        let place = || url.authority().map_or_else(|| url.to_string(), ToString::to_string);
        let response = match timeout(PATIENCE, self.send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(fault)) => return Err(Error::Other(format!("{}: {fault}", place()).into())),
            Err(_) => return Err(Error::Other(format!("{}: no answer within {PATIENCE:?}", place()).into())),
        };
        let refused = response.status().is_client_error() || response.status().is_server_error();
        let asked = retry_after(response.headers(), SystemTime::now()).filter(|_| refused);
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        // Refusals are looked for where something is asked of the authority's objects, and only if they are its own.
        match refused && !(writes && is_problem(response.headers())) {
            true => Err(refusal(&url, response).await),
            false => Ok(BytesResponse::from(response)),
        }
    }

    async fn send(&self, mut request: Request<BodyWrapper<Bytes>>) -> Result<Response<Full<Bytes>>, Fault> {
        let url = std::mem::take(request.uri_mut());
        let authority = url.authority().filter(|_| url.scheme_str() == Some("https")).ok_or("not a URL of https")?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(NAME));
        *request.uri_mut() = Uri::from(url.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
        let stream = TcpStream::connect((host.as_str(), authority.port_u16().unwrap_or(443))).await?;
        let stream = self.tls.connect(ServerName::try_from(host)?, stream).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, MOST).collect().await?.to_bytes();
            Ok(Response::from_parts(head, Full::new(body)))
        };
        // A connection may end with a fault when the answer is there already.
        let carried = async {
            drop(connection.await);
            std::future::pending().await
        };
        tokio::select! {
            answer = answer => answer,
            () = carried => Err("closed".into()),
        }
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().exchange(request))
    }
}

fn is_problem(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"))
}

async fn refusal(url: &Uri, response: Response<Full<Bytes>>) -> Error {
    let status = response.status();
    let body = response.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) if problem.r#type.is_some() => Error::Api(problem),
        _ => Error::Other(format!("{url}: {status}").into()),
    }
}

/// Seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_asks_for_patience_in_seconds_or_by_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, asked) in [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:59:37 GMT", Some(600)),
            ("Sun, 06 Nov 1994 08:39:37 GMT", None),
            ("-1", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            assert_eq!(retry_after(&headers, now), asked.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
