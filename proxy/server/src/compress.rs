//! Responses made smaller for clients that understand it: what may be compressed, by what, and the
//! compressors themselves (RFC 9110 sections 8.4 and 12.5.3).

use std::io::{self, Write};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::write::GzEncoder;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
        ETAG, IF_NONE_MATCH, VARY,
    },
};
use weir_config::{Coding, Compression};
use zstd::stream::write::Encoder as ZstdEncoder;

const GZIP_LEVEL: u32 = 5;
const BROTLI_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;
/// Binary logarithm of what compressors look back on: half a megabyte for each response under way.
const WINDOW: u32 = 19;
const BROTLI_BUFFER: usize = 4096;

/// Fields that tell of the very octets of a response.
static DIGESTS: [HeaderName; 3] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// What a client takes, by its own preference and then by ours. None where it prefers content as it is.
pub fn choose(headers: &HeaderMap, algorithms: &[Coding]) -> Option<Coding> {
    if says_no_transform(headers) {
        return None;
    }
    let (mut identity, mut any) = (0, None);
    let mut weights = [None; 3];
    for (name, weight) in headers.get_all(ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok()).flat_map(preferences)
    {
        match name {
            _ if name.eq_ignore_ascii_case("identity") => identity = weight,
            "*" => any = Some(weight),
            _ => {
                let is = |coding: &&Coding| {
                    name.eq_ignore_ascii_case(coding.as_str())
                        || (**coding == Coding::Gzip && name.eq_ignore_ascii_case("x-gzip"))
                };
                let place = algorithms.iter().position(|coding| is(&coding));
                if let Some(known) = place.and_then(|place| weights.get_mut(place)) {
                    *known = Some(weight);
                }
            }
        }
    }
    let weighed = algorithms.iter().zip(weights).map(|(coding, weight)| (*coding, weight.or(any).unwrap_or(0)));
    let best = weighed.reduce(|best, other| if other.1 > best.1 { other } else { best })?;
    (best.1 > 0 && best.1 >= identity).then_some(best.0)
}

/// Each coding with its weight in thousandths.
fn preferences(value: &str) -> impl Iterator<Item = (&str, u32)> {
    value.split(',').filter_map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some((name, weight.map_or(Some(1000), thousandths)?))
    })
}

fn thousandths(weight: &str) -> Option<u32> {
    let weight: f32 = weight.parse().ok()?;
    (0.0..=1.0).contains(&weight).then_some((weight * 1000.0) as u32)
}

fn says_no_transform(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("no-transform"))
}

/// Whether a response may be compressed at all.
fn is_eligible(config: &Compression, status: StatusCode, headers: &HeaderMap, length: Option<u64>) -> bool {
    let bodyless = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
    let small = length.is_some_and(|length| length == 0 || length < config.min_size.0);
    let kind = || headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    !bodyless
        && !small
        && status != StatusCode::PARTIAL_CONTENT
        && is_listed(&config.types, kind())
        && !headers.contains_key(CONTENT_RANGE)
        && headers.get(CONTENT_ENCODING).is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
        && !says_no_transform(headers)
        && !DIGESTS.iter().any(|name| headers.contains_key(name))
}

fn is_listed(types: &[String], kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    types.iter().any(|wanted| match wanted.strip_suffix('*') {
        // Events are small and many, and some clients wait for each; who wants them compressed lists them.
        Some(_) if kind.eq_ignore_ascii_case("text/event-stream") => false,
        Some(front) => kind.get(..front.len()).is_some_and(|start| start.eq_ignore_ascii_case(front)),
        None => wanted.eq_ignore_ascii_case(kind),
    })
}

/// A compressor for a response, whose fields and length then tell of what it makes. None where the response
/// stays as it is. `asked` are the request's fields; `length` is that of the body where it is known.
pub fn begin(
    config: &Compression,
    coding: Option<Coding>,
    (method, asked, status): (&Method, &HeaderMap, StatusCode),
    headers: &mut HeaderMap,
    length: &mut Option<u64>,
) -> Option<Box<Compressor>> {
    if status == StatusCode::NOT_MODIFIED {
        tell_unmodified(config, asked, headers);
        return None;
    }
    // A response to HEAD says how long the body would be, and has none.
    let told = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let known = if *method == Method::HEAD { told } else { *length };
    if !is_eligible(config, status, headers, known) {
        return None;
    }
    vary(headers);
    let coding = coding.filter(|_| *method != Method::HEAD)?;
    let compressor = Compressor::try_new(coding).ok()?;
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    weaken(headers);
    *length = None;
    Some(Box::new(compressor))
}

