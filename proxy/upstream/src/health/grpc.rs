//! The gRPC check: one call of `grpc.health.v1.Health/Check`. Its two messages have one field each, so
//! that they are written and read here rather than by a library.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::Full;
use weir_config::{Cluster, GrpcCheck, Unusable};

use super::{Checking, Probe, Verdict};
use crate::{
    dial::{Dial, Wanted},
    endpoint::Endpoint,
};

/// Far more than an answer takes.
const MOST_ANSWER: usize = 16 * 1024;

/// Asks the standard health service of gRPC.
#[derive(Debug)]
pub struct GrpcProbe {
    dial: Dial,
    check: GrpcCheck,
    message: Bytes,
}

impl GrpcProbe {
    /// The probe of a cluster. Errors are of its TLS settings.
    pub fn try_new(cluster: &Cluster, check: &GrpcCheck) -> Result<Self, Unusable> {
        let message = Bytes::from(message(&request(&check.service)));
        Ok(Self { dial: Dial::try_new(cluster)?, check: check.clone(), message })
    }

    async fn ask(&self, endpoint: &Endpoint) -> Result<Said, String> {
        let request = self.request(endpoint)?;
        let response = self.dial.ask(endpoint, request, Wanted::Whole(MOST_ANSWER)).await?;
        if response.status() != 200 {
            return Err(format!("HTTP status {}, expected 200", response.status().as_u16()));
        }
        let (head, answer) = response.into_parts();
        // A call that fails at once has its status in the head.
        let outcome = if head.headers.contains_key("grpc-status") { &head.headers } else { &answer.trailers };
        succeeded(outcome)?;
        serving(&answer.body).ok_or_else(|| "not an answer of grpc.health.v1".to_owned())
    }

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Full<Bytes>>, String> {
        let host = self.check.host.clone().unwrap_or_else(|| self.dial.authority(endpoint));
        let target = format!("{}://{host}/grpc.health.v1.Health/Check", self.dial.scheme());
        let request = Request::builder()
            .method(Method::POST)
            .uri(target)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))
            .header(header::TE, HeaderValue::from_static("trailers"))
            .header(header::USER_AGENT, HeaderValue::from_static("weir-health"));
        request.body(Full::new(self.message.clone())).map_err(|error| format!("request: {error}"))
    }
}

impl Probe for GrpcProbe {
    fn check<'a>(&'a self, endpoint: &'a Arc<Endpoint>) -> Checking<'a> {
        Box::pin(async move {
            Ok(match self.ask(endpoint).await {
                Ok(Said::Serving) => Verdict::healthy("SERVING"),
                Ok(other) => Verdict::unhealthy(other.name()),
                Err(why) => Verdict::unhealthy(why),
            })
        })
    }
}

/// What a server says of itself: `HealthCheckResponse.ServingStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Unknown,
    Serving,
    NotServing,
    ServiceUnknown,
}

impl Said {
    fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
            Self::ServiceUnknown => "SERVICE_UNKNOWN",
        }
    }
}

/// The names of gRPC's status codes, from 0.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Whether the call itself was carried out; if not, its status in words.
fn succeeded(outcome: &HeaderMap) -> Result<(), String> {
    let field = |name| outcome.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let code = field("grpc-status").ok_or("no grpc-status in the answer")?;
    if code == "0" {
        return Ok(());
    }
    let name = code.parse::<usize>().ok().and_then(|code| CODES.get(code)).copied().unwrap_or("unknown code");
    let message = field("grpc-message").map(|message| format!(": {message}")).unwrap_or_default();
    Err(format!("grpc-status {code} ({name}){message}"))
}

/// `HealthCheckRequest { string service = 1; }`
fn request(service: &str) -> Vec<u8> {
    if service.is_empty() {
        return Vec::new();
    }
    let mut message = vec![0x0a];
    write_varint(&mut message, service.len() as u64);
    message.extend_from_slice(service.as_bytes());
    message
}

/// With the prefix of gRPC: not compressed, length.
fn message(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    [&[0], &length.to_be_bytes()[..], content].concat()
}

/// `HealthCheckResponse { ServingStatus status = 1; }` with its prefix; fields of other numbers are
/// passed over.
fn serving(body: &[u8]) -> Option<Said> {
    let (prefix, mut content) = body.split_at_checked(5)?;
    let (compressed, length) = prefix.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    if *compressed != 0 || length as usize != content.len() {
        return None;
    }
    let mut status = 0;
    while !content.is_empty() {
        let key = read_varint(&mut content)?;
        match key & 7 {
            0 => {
                let value = read_varint(&mut content)?;
                status = if key >> 3 == 1 { value } else { status };
            }
            1 => content = content.get(8..)?,
            2 => {
                let length = usize::try_from(read_varint(&mut content)?).ok()?;
                content = content.get(length..)?;
            }
            5 => content = content.get(4..)?,
            _ => return None,
        }
    }
    match status {
        0 => Some(Said::Unknown),
        1 => Some(Said::Serving),
        2 => Some(Said::NotServing),
        3 => Some(Said::ServiceUnknown),
        _ => None,
    }
}

fn write_varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_those_of_the_protocol() {
        assert_eq!(message(&request("")), [0, 0, 0, 0, 0]);
        assert_eq!(message(&request("a.B")), *b"\0\0\0\0\x05\x0a\x03a.B");
        let long = request(&"s".repeat(300));
        assert_eq!(long[..3], [0x0a, 0xac, 0x02]);
    }

    #[test]
    fn every_status_is_told_apart() {
        use Said::{NotServing, ServiceUnknown, Unknown};
        let answer = |content: &[u8]| serving(&message(content));
        assert_eq!(answer(&[]), Some(Unknown));
        assert_eq!(answer(&[8, 1]), Some(Said::Serving));
        assert_eq!(answer(&[8, 2]), Some(NotServing));
        assert_eq!(answer(&[8, 3]), Some(ServiceUnknown));
        assert_eq!(answer(&[8, 9]), None);
        let among_others = [0x12, 2, b'x', b'y', 8, 1, 0x1d, 0, 0, 0, 0];
        assert_eq!(answer(&among_others), Some(Said::Serving));
    }

    #[test]
    fn a_failed_call_is_named() {
        let outcome = |code, message| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", HeaderValue::from_static(code));
            headers.insert("grpc-message", HeaderValue::from_static(message));
            succeeded(&headers)
        };
        assert_eq!(outcome("0", ""), Ok(()));
        assert_eq!(outcome("12", "no health here").unwrap_err(), "grpc-status 12 (UNIMPLEMENTED): no health here");
        assert!(outcome("99", "x").unwrap_err().contains("unknown code"));
        assert!(succeeded(&HeaderMap::new()).is_err());
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = serving(&body);
            let _ = serving(&message(&body));
        }

        #[test]
        fn numbers_read_back(number in any::<u64>()) {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, number);
            prop_assert_eq!(read_varint(&mut &*bytes), Some(number));
        }
    }
}
