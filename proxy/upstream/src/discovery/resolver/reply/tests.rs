use proptest::prelude::*;

use super::*;

const A: u16 = 1;
const CNAME: u16 = 5;
const SRV: u16 = 33;
const RRSIG: u16 = 46;
/// The name in question, by a pointer.
const OWNER: &[u8] = b"\xc0\x0c";

fn question(kind: u16) -> Vec<u8> {
    let mut question = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x03api\x04test\0".to_vec();
    question.extend_from_slice(&kind.to_be_bytes());
    question.extend_from_slice(b"\0\x01");
    question
}

fn record(owner: &[u8], kind: u16, class: u16, data: &[u8]) -> Vec<u8> {
    let (kind, class, length) = (kind.to_be_bytes(), class.to_be_bytes(), (data.len() as u16).to_be_bytes());
    [owner, &kind, &class, b"\0\0\0\x07", &length, data].concat()
}

fn reply(kind: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let mut reply = question(kind);
    reply[2] |= 0x80;
    reply[7] = records.len() as u8;
    reply.extend(records.concat());
    reply
}

fn answer(kind: u16, records: &[Vec<u8>]) -> Result<Answer<Data>, String> {
    let reply = reply(kind, records);
    assert!(fits(&reply, &question(kind)));
    read(&reply, &question(kind))
}

fn addresses(records: &[Vec<u8>]) -> Vec<u8> {
    let data = answer(A, records).unwrap().records;
    let last = data.iter().map(|data| match data {
        Data::Address(IpAddr::V4(address)) => address.octets()[3],
        other => panic!("{other:?}"),
    });
    last.collect()
}

fn a(last: u8) -> Vec<u8> {
    record(OWNER, A, 1, &[10, 0, 0, last])
}

fn is_malformed(answer: Result<Answer<Data>, String>) -> bool {
    answer.is_err_and(|why| why.starts_with("malformed answer"))
}

#[test]
fn records_that_make_no_sense_do_not_spoil_those_beside_them() {
    let unknown = record(OWNER, 65_280, 1, b"xyz");
    let signature = record(OWNER, RRSIG, 1, b"\0\x01");
    let no_class = record(OWNER, A, 9_999, &[6, 6, 6, 6]);
    let short = record(OWNER, A, 1, &[10, 0, 0]);
    let circle = record(OWNER, CNAME, 1, b"\xc0\x0c\xff");
    let label = record(OWNER, CNAME, 1, b"\x40");
    let nowhere = record(b"\xc0\xff", A, 1, &[6, 6, 6, 6]);
    assert_eq!(addresses(&[a(1), unknown, signature, no_class, short, label, nowhere, a(2)]), [1, 2]);
    assert_eq!(addresses(&[a(1), circle]), [1]);
}

#[test]
fn records_of_another_class_are_not_listened_to() {
    assert_eq!(addresses(&[record(OWNER, A, 3, &[6, 6, 6, 6]), a(1)]), [1]);
    assert!(addresses(&[record(OWNER, A, 3, &[6, 6, 6, 6])]).is_empty());
}

#[test]
fn an_answer_of_nothing_but_what_makes_no_sense_is_malformed() {
    assert!(is_malformed(answer(A, &[record(OWNER, A, 1, &[10, 0, 0])])));
    assert!(is_malformed(answer(A, &[record(OWNER, CNAME, 1, b"\xc0\xff")])));
    assert!(addresses(&[record(OWNER, RRSIG, 1, b"\0\x01")]).is_empty(), "nobody asked for signatures");
}

#[test]
fn a_reply_that_ends_within_a_record_is_malformed() {
    let (whole, question) = (reply(A, &[a(1), a(2)]), question(A));
    for length in question.len()..whole.len() {
        assert!(is_malformed(read(&whole[..length], &question)), "{length} octets");
    }
    assert_eq!(read(&whole, &question).unwrap().records.len(), 2);
}

