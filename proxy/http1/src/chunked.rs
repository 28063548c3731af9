//! Chunked bodies (RFC 9112 section 7.1), read strictly: a line ends in CR LF and nothing else.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{error::Fault, fields::is_forbidden_trailer};

const MAX_SIZE_LINE: usize = 1024;
const MAX_TRAILERS: usize = 16 * 1024;
const MAX_TRAILER_FIELDS: usize = 64;

/// Where the decoder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
}

/// Reads a chunked body out of a buffer, bit by bit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decoder(State);

/// What one step gave.
#[derive(Debug)]
pub(crate) enum Step {
    More,
    Data(Bytes),
    End(Option<HeaderMap>),
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self(State::Size)
    }

    pub(crate) fn step(&mut self, input: &mut BytesMut) -> Result<Step, Fault> {
        loop {
            match self.0 {
                State::Size => match take_line(input, MAX_SIZE_LINE)? {
                    None => return Ok(Step::More),
                    Some(line) => {
                        let size = chunk_size(&line)?;
                        self.0 = if size == 0 { State::Trailers } else { State::Data(size) };
                    }
                },
                State::Data(left) => {
                    if input.is_empty() {
                        return Ok(Step::More);
                    }
                    let n = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let left = left - n as u64;
                    self.0 = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Step::Data(input.split_to(n).freeze()));
                }
                State::DataEnd => match input.as_ref() {
                    [b'\r', b'\n', ..] => {
                        input.advance(2);
                        self.0 = State::Size;
                    }
                    [] | [b'\r'] => return Ok(Step::More),
                    _ => return Err(Fault::bad("chunk is longer than its size")),
                },
                State::Trailers => return trailers(input),
            }
        }
    }
}

/// One line without its CR LF; none as long as it is not whole.
fn take_line(input: &mut BytesMut, most: usize) -> Result<Option<BytesMut>, Fault> {
    let Some(end) = memchr::memchr(b'\n', input) else {
        return if input.len() > most { Err(Fault::bad("chunk line is too long")) } else { Ok(None) };
    };
    if end > most {
        return Err(Fault::bad("chunk line is too long"));
    }
    let mut line = input.split_to(end + 1);
    line.truncate(end);
    if line.last() != Some(&b'\r') {
        return Err(Fault::bad("line without carriage return in a chunked body"));
    }
    line.truncate(end.saturating_sub(1));
    if memchr::memchr(b'\r', &line).is_some() {
        return Err(Fault::bad("bare carriage return in a chunked body"));
    }
    Ok(Some(line))
}

fn chunk_size(line: &[u8]) -> Result<u64, Fault> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at_checked(digits).unwrap_or_default();
    if digits == 0 || digits > 16 {
        return Err(Fault::bad("chunk size is not a hexadecimal number"));
    }
    let extension_ok = match extension.trim_ascii_start() {
        [] => extension.is_empty(),
        [b';', rest @ ..] => rest.iter().all(|b| matches!(b, b'\t' | b' '..=b'~' | 0x80..)),
        _ => false,
    };
    if !extension_ok {
        return Err(Fault::bad("chunk size is followed by something else"));
    }
    let text = std::str::from_utf8(size).unwrap_or("");
    u64::from_str_radix(text, 16).map_err(|_| Fault::bad("chunk size is not a hexadecimal number"))
}

fn trailers(input: &mut BytesMut) -> Result<Step, Fault> {
    if input.starts_with(b"\r\n") {
        input.advance(2);
        return Ok(Step::End(None));
    }
    let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else {
        let bare = memchr::memchr_iter(b'\n', input).any(|at| at == 0 || input.get(at - 1) != Some(&b'\r'));
        if bare {
            return Err(Fault::bad("line without carriage return in trailers"));
        }
        return if input.len() > MAX_TRAILERS { Err(Fault::bad("trailers are too large")) } else { Ok(Step::More) };
    };
    if end > MAX_TRAILERS {
        return Err(Fault::bad("trailers are too large"));
    }
    let block = input.split_to(end + 4);
    parse_trailers(&block).map(|map| Step::End(Some(map)))
}

fn parse_trailers(block: &[u8]) -> Result<HeaderMap, Fault> {
    const BAD: Fault = Fault::bad("malformed trailer field");
    if memchr::memchr_iter(b'\n', block).any(|at| at == 0 || block.get(at - 1) != Some(&b'\r')) {
        return Err(Fault::bad("line without carriage return in trailers"));
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(block, &mut fields) else {
        return Err(BAD);
    };
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BAD)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| BAD)?;
        if !is_forbidden_trailer(&name) {
            map.append(name, value);
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &[u8]) -> Result<(Vec<u8>, Option<HeaderMap>), Fault> {
        let (mut decoder, mut input, mut body) = (Decoder::new(), BytesMut::from(text), Vec::new());
        loop {
            match decoder.step(&mut input)? {
                Step::More => return Err(Fault::bad("more")),
                Step::Data(data) => body.extend_from_slice(&data),
                Step::End(trailers) => return Ok((body, trailers)),
            }
        }
    }

    #[test]
    fn reads_chunks_extensions_and_trailers() {
        let (body, trailers) =
            decode(b"3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nX-Sum: 7\r\nHost: evil\r\n\r\n").unwrap();
        assert_eq!(body, b"abc0123456789");
        let trailers = trailers.unwrap();
        assert_eq!(trailers.get("x-sum").unwrap(), "7");
        assert!(!trailers.contains_key("host"));
    }

    #[test]
    fn refuses_what_could_be_read_in_two_ways() {
        for bad in [
            &b"3\nabc\r\n0\r\n\r\n"[..],
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"+3\r\nabc\r\n0\r\n\r\n",
            b" 3\r\nabc\r\n0\r\n\r\n",
            b"3 \r\nabc\r\n0\r\n\r\n",
            b"\r\nabc\r\n0\r\n\r\n",
            b"-1\r\nabc\r\n0\r\n\r\n",
            b"11111111111111111\r\nabc",
            b"3\r\nabc\n0\r\n\r\n",
            b"3;\x01\r\nabc\r\n0\r\n\r\n",
            b"3\r\nabc\r\n0\r\nA : b\r\n\r\n",
            b"3\r\nabc\r\n0\r\nA: b\n\r\n\r\n",
            b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        ] {
            let fault = decode(bad).expect_err(&String::from_utf8_lossy(bad));
            assert_ne!(fault.reason, "more", "{}", String::from_utf8_lossy(bad));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_split_gives_the_same_body(chunks in proptest::collection::vec(proptest::collection::vec(0u8.., 1..50), 0..8), step in 1usize..20) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            let (mut decoder, mut input, mut body, mut ended) = (Decoder::new(), BytesMut::new(), Vec::new(), false);
            for piece in text.chunks(step) {
                input.extend_from_slice(piece);
                loop {
                    match decoder.step(&mut input).unwrap() {
                        Step::More => break,
                        Step::Data(data) => body.extend_from_slice(&data),
                        Step::End(_) => { ended = true; break }
                    }
                }
            }
            proptest::prop_assert!(ended);
            proptest::prop_assert_eq!(body, chunks.concat());
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(0u8.., 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
