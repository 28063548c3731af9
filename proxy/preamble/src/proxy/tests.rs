//! Headers of the specification and of real senders, and what must hold of any octets.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::{Addresses, Fault, Header, LONGEST, Ssl, Tlvs, Transport, Version, checksum::crc32c, read};

fn whole(input: &[u8]) -> Header {
    let (header, length) = read(input).unwrap().expect("a whole header");
    assert_eq!(length, input.len());
    header
}

fn from(source: &str, destination: &str) -> Option<Addresses> {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    Some(Addresses { transport: Transport::Stream, source, destination })
}

#[test]
fn version_1_lines() {
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n";
    assert_eq!(whole(line).addresses, from("192.0.2.1:56324", "198.51.100.7:443"));
    let longest =
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n";
    assert!(whole(longest).addresses.is_some());
    assert_eq!(whole(b"PROXY UNKNOWN\r\n").addresses, None);
    assert_eq!(whole(b"PROXY UNKNOWN whatever it says 1 2\r\n").addresses, None);
}

#[test]
fn version_1_is_strict() {
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.7 56324 443\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.7 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 056324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 +5632 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.7 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 2\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 2\r\r\n",
        "PROXY \r\n",
    ] {
        assert!(matches!(read(line.as_bytes()), Err(Fault::Malformed(_))), "{line:?}: {:?}", read(line.as_bytes()));
    }
}

#[test]
fn version_1_has_107_octets_at_most() {
    let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16)).into_bytes();
    assert_eq!(whole(&line(107)).addresses, None);
    assert_eq!(read(&line(108)), Err(Fault::TooLong));
    assert_eq!(read(&line(107)[..106]), Ok(None));
    assert_eq!(read(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 92]].concat()), Err(Fault::TooLong));
}

#[test]
fn other_protocols_are_told_at_the_first_octet_that_differs() {
    assert_eq!(read(b"GET / HTTP/1.1\r\n"), Err(Fault::Absent));
    assert_eq!(read(b"PRI * HTTP/2.0"), Err(Fault::Absent));
    assert_eq!(read(b"PROXY\t"), Err(Fault::Absent));
    assert_eq!(read(b"\x16\x03\x01"), Err(Fault::Absent));
    assert_eq!(read(b"\r\n\r\n\0\r\nQUIT\r"), Err(Fault::Absent));
    assert_eq!(read(b"PR"), Ok(None));
    assert_eq!(read(b""), Ok(None));
}

/// A version 2 header by hand.
fn v2(command: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, kind], &length, body].concat()
}

const INET: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 0x01, 0xbb];

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind], length.as_slice(), value].concat()
}

fn inet(tlvs: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[INET.as_slice(), tlvs].concat())
}

#[test]
fn version_2_addresses() {
    assert_eq!(whole(&inet(b"")).addresses, from("192.0.2.1:56324", "198.51.100.7:443"));
    let mut inet6 = [0_u8; 36];
    (inet6[15], inet6[31], inet6[33], inet6[35]) = (1, 2, 80, 90);
    assert_eq!(whole(&v2(0x21, 0x21, &inet6)).addresses, from("[::1]:80", "[::2]:90"));
    let datagram = whole(&v2(0x21, 0x12, &INET)).addresses.unwrap();
    assert_eq!(datagram.transport, Transport::Datagram);
    assert_eq!(whole(&v2(0x21, 0x31, &[0; 216])).addresses, None);
    assert_eq!(whole(&v2(0x21, 0x10, &INET)).addresses, None);
}

#[test]
fn ipv4_in_the_clothes_of_ipv6_is_ipv4() {
    let mapped = b"PROXY TCP6 ::ffff:10.9.9.9 ::ffff:198.51.100.7 1 443\r\n";
    let header = whole(mapped);
    assert_eq!(header.addresses, from("10.9.9.9:1", "198.51.100.7:443"));
    assert_eq!(header.octets(), b"PROXY TCP4 10.9.9.9 198.51.100.7 1 443\r\n");
    let beside_ipv6 = b"PROXY TCP6 ::ffff:10.9.9.9 2001:db8::1 1 443\r\n";
    let header = whole(beside_ipv6);
    assert_eq!(header.addresses, from("10.9.9.9:1", "[2001:db8::1]:443"));
    assert_eq!(header.octets(), beside_ipv6, "what is sent has one family");
    let mut inet6 = [0_u8; 36];
    (inet6[10], inet6[11], inet6[12], inet6[15], inet6[16], inet6[31]) = (255, 255, 10, 9, 0x20, 1);
    let input = v2(0x21, 0x21, &inet6);
    let header = whole(&input);
    assert_eq!(header.addresses, from("10.0.0.9:0", "[2000::1]:0"));
    assert_eq!(header.octets(), input);
}