#[test]
fn names_do_not_point_in_circles() {
    let begin = question(A).len() as u8;
    let itself = record(&[0xc0, begin], A, 1, &[6, 6, 6, 6]);
    let forward = record(&[0xc0, begin + 2], A, 1, &[6, 6, 6, 6]);
    let through_a_label = record(&[1, b'a', 0xc0, begin], A, 1, &[6, 6, 6, 6]);
    for record in [itself, forward, through_a_label] {
        assert!(is_malformed(answer(A, &[record])));
    }
}

#[test]
fn a_name_has_at_most_255_octets() {
    let with = |last: usize| {
        let label = |length: usize| [&[length as u8], vec![b'x'; length].as_slice()].concat();
        let target = [label(63), label(63), label(63), label(last), vec![0]].concat();
        answer(SRV, &[record(OWNER, SRV, 1, &[b"\0\0\0\0\0\x50", target.as_slice()].concat())])
    };
    assert!(with(61).is_ok());
    assert!(is_malformed(with(62)));
}

#[test]
fn names_are_the_same_in_any_case_and_odd_octets_are_escaped() {
    let alias = record(b"\x03API\xc0\x10", CNAME, 1, b"\x01B\xc0\x10");
    assert_eq!(addresses(&[alias, record(b"\x01b\x04TEST\0", A, 1, &[10, 0, 0, 5])]), [5]);
    let target = |name: &[u8]| {
        let record = record(OWNER, SRV, 1, &[b"\0\x01\0\x02\0\x50", name].concat());
        match answer(SRV, &[record]).unwrap().records.as_slice() {
            [Data::Service(service)] => service.target.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(target(b"\x01T\xc0\x0c"), "t.api.test");
    assert_eq!(target(b"\x04a.\\ \x01\xff\0"), r"a\.\\\032.\255");
    assert_eq!(target(b"\0"), "");
    assert_eq!(simple_dns::Name::new(r"a\.\\\032").unwrap().get_labels()[0].as_ref(), b"a.\\ ", "can be asked for");
}

#[test]
fn a_reply_has_the_question_and_its_number() {
    let (question, reply) = (question(A), reply(A, &[a(1)]));
    let changed = |at: usize, to: u8| {
        let mut reply = reply.clone();
        reply[at] = to;
        fits(&reply, &question)
    };
    assert!(changed(13, b'A'), "another case is the same name");
    for (at, to) in [(0, 0), (2, 1), (5, 0), (5, 2), (13, b'b'), (question.len() - 3, 28), (question.len() - 1, 3)] {
        assert!(!changed(at, to), "octet {at}");
    }
    assert!(fits(&reply[..question.len()], &question), "records are not looked at");
    assert!(!fits(&reply[..question.len() - 1], &question));
}

proptest! {
    #[test]
    fn no_reply_breaks_us(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        for kind in [A, SRV] {
            let question = question(kind);
            let _ = fits(&octets, &question);
            let _ = is_truncated(&octets);
            let _ = read(&octets, &question);
            let _ = read(&question, &octets);
            let mut reply = reply(kind, &[]);
            reply[7] = 9;
            reply.extend(&octets);
            let _ = read(&reply, &question);
        }
    }

    #[test]
    fn no_record_breaks_us(data in prop::collection::vec(any::<u8>(), 0..40), pick in 0..4usize) {
        let _ = answer(SRV, &[record(OWNER, [A, 28, CNAME, SRV][pick], 1, &data)]);
    }
}

#[test]
fn a_name_of_more_pointers_than_labels_makes_no_sense() {
    let name = |pointers: u16| {
        let mut octets = b"\x01a\0".to_vec();
        let targets = std::iter::once(0).chain((0..).map(|number| 3 + 2 * number));
        octets.extend(targets.take(pointers.into()).flat_map(|target: u16| (0xc000 | target).to_be_bytes()));
        Name::read(&octets, octets.len() - 2).map(|name| name.text())
    };
    assert_eq!(name(128).as_deref(), Some("a"));
    assert_eq!(name(129), None);
}
