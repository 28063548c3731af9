//! Hellos made by hand, and what must hold of any octets.

use proptest::prelude::*;

use super::{Fault, Hello, LONGEST, read};

fn with_length<const N: usize>(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_be_bytes();
    [&length[8 - N..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), with_length::<2>(content)].concat()
}

fn sni(name: &str) -> Vec<u8> {
    let entry = [vec![0], with_length::<2>(name.as_bytes())].concat();
    extension(0, &with_length::<2>(&entry))
}

fn alpn(names: &[&str]) -> Vec<u8> {
    let list: Vec<u8> = names.iter().flat_map(|name| with_length::<1>(name.as_bytes())).collect();
    extension(16, &with_length::<2>(&list))
}

/// A handshake message with these extensions.
fn message(extensions: &[u8]) -> Vec<u8> {
    let start = [&[3, 3][..], &[7; 32], &with_length::<1>(&[9; 32]), &with_length::<2>(&[0x13, 1]), &[1, 0]].concat();
    let body = [start, with_length::<2>(extensions)].concat();
    [vec![1], with_length::<3>(&body)].concat()
}

fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [vec![22, 3, 1], with_length::<2>(part)].concat()).collect()
}

fn named(name: &str) -> Hello {
    Hello { sni: Some(name.into()), alpn: Vec::new() }
}

#[test]
fn names_and_protocols() {
    let extensions = [extension(43, &[2, 3, 4]), sni("A.Example.com."), alpn(&["h2", "http/1.1"])].concat();
    let wanted = Hello { alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()], ..named("a.example.com") };
    assert_eq!(read(&records(&message(&extensions), 16_384)), Ok(Some(wanted)));
    assert_eq!(read(&records(&message(b""), 16_384)), Ok(Some(Hello::default())));
}

#[test]
fn a_hello_may_have_no_extensions_at_all() {
    let body = [&[3, 3][..], &[7; 32], &[0], &with_length::<2>(&[0, 5]), &[1, 0]].concat();
    let message = [vec![1], with_length::<3>(&body)].concat();
    assert_eq!(read(&records(&message, 100)), Ok(Some(Hello::default())));
}

#[test]
fn records_of_one_octet() {
    assert_eq!(read(&records(&message(&sni("a.test")), 1)), Ok(Some(named("a.test"))));
}

#[test]
fn other_protocols_are_told_at_once() {
    for input in [&b"GET / HTTP/1.1"[..], b"\x80\x2e\x01\x03\x01", b"\x16\x02", b"\x15\x03\x01\0\x02", b"SSH-2.0"] {
        assert_eq!(read(input), Err(Fault::NotTls), "{input:?}");
    }
    assert_eq!(read(b""), Ok(None));
}

#[test]
fn oversized_hellos_are_refused() {
    let large = message(&extension(21, &vec![0; LONGEST]));
    assert_eq!(read(&records(&large, 16_384)), Err(Fault::TooLong));
    let small = message(&extension(21, &[0; 4_000]));
    assert_eq!(read(&records(&small, 1)), Err(Fault::TooLong));
    assert!(read(&records(&small, 1_000)).unwrap().is_some());
}

#[test]
fn malformed_hellos_are_refused() {
    let mut server_hello = message(b"");
    server_hello[0] = 2;
    let mut stretched = message(&sni("a.test"));
    let last = stretched.len() - 1;
    stretched.truncate(last);
    let length = u32::try_from(last - 4).unwrap().to_be_bytes();
    stretched[1..4].copy_from_slice(&length[1..]);
    let empty_name = sni("");
    for (message, why) in [
        (server_hello, "another message"),
        (stretched, "extensions"),
        (message(&empty_name), "server name"),
        (message(&sni("a b")), "server name"),
        (message(&sni("a\0.test")), "server name"),
        (message(&[sni("a.test"), sni("b.test")].concat()), "two server names"),
        (message(&extension(0, &with_length::<2>(&[1, 0, 1, b'a']))), "server name"),
        (message(&extension(16, &with_length::<2>(&[0]))), "protocols"),
        (message(&[0, 0, 0]), "extension"),
    ] {
        let input = records(&message, 16_384);
        let Err(Fault::Malformed(told)) = read(&input) else { panic!("{why}: {:?}", read(&input)) };
        assert!(told.contains(why), "{told}, not {why}");
    }
    assert_eq!(read(&[22, 3, 1, 0, 0]), Err(Fault::Malformed("empty record")));
    assert_eq!(read(&[22, 3, 1, 0x40, 1]), Err(Fault::Malformed("record too long")));
}

proptest! {
    /// However a hello is cut into records and segments, it says the same, and nothing is decided
    /// before its last octet.
    #[test]
    fn cuts_change_nothing(name in "[a-z0-9-]{1,30}(\\.[a-z0-9-]{1,30}){0,3}", protocols in proptest::collection::vec("[ -~]{1,20}", 0..5),
                           size in 1..600_usize, rest in proptest::collection::vec(any::<u8>(), 0..20)) {
        let protocols: Vec<&str> = protocols.iter().map(String::as_str).collect();
        let input = records(&message(&[sni(&name), alpn(&protocols)].concat()), size);
        let wanted = Hello { sni: Some(name), alpn: protocols.iter().map(|name| name.as_bytes().to_vec()).collect() };
        for end in 0..input.len() {
            prop_assert_eq!(read(&input[..end]), Ok(None));
        }
        prop_assert_eq!(read(&[input, rest].concat()), Ok(Some(wanted)));
    }

    /// The verdict on octets does not change when more follow.
    #[test]
    fn a_verdict_stands(kind in 0..3, noise in proptest::collection::vec(any::<u8>(), 0..300), more in proptest::collection::vec(any::<u8>(), 0..40)) {
        let input = match kind {
            0 => noise,
            1 => records(&message(&noise), 100),
            _ => [&[22, 3, 1, 0, 200, 1, 0, 0, 150][..], &noise].concat(),
        };
        let verdict = read(&input);
        if verdict != Ok(None) {
            prop_assert_eq!(read(&[input, more].concat()), verdict);
        }
    }

    /// One changed octet never makes it panic, and never invents a name longer than was sent.
    #[test]
    fn damage_is_borne(at in any::<prop::sample::Index>(), octet in any::<u8>(), size in 1..300_usize) {
        let mut input = records(&message(&[sni("name.example.com"), alpn(&["h2"])].concat()), size);
        let at = at.index(input.len());
        input[at] = octet;
        if let Ok(Some(hello)) = read(&input) {
            prop_assert!(hello.sni.unwrap_or_default().len() < input.len());
        }
    }
}