#[test]
fn local_and_unspecified_leave_the_connection_its_own_addresses() {
    let local = whole(&v2(0x20, 0x11, &[INET.as_slice(), b"no TLVs at all"].concat()));
    assert!(local.local && local.addresses.is_none() && local.tlvs == Tlvs::default());
    assert!(whole(&v2(0x20, 0x00, b"")).local);
    let unspecified = whole(&v2(0x21, 0x00, b"anything"));
    assert!(!unspecified.local && unspecified.addresses.is_none());
}

#[test]
fn version_2_is_strict() {
    for (input, why) in [
        (v2(0x11, 0x11, &INET), "version"),
        (v2(0x22, 0x11, &INET), "command"),
        (v2(0x21, 0x41, &INET), "family"),
        (v2(0x21, 0x13, &INET), "transport"),
        (v2(0x21, 0x11, &INET[..11]), "short"),
        (v2(0x21, 0x21, &[0; 35]), "short"),
        (v2(0x21, 0x31, &[0; 215]), "short"),
        (inet(&[1]), "TLV"),
        (inet(&[1, 0, 2, 0]), "TLV"),
        (inet(&[tlv(2, b"a"), tlv(2, b"a")].concat()), "twice"),
        (inet(&tlv(2, b"\xff")), "UTF-8"),
        (inet(&tlv(5, &[0; 129])), "unique id"),
        (inet(&tlv(0x20, &[1, 0, 0, 0])), "SSL"),
        (inet(&tlv(0x20, &[1, 0, 0, 0, 0, 0x21, 0, 9])), "TLV"),
        (inet(&tlv(3, &[0; 3])), "checksum"),
    ] {
        let Err(Fault::Malformed(told)) = read(&input) else { panic!("{why}: {:?}", read(&input)) };
        assert!(told.contains(why), "{told}, not {why}");
    }
}

#[test]
fn a_length_beyond_reason_is_refused_before_it_is_waited_for() {
    let start = &v2(0x21, 0x11, &[0; LONGEST])[..16];
    assert_eq!(read(start), Err(Fault::TooLong));
}

#[test]
fn tlvs_are_read_and_unknown_ones_passed_over() {
    let ssl = [&[1, 0, 0, 0, 0][..], &tlv(0x21, b"TLSv1.3"), &tlv(0x22, b"joe"), &tlv(0x23, b"c"), &tlv(0x29, b"?")];
    let all = [tlv(1, b"h2"), tlv(4, &[0; 9]), tlv(2, b"a.test"), tlv(0xea, b"vpc"), tlv(5, b"id")];
    let header = whole(&inet(&[all.concat(), tlv(0x20, &ssl.concat()), tlv(0x30, b"blue")].concat()));
    let ssl = Ssl {
        client: 1,
        verify: 0,
        version: Some("TLSv1.3".into()),
        common_name: Some("joe".into()),
        cipher: Some("c".into()),
        ..Ssl::default()
    };
    assert!(ssl.is_tls() && !Ssl::default().is_tls());
    let wanted = Tlvs {
        alpn: Some(b"h2".to_vec()),
        authority: Some("a.test".into()),
        unique_id: Some(b"id".to_vec()),
        ssl: Some(ssl),
        namespace: Some("blue".into()),
    };
    assert_eq!(header.tlvs, wanted);
}

#[test]
fn a_checksum_that_is_there_is_checked() {
    let mut input = inet(&[tlv(4, b"pad"), tlv(3, &[0; 4]), tlv(2, b"a")].concat());
    let at = 16 + 12 + 6 + 3;
    assert_eq!(read(&input), Err(Fault::Checksum));
    let sum = crc32c(&input).to_be_bytes();
    input[at..at + 4].copy_from_slice(&sum);
    assert_eq!(whole(&input).tlvs.authority.as_deref(), Some("a"));
    for place in 16..input.len() {
        let mut other = input.clone();
        other[place] ^= 1;
        assert!(read(&other).is_err(), "octet {place}");
    }
}

/// With this authority, its authority as read.
fn asked_for(authority: &[u8]) -> Option<String> {
    whole(&inet(&tlv(2, authority))).tlvs.authority
}

