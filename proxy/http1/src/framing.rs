//! How long a body is (RFC 9112 section 6.3), and how one is written.

use http::{
    HeaderMap, Method, StatusCode, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

use crate::error::Fault;

/// Length of an incoming body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// There is none.
    Empty,
    /// This many bytes.
    Known(u64),
    /// In chunks, with trailers perhaps.
    Chunked,
    /// All that comes until the peer closes; responses only.
    UntilClose,
}

/// How an outgoing body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none, whatever the fields say.
    Empty,
    /// This many bytes.
    Known(u64),
    /// In chunks.
    Chunked,
    /// The end of the connection ends it.
    UntilClose,
}

/// Length of a request's body.
///
/// # Errors
/// A [`Fault`] for every way of saying it that two readers could understand differently.
pub fn request_length(headers: &HeaderMap, version: Version) -> Result<Length, Fault> {
    let length = content_length(headers)?;
    if !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(match length {
            None | Some(0) => Length::Empty,
            Some(n) => Length::Known(n),
        });
    }
    if version == Version::HTTP_10 {
        return Err(Fault::bad("transfer-encoding in an HTTP/1.0 message"));
    }
    if length.is_some() {
        return Err(Fault::bad("both content-length and transfer-encoding"));
    }
    chunked(headers).map(|()| Length::Chunked)
}

/// Length of a response's body, given the request's method.
///
/// # Errors
/// As [`request_length`].
pub fn response_length(
    headers: &HeaderMap,
    version: Version,
    status: StatusCode,
    method: &Method,
) -> Result<Length, Fault> {
    let bodyless = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || *method == Method::HEAD;
    if bodyless {
        content_length(headers)?;
        return Ok(Length::Empty);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        return request_length(headers, version);
    }
    Ok(match content_length(headers)? {
        Some(0) => Length::Empty,
        Some(n) => Length::Known(n),
        None => Length::UntilClose,
    })
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Fault::bad("more than one content-length"));
    }
    let digits = value.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::bad("content-length is not a number"));
    }
    let number = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok());
    number.map(Some).ok_or(Fault::bad("content-length is too large"))
}

fn chunked(headers: &HeaderMap) -> Result<(), Fault> {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    let value = values.next().map(|v| v.as_bytes()).unwrap_or_default();
    if values.next().is_some() {
        return Err(Fault::bad("more than one transfer-encoding"));
    }
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let last = value.rsplit(|b| *b == b',').next().unwrap_or_default().trim_ascii();
    let known = value.iter().all(|b| b.is_ascii_graphic() || matches!(b, b' ' | b'\t'));
    if known && last.eq_ignore_ascii_case(b"chunked") && !repeats_chunked(value) {
        return Err(Fault::with(StatusCode::NOT_IMPLEMENTED, "transfer coding other than chunked"));
    }
    Err(Fault::bad("transfer-encoding does not end in one chunked"))
}

fn repeats_chunked(value: &[u8]) -> bool {
    value.split(|b| *b == b',').filter(|c| c.trim_ascii().eq_ignore_ascii_case(b"chunked")).count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(*name, value.parse().unwrap());
            map
        })
    }

    fn request(fields: &[(&'static str, &str)]) -> Result<Length, StatusCode> {
        request_length(&headers(fields), Version::HTTP_11).map_err(|fault| fault.status)
    }

    #[test]
    fn lengths_that_are_clear() {
        assert_eq!(request(&[]), Ok(Length::Empty));
        assert_eq!(request(&[("content-length", "0")]), Ok(Length::Empty));
        assert_eq!(request(&[("content-length", "12")]), Ok(Length::Known(12)));
        assert_eq!(request(&[("transfer-encoding", "Chunked")]), Ok(Length::Chunked));
    }

    #[test]
    fn lengths_that_two_readers_could_understand_differently() {
        let bad = Err(StatusCode::BAD_REQUEST);
        assert_eq!(request(&[("content-length", "5"), ("content-length", "5")]), bad);
        assert_eq!(request(&[("content-length", "5, 5")]), bad);
        assert_eq!(request(&[("content-length", "+5")]), bad);
        assert_eq!(request(&[("content-length", "0x5")]), bad);
        assert_eq!(request(&[("content-length", "")]), bad);
        assert_eq!(request(&[("content-length", "99999999999999999999")]), bad);
        assert_eq!(request(&[("content-length", "5"), ("transfer-encoding", "chunked")]), bad);
        assert_eq!(request(&[("transfer-encoding", "chunked, chunked")]), bad);
        assert_eq!(request(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]), bad);
        assert_eq!(request(&[("transfer-encoding", "chunked, identity")]), bad);
        assert_eq!(request(&[("transfer-encoding", "xchunked")]), bad);
        assert_eq!(request(&[("transfer-encoding", "gzip, chunked")]), Err(StatusCode::NOT_IMPLEMENTED));
        let http10 = request_length(&headers(&[("transfer-encoding", "chunked")]), Version::HTTP_10);
        assert!(http10.is_err());
    }

    #[test]
    fn responses_without_body() {
        let with_length = headers(&[("content-length", "7")]);
        let length = |status, method| {
            response_length(&with_length, Version::HTTP_11, StatusCode::from_u16(status).unwrap(), &method)
        };
        assert_eq!(length(200, Method::GET), Ok(Length::Known(7)));
        assert_eq!(length(200, Method::HEAD), Ok(Length::Empty));
        assert_eq!(length(304, Method::GET), Ok(Length::Empty));
        let open = response_length(&HeaderMap::new(), Version::HTTP_11, StatusCode::OK, &Method::GET);
        assert_eq!(open, Ok(Length::UntilClose));
    }
}
