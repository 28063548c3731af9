//! Text as it may stand between double quotes, in JSON and logfmt alike: quotes, backslashes and
//! every control character (DEL and the C1 set too, which terminals obey) are escaped.

use std::{io::Write, net::SocketAddr, time::Duration};

use super::Retried;

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Appends `text`, escaped.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        out.extend_from_slice(text.as_bytes());
    } else {
        text.chars().for_each(|char| escaped(out, char));
    }
}

/// Whether the text is printable ASCII without quotes and backslashes. Eight bytes at a time.
pub(super) fn is_plain(text: &str) -> bool {
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let is_plain = |word: &[u8; 8]| is_plain_word(u64::from_ne_bytes(*word));
    match text.as_bytes().last_chunk() {
        // Some of its bytes may be looked at twice.
        Some(last) => words.iter().all(is_plain) && is_plain(last),
        None => rest.iter().all(is_plain_byte),
    }
}

fn is_plain_byte(byte: &u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

fn is_plain_word(word: u64) -> bool {
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let special = has_byte(word, b'"') | has_byte(word, b'\\') | has_byte(word, 0x7f);
    (word | below_space | special) & HIGHS == 0
}

/// The highest bit of some byte is set when one byte equals `byte`.
fn has_byte(word: u64, byte: u8) -> u64 {
    let zero_where_equal = word ^ (ONES * u64::from(byte));
    zero_where_equal.wrapping_sub(ONES) & !zero_where_equal
}

#[cold]
fn escaped(out: &mut Vec<u8>, char: char) {
    match char {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        control if control.is_control() => print(out, format_args!("\\u{:04x}", u32::from(control))),
        other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Appends a number. Most of a line's numbers are one digit: what did not happen took no time.
#[inline]
pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    match number {
        0..10 => out.push(b'0' + number as u8),
        _ => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}

/// Appends a duration in microseconds.
pub(super) fn micros(out: &mut Vec<u8>, duration: Duration) {
    let micros = duration.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(duration.subsec_micros()));
    number(out, micros);
}

/// Appends reasons, apart by commas; a status stands for itself.
pub(super) fn retries(out: &mut Vec<u8>, retries: &[Retried]) {
    let mut before = None;
    for why in retries {
        out.extend(before);
        before = Some(b',');
        match why {
            Retried::Status(status) => number(out, u64::from(*status)),
            Retried::Grpc(status) => {
                out.extend_from_slice(b"grpc-");
                number(out, u64::from(*status));
            }
            other => out.extend_from_slice(other.as_str().as_bytes()),
        }
    }
}

/// Appends an address with its port.
pub(super) fn address(out: &mut Vec<u8>, address: SocketAddr) {
    let SocketAddr::V4(v4) = address else {
        return print(out, format_args!("{address}"));
    };
    let mut before = None;
    for octet in v4.ip().octets() {
        out.extend(before);
        number(out, u64::from(octet));
        before = Some(b'.');
    }
    out.push(b':');
    number(out, u64::from(v4.port()));
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_are_spelled_out() {
        let mut out = Vec::new();
        text(&mut out, "a\"b\\c\n\u{1b}[31m\u{7f}\u{9b}é\u{0}");
        assert_eq!(String::from_utf8(out).unwrap(), r#"a\"b\\c\n\u001b[31m\u007f\u009bé\u0000"#);
    }

    #[test]
    fn addresses_read_as_usual() {
        for wanted in ["127.0.0.1:80", "255.10.0.9:65535", "[::1]:8080", "[2001:db8::7]:1"] {
            let mut out = Vec::new();
            address(&mut out, wanted.parse().unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }

    proptest! {
        #[test]
        fn words_and_bytes_agree(bytes in proptest::collection::vec(0u8..=0x7f, 0..40)) {
            let text = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(is_plain(&text), text.bytes().all(|byte| is_plain_byte(&byte)));
        }
    }
}
