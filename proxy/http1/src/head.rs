//! Message heads: found in a buffer, parsed strictly, written.
//!
//! Stricter than RFC 9112 demands where leniency has been used to smuggle requests: a line ends in
//! CR LF, nothing precedes a colon, a field is never folded, there is one Host and it is valid.

use std::mem::MaybeUninit;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

use crate::{
    error::Fault,
    framing::{Framing, Length, request_length, response_length},
    noted::{Noted, Single},
};

/// Most header fields of any message; [`Limits::headers`] may only be lower.
const MAX_FIELDS: usize = 256;

/// How many fields a request usually has more when it is sent on.
const ADDED: usize = 4;

/// What a head may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Octets of the first line and all fields together.
    pub bytes: usize,
    /// Number of fields; at most 256.
    pub headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 * 1024, headers: MAX_FIELDS }
    }
}

/// Head of a request.
#[derive(Debug)]
pub struct RequestHead {
    /// As sent.
    pub method: Method,
    /// Origin, absolute, authority or asterisk form, as sent.
    pub uri: Uri,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// All fields but a `Connection` that says no more than `keep_alive` does.
    pub headers: HeaderMap,
    /// Whether some of them are about the connection.
    pub hop_by_hop: bool,
    /// Whether there is `Expect` among them.
    pub expects: bool,
    /// Of the body that follows.
    pub length: Length,
    /// Whether the client wants to go on after this exchange.
    pub keep_alive: bool,
}

/// Head of a response.
#[derive(Debug)]
pub struct ResponseHead {
    /// 100 to 999.
    pub status: StatusCode,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// All fields but a `Connection` that says no more than `keep_alive` does.
    pub headers: HeaderMap,
    /// Whether some of them are about the connection.
    pub hop_by_hop: bool,
    /// Of the body that follows.
    pub length: Length,
    /// Whether the server keeps the connection after this exchange.
    pub keep_alive: bool,
}

/// Index past the end of the head at the front of `input`; none as long as it is not whole.
/// `scanned` remembers what was looked at, so that a head that comes byte by byte is read once.
pub(crate) fn find_end(input: &mut BytesMut, scanned: &mut usize, limits: Limits) -> Result<Option<usize>, Fault> {
    if *scanned == 0 {
        skip_empty_lines(input);
    }
    let mut line = input.get(..*scanned).and_then(|seen| memchr::memrchr(b'\n', seen)).map_or(0, |at| at + 1);
    let unseen = input.get(*scanned..).unwrap_or_default();
    for at in memchr::memchr_iter(b'\n', unseen) {
        let at = at + *scanned;
        if at == 0 || input.get(at - 1) != Some(&b'\r') {
            return Err(Fault::bad("line without carriage return"));
        }
        if at == line + 1 {
            return if at < limits.bytes { Ok(Some(at + 1)) } else { Err(too_large(input, limits)) };
        }
        line = at + 1;
    }
    if has_bare_return(input.get(scanned.saturating_sub(1)..).unwrap_or_default()) {
        return Err(Fault::bad("bare carriage return"));
    }
    *scanned = input.len();
    match input.first() {
        Some(first) if !is_token(*first) && *first != b'\r' => Err(Fault::bad("not an HTTP message")),
        _ if input.len() >= limits.bytes => Err(too_large(input, limits)),
        _ => Ok(None),
    }
}

/// Whether a carriage return is followed by anything but a line feed: such a head is refused before
/// its end, which the client may take to have come.
fn has_bare_return(text: &[u8]) -> bool {
    memchr::memchr_iter(b'\r', text).any(|at| text.get(at + 1).is_some_and(|next| *next != b'\n'))
}

/// RFC 9112 section 2.2: empty lines before a request line are ignored.
fn skip_empty_lines(input: &mut BytesMut) {
    for _ in 0..4 {
        if input.starts_with(b"\r\n") {
            input.advance(2);
        }
    }
}

fn too_large(input: &[u8], limits: Limits) -> Fault {
    match memchr::memchr(b'\n', input.get(..limits.bytes).unwrap_or(input)) {
        None => Fault::with(StatusCode::URI_TOO_LONG, "request line is too long"),
        Some(_) => FIELDS_TOO_LARGE,
    }
}

const FIELDS_TOO_LARGE: Fault = Fault::with(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "header fields are too large");

