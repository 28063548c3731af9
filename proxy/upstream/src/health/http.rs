//! The HTTP check: one request on a fresh connection, judged by the status of its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use weir_config::HealthKind;

use super::{Checking, Probe, Verdict};
use crate::{dial::Dial, endpoint::Endpoint};

/// Asks by HTTP, as `health.http` of a cluster says.
#[derive(Debug)]
pub struct HttpProbe {
    dial: Dial,
    method: Method,
    path: String,
    host: Option<String>,
    expect: Vec<(u16, u16)>,
}

impl HttpProbe {
    /// The probe of a cluster; none when its health is not checked by HTTP. Errors name the setting.
    pub fn try_new(cluster: &weir_config::Cluster) -> Result<Option<Self>, String> {
        let kind = cluster.health.as_ref().map(|health| &health.kind);
        let Some(HealthKind::Http { path, host, method, expect }) = kind else {
            return Ok(None);
        };
        let method = Method::from_bytes(method.as_bytes());
        Ok(Some(Self {
            dial: Dial::try_new(cluster)?,
            method: method.map_err(|error| format!("health.http.method: {error}"))?,
            path: path.clone(),
            host: host.clone(),
            expect: expect.clone(),
        }))
    }

    async fn ask(&self, endpoint: &Endpoint) -> Result<Verdict, String> {
        let request = self.request(endpoint)?;
        let response = self.dial.head(endpoint.address(), request).await?;
        Ok(self.judge(response.status().as_u16()))
    }

    /// HTTP/2 takes the target in absolute form, HTTP/1.1 the path with a `host` field.
    fn request(&self, endpoint: &Endpoint) -> Result<Request<Full<Bytes>>, String> {
        let fault = |error: &dyn std::fmt::Display| format!("request: {error}");
        let host = self.host.as_deref().unwrap_or(endpoint.name());
        let mut request = Request::new(Full::default());
        *request.method_mut() = self.method.clone();
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static("weir-health"));
        let target = if self.dial.is_http2() {
            format!("{}://{host}{}", self.dial.scheme(), self.path)
        } else {
            let host = HeaderValue::from_str(host).map_err(|error| fault(&error))?;
            headers.insert(header::HOST, host);
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            self.path.clone()
        };
        *request.uri_mut() = target.parse::<Uri>().map_err(|error| fault(&error))?;
        Ok(request)
    }

    fn judge(&self, status: u16) -> Verdict {
        let fits = |&(from, to): &(u16, u16)| (from..=to).contains(&status);
        if self.expect.iter().any(fits) {
            Verdict::healthy(format!("status {status}"))
        } else {
            let expected = expectation(&self.expect);
            Verdict::unhealthy(format!("status {status}, expected {expected}"))
        }
    }
}

impl Probe for HttpProbe {
    fn check<'a>(&'a self, endpoint: &'a Arc<Endpoint>) -> Checking<'a> {
        Box::pin(async move {
            let verdict = self.ask(endpoint).await;
            verdict.unwrap_or_else(Verdict::unhealthy)
        })
    }
}

/// `200 to 399 or 404`.
fn expectation(ranges: &[(u16, u16)]) -> String {
    let one = |&(from, to): &(u16, u16)| {
        if from == to { from.to_string() } else { format!("{from} to {to}") }
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests;
