//! How long a body is (RFC 9112 section 6.3), and how one is written.

use http::{Method, StatusCode, Version};

use crate::{
    error::Fault,
    noted::{Noted, Single},
};

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
pub(crate) fn request_length(noted: &Noted<'_>, version: Version) -> Result<Length, Fault> {
    let length = content_length(noted.content_length)?;
    if noted.transfer_encoding.value.is_none() {
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
    chunked(noted.transfer_encoding).map(|()| Length::Chunked)
}

/// Length of a response's body, given the request's method.
///
/// # Errors
/// As [`request_length`].
pub(crate) fn response_length(
    noted: &Noted<'_>,
    version: Version,
    status: StatusCode,
    method: &Method,
) -> Result<Length, Fault> {
    let bodyless = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || *method == Method::HEAD;
    if bodyless {
        content_length(noted.content_length)?;
        return Ok(Length::Empty);
    }
    if noted.transfer_encoding.value.is_some() {
        return request_length(noted, version);
    }
    Ok(match content_length(noted.content_length)? {
        Some(0) => Length::Empty,
        Some(n) => Length::Known(n),
        None => Length::UntilClose,
    })
}

fn content_length(field: Single<'_>) -> Result<Option<u64>, Fault> {
    let Some(digits) = field.value else { return Ok(None) };
    if field.repeated {
        return Err(Fault::bad("more than one content-length"));
    }
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::bad("content-length is not a number"));
    }
    let number =
        digits.iter().try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    number.map(Some).ok_or(Fault::bad("content-length is too large"))
}

fn chunked(field: Single<'_>) -> Result<(), Fault> {
    let value = field.value.unwrap_or_default();
    if field.repeated {
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
    use http::HeaderName;

    use super::*;

    fn noted(fields: &[(&'static str, &'static str)]) -> Noted<'static> {
        fields.iter().fold(Noted::default(), |mut noted, (name, value)| {
            assert!(noted.take(&HeaderName::from_static(name), value.as_bytes()));
            noted
        })
    }

    fn request(fields: &[(&'static str, &'static str)]) -> Result<Length, StatusCode> {
        request_length(&noted(fields), Version::HTTP_11).map_err(|fault| fault.status)
    }

    #[test]
    fn lengths_that_are_clear() {
        assert_eq!(request(&[]), Ok(Length::Empty));
        assert_eq!(request(&[("content-length", "0")]), Ok(Length::Empty));
        assert_eq!(request(&[("content-length", "12")]), Ok(Length::Known(12)));
        assert_eq!(request(&[("content-length", "18446744073709551615")]), Ok(Length::Known(u64::MAX)));
        assert_eq!(request(&[("transfer-encoding", "Chunked")]), Ok(Length::Chunked));
    }

    #[test]
    fn lengths_that_two_readers_could_understand_differently() {
        let bad = Err(StatusCode::BAD_REQUEST);
        assert_eq!(request(&[("content-length", "5"), ("content-length", "5")]), bad);
        assert_eq!(request(&[("content-length", "5, 5")]), bad);
        assert_eq!(request(&[("content-length", "18446744073709551616")]), bad);
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
        let http10 = request_length(&noted(&[("transfer-encoding", "chunked")]), Version::HTTP_10);
        assert!(http10.is_err());
    }

    #[test]
    fn responses_without_body() {
        let with_length = noted(&[("content-length", "7")]);
        let length = |status, method| {
            response_length(&with_length, Version::HTTP_11, StatusCode::from_u16(status).unwrap(), &method)
        };
        assert_eq!(length(200, Method::GET), Ok(Length::Known(7)));
        assert_eq!(length(200, Method::HEAD), Ok(Length::Empty));
        assert_eq!(length(304, Method::GET), Ok(Length::Empty));
        let open = response_length(&Noted::default(), Version::HTTP_11, StatusCode::OK, &Method::GET);
        assert_eq!(open, Ok(Length::UntilClose));
    }
}