#[test]
fn an_authority_is_written_like_a_server_name() {
    for sent in ["tlv.example.com", "TLV.Example.COM", "tlv.example.com.", "TLV.EXAMPLE.COM."] {
        assert_eq!(asked_for(sent.as_bytes()).as_deref(), Some("tlv.example.com"), "{sent}");
    }
}

#[test]
fn an_authority_that_is_no_name_of_a_host_counts_as_none() {
    let long = "a".repeat(254);
    let names =
        ["", ".", "a b", " a.test", "a.test\0", "a.test\r\nx: y", "a\n", "a/b", "[::1]:443", "b\u{fc}.test", &long];
    for sent in names {
        assert_eq!(asked_for(sent.as_bytes()), None, "{sent:?}");
    }
    let twice = inet(&[tlv(2, b"a b"), tlv(2, b"a.test")].concat());
    assert!(matches!(read(&twice), Err(Fault::Malformed(why)) if why.contains("twice")), "neither half is believed");
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port))
}

fn addresses() -> impl Strategy<Value = Addresses> {
    let transport = prop_oneof![Just(Transport::Stream), Just(Transport::Datagram)];
    (transport, address(), address()).prop_map(|(transport, source, destination)| Addresses {
        transport,
        source,
        destination,
    })
}

fn authority() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[a-z0-9_.:-]{0,39}[a-z0-9]")
}

fn text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[ -~]{0,40}")
}

prop_compose! {
    fn ssl()(client in any::<u8>(), verify in any::<u32>(), version in text(), common_name in text(),
             cipher in text(), signature in text(), key in text()) -> Ssl {
        Ssl { client, verify, version, common_name, cipher, signature, key }
    }
}

prop_compose! {
    fn tlvs()(alpn in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)), authority in authority(),
              unique_id in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..=128)),
              ssl in proptest::option::of(ssl()), namespace in text()) -> Tlvs {
        Tlvs { alpn, authority, unique_id, ssl, namespace }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(addresses in addresses(), tlvs in tlvs(), rest in proptest::collection::vec(any::<u8>(), 0..40)) {
        let header = Header::of(Version::V2, addresses, tlvs);
        let octets = header.octets();
        let (found, length) = read(&[octets.clone(), rest].concat()).unwrap().unwrap();
        prop_assert_eq!(found, header);
        prop_assert_eq!(length, octets.len());
    }

    #[test]
    fn lines_that_are_written_are_read(addresses in addresses(), rest in "[ -~]{0,40}") {
        let header = Header::of(Version::V1, addresses, Tlvs::default());
        let octets = header.octets();
        prop_assert!(octets.len() <= 107);
        let (found, length) = read(&[octets.clone(), rest.into_bytes()].concat()).unwrap().unwrap();
        prop_assert_eq!(found.addresses, Some(addresses).filter(|all| all.transport == Transport::Stream));
        prop_assert_eq!(length, octets.len());
    }

    /// However a header is cut into segments, nothing is decided before its last octet.
    #[test]
    fn a_part_of_a_header_asks_for_more(addresses in addresses(), tlvs in tlvs(), v1 in any::<bool>()) {
        let version = if v1 { Version::V1 } else { Version::V2 };
        let octets = Header::of(version, addresses, tlvs).octets();
        for end in 0..octets.len() {
            prop_assert_eq!(read(&octets[..end]), Ok(None));
        }
    }

    /// The verdict on octets does not change when more follow.
    #[test]
    fn a_verdict_stands(kind in 0..3, noise in proptest::collection::vec(any::<u8>(), 0..300), more in proptest::collection::vec(any::<u8>(), 0..40)) {
        let start: &[u8] = match kind { 0 => b"", 1 => b"PROXY ", _ => b"\r\n\r\n\0\r\nQUIT\n\x21" };
        let input = [start, &noise].concat();
        match read(&input) {
            Ok(None) => {}
            Ok(Some((header, length))) => {
                prop_assert!(length <= input.len() && length <= LONGEST);
                prop_assert_eq!(read(&[input, more].concat()), Ok(Some((header, length))));
            }
            Err(fault) => prop_assert_eq!(read(&[input, more].concat()), Err(fault)),
        }
    }

    /// What was read and is written again says the same.
    #[test]
    fn what_is_read_can_be_passed_on(noise in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(Some((header, _))) = read(&inet(&noise)) {
            prop_assert_eq!(whole(&header.octets()), header);
        }
    }
}