/// 304 says what 200 said of the choice (RFC 9110 section 15.4.5). It mostly does not tell the type: that something
/// was compressed is seen by its tag.
fn tell_unmodified(config: &Compression, asked: &HeaderMap, headers: &mut HeaderMap) {
    if headers.contains_key(CONTENT_ENCODING) {
        return;
    }
    let weakened = has_weakened(asked, headers);
    if weakened {
        weaken(headers);
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.map_or(weakened, |kind| is_listed(&config.types, kind)) {
        vary(headers);
    }
}

/// Whether the client asks by what became of a response's tag when it was compressed.
fn has_weakened(asked: &HeaderMap, headers: &HeaderMap) -> bool {
    let Some(tag) = strong_tag(headers) else { return false };
    let weak = [b"W/", tag.as_bytes()].concat();
    asked.get_all(IF_NONE_MATCH).iter().any(|tags| tags.as_bytes().windows(weak.len()).any(|part| part == weak))
}

fn vary(headers: &mut HeaderMap) {
    let said = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let mut said = said.map(str::trim);
    if !said.any(|name| name == "*" || name.eq_ignore_ascii_case("accept-encoding")) {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Octets differ from those that a strong validator stands for.
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = strong_tag(headers) else { return };
    match HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        Ok(weak) => drop(headers.insert(ETAG, weak)),
        Err(_) => drop(headers.remove(ETAG)),
    }
}

/// A tag as RFC 9110 section 8.8.3 has them, without `W/`. Another one stays as the endpoint sent it: with `W/` before it
/// it would be no tag either.
fn strong_tag(headers: &HeaderMap) -> Option<&HeaderValue> {
    let is_tag = |octet: &u8| *octet == 0x21 || (0x23..=0x7e).contains(octet) || *octet >= 0x80;
    headers.get(ETAG).filter(|tag| {
        let inner = tag.as_bytes().strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        inner.is_some_and(|inner| inner.iter().all(is_tag))
    })
}

/// Compresses one response.
pub struct Compressor {
    coding: Coding,
    encoder: Option<Encoder>,
    /// Something was written since what is here was last let out.
    held: bool,
    /// Octets of the response, and what was made of them.
    counts: (u64, u64),
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

impl Compressor {
    fn try_new(coding: Coding) -> io::Result<Self> {
        let encoder = match coding {
            Coding::Gzip => Encoder::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL))),
            Coding::Brotli => {
                let writer = CompressorWriter::new(Vec::new(), BROTLI_BUFFER, BROTLI_LEVEL, WINDOW);
                Encoder::Brotli(Box::new(writer))
            }
            Coding::Zstd => {
                let mut encoder = ZstdEncoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(WINDOW)?;
                Encoder::Zstd(encoder)
            }
        };
        Ok(Self { coding, encoder: Some(encoder), held: false, counts: (0, 0) })
    }

    /// By what.
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// Octets of the response so far, and what was made of them.
    pub fn counts(&self) -> (u64, u64) {
        self.counts
    }

    /// Take a piece, and give what is ready: little or nothing at first, everything at the `end`.
    ///
    /// # Errors
    /// The compressor failed.
    pub fn take(&mut self, data: &[u8], end: bool) -> io::Result<Bytes> {
        let Some(encoder) = &mut self.encoder else { return Ok(Bytes::new()) };
        if !data.is_empty() {
            encoder.write_all(data)?;
            self.held = true;
            self.counts.0 += data.len() as u64;
        }
        let ready = match end {
            false => encoder.ready(),
            true => self.encoder.take().map_or(Ok(Vec::new()), Encoder::finish)?,
        };
        Ok(self.count(ready))
    }

    /// Give everything that was taken: nobody knows when more comes.
    ///
    /// # Errors
    /// The compressor failed.
    pub fn flush(&mut self) -> io::Result<Bytes> {
        if !std::mem::take(&mut self.held) {
            return Ok(Bytes::new());
        }
        let Some(encoder) = &mut self.encoder else { return Ok(Bytes::new()) };
        encoder.flush()?;
        let ready = encoder.ready();
        Ok(self.count(ready))
    }

    fn count(&mut self, ready: Vec<u8>) -> Bytes {
        self.counts.1 += ready.len() as u64;
        ready.into()
    }
}

impl Encoder {
    fn ready(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        })
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl Write for Encoder {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(encoder) => encoder.write(data),
            Self::Brotli(encoder) => encoder.write(data),
            Self::Zstd(encoder) => encoder.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests;