impl RequestHead {
    /// Parse a whole head, its empty line included.
    pub(crate) fn parse(block: Bytes, limits: Limits) -> Result<Self, Fault> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let fields = fields.get_mut(..limits.headers.min(MAX_FIELDS)).unwrap_or_default();
        match request.parse_with_uninit_headers(&block, fields) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(Fault::bad("malformed request")),
            Err(httparse::Error::Version) if !names_a_version(&block) => return Err(fault(httparse::Error::Token)),
            Err(error) => return Err(fault(error)),
        }
        let version = version(request.version)?;
        let method = request.method.unwrap_or_default();
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| Fault::bad("malformed method"))?;
        let uri = target(&block, request.path.unwrap_or_default(), &method)?;
        let (headers, noted) = header_map(&block, request.headers, ADDED)?;
        check_host(noted.host, version)?;
        let length = request_length(&noted, version)?;
        let keep_alive = noted.keeps_alive(&headers, version);
        let Noted { hop_by_hop, expects, .. } = noted;
        Ok(Self { method, uri, version, headers, hop_by_hop, expects, length, keep_alive })
    }

    /// Write the head of a request to an endpoint. Of the length of its body it says what `framing` says, whatever
    /// the fields do: what we and the endpoint do not agree on would be the beginning of another request.
    pub fn write(out: &mut BytesMut, method: &Method, target: &str, headers: &HeaderMap, framing: Framing) {
        out.reserve(target.len() + 64 + headers.len() * 48);
        out.put_slice(method.as_str().as_bytes());
        out.put_u8(b' ');
        out.put_slice(target.as_bytes());
        out.put_slice(b" HTTP/1.1\r\n");
        let told = write_fields(out, headers, false);
        // Of a POST without body many clients say so, and some servers insist on it.
        write_framing(out, if told && framing == Framing::Empty { Framing::Known(0) } else { framing });
    }
}

impl ResponseHead {
    pub(crate) fn parse(block: Bytes, limits: Limits, method: &Method) -> Result<Self, Fault> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let fields = fields.get_mut(..limits.headers.min(MAX_FIELDS)).unwrap_or_default();
        let parsed =
            httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, &block, fields);
        match parsed {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(Fault::bad("malformed response")),
            Err(error) => return Err(fault(error)),
        }
        let version = version(response.version)?;
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(Fault::bad("malformed status"))?;
        let (headers, noted) = header_map(&block, response.headers, 0)?;
        let length = response_length(&noted, version, status, method)?;
        let keep_alive = noted.keeps_alive(&headers, version) && length != Length::UntilClose;
        Ok(Self { status, version, headers, hop_by_hop: noted.hop_by_hop, length, keep_alive })
    }

    /// Write the head of a response to a client. `connection` becomes the Connection field.
    pub fn write(
        out: &mut BytesMut,
        status: StatusCode,
        headers: &HeaderMap,
        framing: Framing,
        connection: Option<&'static str>,
    ) {
        out.reserve(64 + headers.len() * 48);
        match status {
            StatusCode::OK => out.put_slice(b"HTTP/1.1 200 OK\r\n"),
            _ => {
                out.put_slice(b"HTTP/1.1 ");
                out.put_slice(status.as_str().as_bytes());
                out.put_u8(b' ');
                out.put_slice(status.canonical_reason().unwrap_or("").as_bytes());
                out.put_slice(b"\r\n");
            }
        }
        if let Some(connection) = connection {
            out.put_slice(b"connection: ");
            out.put_slice(connection.as_bytes());
            out.put_slice(b"\r\n");
        }
        // A response to HEAD and 304 tell the length of a body that they do not have.
        write_fields(out, headers, framing == Framing::Empty);
        write_framing(out, framing);
    }
}

/// Write all fields but those that frame the message; the length that it is said to have only where that frames
/// nothing. Whether there is one among them.
fn write_fields(out: &mut BytesMut, headers: &HeaderMap, with_length: bool) -> bool {
    let mut told = false;
    for (name, value) in headers {
        let is_length = *name == CONTENT_LENGTH;
        told |= is_length;
        let framed_by_us = *name == TRANSFER_ENCODING || (is_length && !with_length);
        if !framed_by_us {
            out.put_slice(name.as_str().as_bytes());
            out.put_slice(b": ");
            out.put_slice(value.as_bytes());
            out.put_slice(b"\r\n");
        }
    }
    told
}

