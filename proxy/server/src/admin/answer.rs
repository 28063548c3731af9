//! Responses of the admin address.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

use super::{Answer, ApiError, access::Denied};

pub(super) type AdminResponse = Response<Full<Bytes>>;

pub(super) fn text(status: StatusCode, body: String) -> AdminResponse {
    respond(status, "text/plain; charset=utf-8", body)
}

pub(super) fn metrics(body: String) -> AdminResponse {
    respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body)
}

pub(super) fn json(status: StatusCode, value: &Value) -> AdminResponse {
    respond(status, "application/json", format!("{value:#}\n"))
}

pub(super) fn outcome(outcome: Answer) -> AdminResponse {
    match outcome {
        Ok(value) => json(StatusCode::OK, &value),
        Err(error) => refusal(&error),
    }
}

/// Every refusal is `{"error": "why"}`; one for want of room says when to try again.
pub(super) fn refusal(error: &ApiError) -> AdminResponse {
    let mut response = json(error.status, &json!({ "error": error.message }));
    if error.status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

/// A caller may not do it; 401 asks for a token (RFC 6750, section 3).
pub(super) fn denial(denied: &Denied) -> AdminResponse {
    let mut response = refusal(&denied.error);
    if denied.wants_token {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"weir\""));
    }
    response
}

/// 405, naming what is allowed.
pub(super) fn only(allowed: &'static str) -> AdminResponse {
    let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("the method must be {allowed}"));
    let mut response = refusal(&error);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> AdminResponse {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
