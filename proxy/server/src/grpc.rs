//! What a call of gRPC needs that other requests do not: its own deadline counts, and what Weir answers
//! itself is said in gRPC's words. (gRPC's PROTOCOL-HTTP2 and its mapping of HTTP statuses.)

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header::CONTENT_TYPE};

use weir_upstream::connection::Outcome;

use crate::{error::ProxyError, request::Request};

static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
static STATUS: HeaderName = HeaderName::from_static("grpc-status");
static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

const TYPE: &str = "application/grpc";

const UNKNOWN: u8 = 2;
const DEADLINE_EXCEEDED: u8 = 4;
const PERMISSION_DENIED: u8 = 7;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;
const UNAUTHENTICATED: u8 = 16;

/// A request that is a call of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The time its client gives it.
    pub timeout: Option<Duration>,
}

impl Call {
    /// What of a request is gRPC's; none of other requests.
    pub fn of(request: &Request) -> Option<Self> {
        if request.method != Method::POST || request.version != Version::HTTP_2 {
            return None;
        }
        let kind = request.headers.get(CONTENT_TYPE)?.as_bytes();
        is_grpc(kind).then(|| Self { timeout: request.headers.get(&TIMEOUT).and_then(timeout) })
    }

    /// Whether its deadline has passed, for one that began then.
    pub fn is_over(self, started: Instant) -> bool {
        self.timeout.is_some_and(|timeout| started.elapsed() >= timeout)
    }
}

/// The status of a call that has failed and says no more than that (gRPC's Trailers-Only).
pub fn failure(response: &Outcome) -> Option<u8> {
    let kind = response.headers.get(CONTENT_TYPE)?.as_bytes();
    let status = response.headers.get(&STATUS).filter(|_| response.length == Some(0) && is_grpc(kind))?;
    status.to_str().ok()?.parse().ok().filter(|status| *status != 0)
}

/// `application/grpc`, with the name of a message format behind `+`; not `application/grpc-web`.
fn is_grpc(kind: &[u8]) -> bool {
    let Some((name, rest)) = kind.split_at_checked(TYPE.len()) else { return false };
    name.eq_ignore_ascii_case(TYPE.as_bytes()) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// Up to eight digits and a unit. One that is malformed is the endpoint's to refuse.
fn timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// What a client is told of a failure: fields of an answer without a body, or of trailers.
pub fn outcome(error: &ProxyError) -> HeaderMap {
    let (code, message) = match error {
        ProxyError::RouteTimeout | ProxyError::Deadline => (DEADLINE_EXCEEDED, "deadline exceeded".to_owned()),
        _ => (code(error.status()), error.status().to_string()),
    };
    let mut fields = HeaderMap::with_capacity(4);
    fields.insert(&STATUS, HeaderValue::from(u16::from(code)));
    if let Ok(message) = HeaderValue::try_from(message) {
        fields.insert(&MESSAGE, message);
    }
    fields
}

/// The media type of an answer.
pub fn content_type() -> HeaderValue {
    HeaderValue::from_static(TYPE)
}

fn code(status: StatusCode) -> u8 {
    match status.as_u16() {
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        429 | 502..=504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_known_by_their_media_type() {
        for kind in
            ["application/grpc", "Application/gRPC+proto", "application/grpc; charset=x", "application/grpc+json"]
        {
            assert!(is_grpc(kind.as_bytes()), "{kind}");
        }
        for kind in
            ["", "application/grp", "application/grpc-web", "application/grpcs", "text/plain", "application/json"]
        {
            assert!(!is_grpc(kind.as_bytes()), "{kind}");
        }
    }

    #[test]
    fn timeouts_have_a_number_and_a_unit() {
        let read = |text: &str| timeout(&HeaderValue::from_str(text).unwrap());
        for (text, meant) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("250m", Duration::from_millis(250)),
            ("7u", Duration::from_micros(7)),
            ("0n", Duration::ZERO),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(read(text), Some(meant), "{text}");
        }
        for text in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "100000000S", "1 S"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn failures_are_told_by_the_mapping_of_statuses() {
        let told = |error: &ProxyError| outcome(error).get(&STATUS).unwrap().to_str().unwrap().to_owned();
        let refused = |status| ProxyError::Refused { status, reason: "" };
        for (error, code) in [
            (ProxyError::RouteTimeout, "4"),
            (ProxyError::Deadline, "4"),
            (ProxyError::NoRoute, "12"),
            (ProxyError::NoEndpoint, "14"),
            (ProxyError::AttemptTimeout, "14"),
            (ProxyError::TenantLimit("t".into()), "14"),
            (refused(StatusCode::BAD_REQUEST), "13"),
            (refused(StatusCode::UNAUTHORIZED), "16"),
            (refused(StatusCode::FORBIDDEN), "7"),
            (refused(StatusCode::METHOD_NOT_ALLOWED), "2"),
        ] {
            assert_eq!(told(&error), code, "{error}");
        }
    }
}