fn write_framing(out: &mut BytesMut, framing: Framing) {
    match framing {
        Framing::Empty | Framing::UntilClose => {}
        Framing::Known(length) => {
            out.put_slice(b"content-length: ");
            out.put_slice(itoa::Buffer::new().format(length).as_bytes());
            out.put_slice(b"\r\n");
        }
        Framing::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.put_slice(b"\r\n");
}

fn fault(error: httparse::Error) -> Fault {
    match error {
        httparse::Error::TooManyHeaders => {
            Fault::with(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many header fields")
        }
        httparse::Error::Version => Fault::with(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "not HTTP/1.0 or HTTP/1.1"),
        httparse::Error::HeaderName => Fault::bad("malformed header name"),
        httparse::Error::HeaderValue => Fault::bad("malformed header value"),
        httparse::Error::NewLine => Fault::bad("malformed line end"),
        httparse::Error::Status => Fault::bad("malformed status"),
        httparse::Error::Token => Fault::bad("malformed first line"),
    }
}

/// Whether the first line ends in the name of some version of HTTP.
fn names_a_version(block: &[u8]) -> bool {
    let line = memchr::memchr(b'\r', block).and_then(|end| block.get(..end)).unwrap_or_default();
    let name = line.splitn(3, |b| *b == b' ').nth(2).unwrap_or_default();
    matches!(name, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

fn version(minor: Option<u8>) -> Result<Version, Fault> {
    match minor {
        Some(1) => Ok(Version::HTTP_11),
        Some(0) => Ok(Version::HTTP_10),
        _ => Err(Fault::bad("malformed version")),
    }
}

fn target(block: &Bytes, target: &str, method: &Method) -> Result<Uri, Fault> {
    const BAD: Fault = Fault::bad("malformed request target");
    let visible = target.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    let form_fits = match target.as_bytes() {
        [b'/', ..] => *method != Method::CONNECT,
        b"*" => *method == Method::OPTIONS,
        _ if *method == Method::CONNECT => is_valid_authority(target) && target.contains(':'),
        _ => is_http_absolute(target),
    };
    if !visible || !form_fits {
        return Err(BAD);
    }
    let uri = Uri::from_maybe_shared(block.slice_ref(target.as_bytes()));
    uri.or_else(|_| Uri::try_from(encoded(target))).map_err(|_| BAD)
}

/// With those octets encoded that RFC 3986 has in no target, and that some clients send as they are.
fn encoded(target: &str) -> String {
    target.replace('"', "%22").replace('<', "%3C").replace('>', "%3E").replace('`', "%60")
}

fn is_http_absolute(target: &str) -> bool {
    let Some((scheme, rest)) = target.split_once("://") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")) && is_valid_authority(authority)
}

/// `added` is how many fields the map has room for beside those of the head.
fn header_map<'a>(
    block: &Bytes,
    fields: &[httparse::Header<'a>],
    added: usize,
) -> Result<(HeaderMap, Noted<'a>), Fault> {
    let (mut headers, mut noted) = (HeaderMap::with_capacity(fields.len() + added), Noted::default());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Fault::bad("malformed header name"))?;
        if noted.take(&name, field.value) {
            let value = HeaderValue::from_maybe_shared(block.slice_ref(field.value));
            headers.append(name, value.map_err(|_| Fault::bad("malformed header value"))?);
        }
    }
    Ok((headers, noted))
}

fn check_host(host: Single<'_>, version: Version) -> Result<(), Fault> {
    match host {
        Single { value: None, .. } if version == Version::HTTP_10 => Ok(()),
        Single { value: None, .. } => Err(Fault::bad("no host")),
        Single { repeated: true, .. } => Err(Fault::bad("more than one host")),
        Single { value: Some(host), .. } if is_authority(host) => Ok(()),
        Single { .. } => Err(Fault::bad("malformed host")),
    }
}

/// Whether this is a host with an optional port and nothing else (RFC 3986 section 3.2 without user
/// information).
pub fn is_valid_authority(text: &str) -> bool {
    is_authority(text.as_bytes())
}

fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match memchr::memrchr(b':', text) {
        Some(at) if !text.ends_with(b"]") => text.split_at(at),
        _ => (text, &b""[..]),
    };
    let port = port.get(1..).unwrap_or_default();
    if !port.iter().all(u8::is_ascii_digit) || port.len() > 5 {
        return false;
    }
    match host.strip_prefix(b"[") {
        Some(literal) => literal.strip_suffix(b"]").is_some_and(is_ipv6),
        None => !host.is_empty() && host.iter().all(is_reg_name),
    }
}

fn is_ipv6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}

fn is_reg_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
