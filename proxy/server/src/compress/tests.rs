//! What is compressed, by what, and that it can be read again at any time.

use std::io::Read;

use proptest::prelude::*;
use weir_config::ByteSize;

use super::*;

const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn config() -> Compression {
    let types = vec!["text/*".to_owned(), "application/json".to_owned()];
    Compression { types, min_size: ByteSize(100), algorithms: ALL.to_vec() }
}

#[test]
fn clients_say_what_they_like() {
    for (said, chosen) in [
        ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
        ("gzip, br", Some(Coding::Brotli)),
        ("GZIP", Some(Coding::Gzip)),
        ("x-gzip;q=0.3", Some(Coding::Gzip)),
        ("br;q=0.5, gzip;q=0.9", Some(Coding::Gzip)),
        ("br ; q=1.0 , gzip;q=0.9", Some(Coding::Brotli)),
        ("*", Some(Coding::Zstd)),
        ("*;q=0.1, zstd;q=0", Some(Coding::Brotli)),
        ("identity, gzip;q=0.5", None),
        ("Identity;q=1, gzip;q=0.5", None),
        ("identity;q=0.2, gzip;q=0.5", Some(Coding::Gzip)),
        ("gzip;q=0", None),
        ("deflate", None),
        ("", None),
        ("gzip;q=2", None),
        ("gzip;q=x, br", Some(Coding::Brotli)),
    ] {
        assert_eq!(choose(&fields(&[("accept-encoding", said)]), &ALL), chosen, "{said}");
    }
    assert_eq!(choose(&HeaderMap::new(), &ALL), None, "who says nothing gets it as it is");
    let two = fields(&[("accept-encoding", "br;q=0.1"), ("accept-encoding", "gzip")]);
    assert_eq!(choose(&two, &ALL), Some(Coding::Gzip));
    assert_eq!(choose(&fields(&[("accept-encoding", "zstd, gzip")]), &[Coding::Gzip]), Some(Coding::Gzip));
    let plain = fields(&[("accept-encoding", "gzip"), ("cache-control", "no-cache, no-transform")]);
    assert_eq!(choose(&plain, &ALL), None);
}

#[test]
fn only_some_responses_are_compressed() {
    let html = ("content-type", "text/html; charset=utf-8");
    let begun = |status: u16, length: Option<u64>, said: &[(&'static str, &str)]| {
        let (mut headers, mut length) = (fields(said), length);
        let status = StatusCode::from_u16(status).unwrap();
        let about = (&Method::GET, &HeaderMap::new(), status);
        begin(&config(), Some(Coding::Gzip), about, &mut headers, &mut length).is_some()
    };
    for (status, length, said) in [
        (200, None, &[html][..]),
        (200, Some(100), &[html]),
        (404, Some(100), &[html]),
        (200, None, &[("content-type", "APPLICATION/JSON")]),
        (200, None, &[html, ("content-encoding", "identity")]),
    ] {
        assert!(begun(status, length, said), "{status} {length:?} {said:?}");
    }
    for (status, length, said) in [
        (200, Some(99), &[html][..]),
        (200, Some(0), &[html]),
        (204, None, &[html]),
        (304, None, &[html]),
        (206, None, &[html]),
        (200, None, &[]),
        (200, None, &[("content-type", "image/png")]),
        (200, None, &[("content-type", "text/event-stream")]),
        (200, None, &[html, ("content-encoding", "br")]),
        (200, None, &[html, ("content-range", "bytes 0-1/2")]),
        (200, None, &[html, ("cache-control", "public, No-Transform")]),
        (200, None, &[html, ("content-digest", "sha-256=:x:")]),
    ] {
        assert!(!begun(status, length, said), "{status} {length:?} {said:?}");
    }
    let mut events = config();
    events.types.push("text/event-stream".to_owned());
    assert!(is_listed(&events.types, "text/event-stream"), "who lists them means them");
}

#[test]
fn fields_tell_of_what_is_sent() {
    let given = [
        ("content-type", "text/plain"),
        ("content-length", "500"),
        ("accept-ranges", "bytes"),
        ("etag", "\"v1\""),
        ("vary", "Origin"),
    ];
    let (mut headers, mut length) = (fields(&given), Some(500));
    let asked = HeaderMap::new();
    let get = (&Method::GET, &asked, StatusCode::OK);
    assert!(begin(&config(), Some(Coding::Brotli), get, &mut headers, &mut length).is_some());
    let told: Vec<_> = headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!((told, length), (vec!["Origin", "accept-encoding"], None));
    assert_eq!(
        (&headers["etag"], &headers["content-encoding"]),
        (&"W/\"v1\"".parse().unwrap(), &"br".parse().unwrap())
    );
    assert!(!headers.contains_key("content-length") && !headers.contains_key("accept-ranges"));
    // Caches have to know even where this client gets it as it is.
    for (method, coding) in [(&Method::GET, None), (&Method::HEAD, Some(Coding::Gzip))] {
        let (mut headers, mut length) = (fields(&given), Some(500));
        assert!(begin(&config(), coding, (method, &asked, StatusCode::OK), &mut headers, &mut length).is_none());
        assert_eq!((headers.get_all("vary").iter().count(), length), (2, Some(500)));
        assert_eq!(
            (&headers["etag"], &headers["content-length"]),
            (&given[3].1.parse().unwrap(), &"500".parse().unwrap())
        );
    }
    let mut varied = fields(&[("vary", "Accept-Encoding")]);
    vary(&mut varied);
    assert_eq!(varied.get_all("vary").iter().count(), 1);
}

fn restored(coding: Coding, octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // What was flushed is readable although the end has not come.
    let _ = match coding {
        Coding::Gzip => flate2::read::GzDecoder::new(octets).read_to_end(&mut out),
        Coding::Brotli => brotli::Decompressor::new(octets, 4096).read_to_end(&mut out),
        Coding::Zstd => zstd::stream::read::Decoder::new(octets).unwrap().read_to_end(&mut out),
    };
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_flushed_can_be_read(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5_000), 0..8)) {
        for coding in ALL {
            let mut compressor = Compressor::try_new(coding).unwrap();
            let (mut sent, mut whole) = (Vec::new(), Vec::new());
            for piece in &pieces {
                sent.extend_from_slice(&compressor.take(piece, false).unwrap());
                sent.extend_from_slice(&compressor.flush().unwrap());
                whole.extend_from_slice(piece);
                prop_assert_eq!(&restored(coding, &sent), &whole);
            }
            prop_assert!(compressor.flush().unwrap().is_empty(), "nothing is held");
            sent.extend_from_slice(&compressor.take(b"the end", true).unwrap());
            whole.extend_from_slice(b"the end");
            prop_assert_eq!(&restored(coding, &sent), &whole);
            prop_assert_eq!(compressor.counts(), (whole.len() as u64, sent.len() as u64));
        }
    }
}

#[test]
fn only_a_valid_strong_tag_is_weakened() {
    let cases = ["\"v1\"", "\"\"", "W/\"v1\"", "\"invalid", "\"", "invalid", "\"a\"b\"", "\"a b\""];
    let made = cases.map(|tag| {
        let mut headers = fields(&[("etag", tag)]);
        weaken(&mut headers);
        headers["etag"].to_str().unwrap().to_owned()
    });
    assert_eq!(made[..2], ["W/\"v1\"", "W/\"\""]);
    assert_eq!(made[2..], cases[2..]);
}
