//! The HTTP check: one request on a fresh connection, judged by the status of its answer and, where
//! that is asked for, by the start of its body.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use regex::bytes::Regex;
use weir_config::{Cluster, HttpCheck, Unusable};

use super::{Checking, Probe, Verdict};
use crate::{
    dial::{Dial, Wanted},
    endpoint::Endpoint,
};

/// As much of a body as is looked at.
const MOST_BODY: usize = 64 * 1024;

/// Asks by HTTP.
#[derive(Debug)]
pub struct HttpProbe {
    dial: Dial,
    check: HttpCheck,
    method: Method,
    headers: HeaderMap,
    regex: Option<Regex>,
}

impl HttpProbe {
    /// The probe of a cluster. Errors name the setting.
    pub fn try_new(cluster: &Cluster, check: &HttpCheck) -> Result<Self, Unusable> {
        let method = Method::from_bytes(check.method.as_bytes());
        let regex = check.body_regex.as_deref().map(Regex::new).transpose();
        Ok(Self {
            dial: Dial::try_new(cluster)?,
            method: method.map_err(|error| Unusable::new("http.method", error.to_string()))?,
            headers: headers(&check.headers)
                .map_err(|name| Unusable::new("http.headers", format!("malformed {name}")))?,
            regex: regex.map_err(|error| Unusable::new("http.body-regex", error.to_string()))?,
            check: check.clone(),
        })
    }

    async fn ask(&self, endpoint: &Endpoint) -> Result<Verdict, String> {
        let request = self.request(endpoint)?;
        let body_counts = self.check.body.is_some() || self.regex.is_some();
        let wanted = if body_counts { Wanted::Start(MOST_BODY) } else { Wanted::Head };
        let response = self.dial.ask(endpoint, request, wanted).await?;
        Ok(self.judge(response.status().as_u16(), &response.body().body))
    }

    /// HTTP/2 takes the target in absolute form, HTTP/1.1 the path with a `host` field.
    fn request(&self, endpoint: &Endpoint) -> Result<Request<Full<Bytes>>, String> {
        let fault = |error: &dyn std::fmt::Display| format!("request: {error}");
        let host = self.check.host.clone().unwrap_or_else(|| self.dial.authority(endpoint));
        let path = &self.check.path;
        let mut request = Request::new(Full::default());
        *request.method_mut() = self.method.clone();
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static("weir-health"));
        headers.extend(self.headers.clone());
        let target = if self.dial.is_http2() {
            format!("{}://{host}{path}", self.dial.scheme())
        } else {
            headers.insert(header::HOST, HeaderValue::from_str(&host).map_err(|error| fault(&error))?);
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            path.clone()
        };
        *request.uri_mut() = target.parse::<Uri>().map_err(|error| fault(&error))?;
        Ok(request)
    }

    fn judge(&self, status: u16, body: &[u8]) -> Verdict {
        let fits = |&(from, to): &(u16, u16)| (from..=to).contains(&status);
        if !self.check.expect.iter().any(fits) {
            let expected = expectation(&self.check.expect);
            return Verdict::unhealthy(format!("status {status}, expected {expected}"));
        }
        if let Some(text) = &self.check.body
            && !contains(body, text.as_bytes())
        {
            return Verdict::unhealthy(format!("status {status}, body without {text:?}"));
        }
        match &self.regex {
            Some(regex) if !regex.is_match(body) => {
                Verdict::unhealthy(format!("status {status}, body does not match {:?}", regex.as_str()))
            }
            _ => Verdict::healthy(format!("status {status}")),
        }
    }
}

impl Probe for HttpProbe {
    fn check<'a>(&'a self, endpoint: &'a Arc<Endpoint>) -> Checking<'a> {
        Box::pin(async move {
            let verdict = self.ask(endpoint).await;
            Ok(verdict.unwrap_or_else(Verdict::unhealthy))
        })
    }
}

/// Fields from text; an error is the name of the first that is none.
fn headers(fields: &[(String, String)]) -> Result<HeaderMap, &str> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        let (key, value) = parsed.ok_or(&**name)?;
        headers.append(key, value);
    }
    Ok(headers)
}

/// Whether `part`, which is not empty, is somewhere in `bytes`.
pub(super) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
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
