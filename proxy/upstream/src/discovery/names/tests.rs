use std::time::Instant as Clock;

use simple_dns::{
    CLASS, Name, Packet, QTYPE, RCODE, ResourceRecord, TYPE,
    rdata::{A, RData},
};
use tokio::{net::UdpSocket, sync::mpsc};

use super::*;

/// What a name server says of a name: these addresses, that there are none, or nothing at all.
type Zone = Arc<Mutex<BTreeMap<String, Option<Vec<u8>>>>>;

async fn server(zone: &[(&str, Option<&[u8]>)]) -> (Arc<Resolver>, Zone) {
    let zone = zone.iter().map(|(name, last)| ((*name).to_owned(), last.map(<[u8]>::to_vec)));
    let zone: Zone = Arc::new(Mutex::new(zone.collect()));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, shown) = (socket.local_addr().unwrap(), Arc::clone(&zone));
    tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            if let Some(reply) = reply(&question[..length], &shown.lock().unwrap()) {
                socket.try_send_to(&reply, from).unwrap();
            }
        }
    });
    (Arc::new(Resolver::new(&[address])), zone)
}

fn reply(question: &[u8], zone: &BTreeMap<String, Option<Vec<u8>>>) -> Option<Vec<u8>> {
    let asked = Packet::parse(question).unwrap();
    let mut reply = Packet::new_reply(asked.id());
    reply.questions.clone_from(&asked.questions);
    let name = asked.questions[0].qname.to_string();
    let addresses = zone.get(&name).cloned().unwrap_or(Some(Vec::new()))?;
    if addresses.is_empty() {
        *reply.rcode_mut() = RCODE::NameError;
    }
    if asked.questions[0].qtype == QTYPE::TYPE(TYPE::A) {
        let record = |last| {
            let data = RData::A(A { address: address(last) });
            ResourceRecord::new(Name::new(&name).unwrap(), CLASS::IN, 9, data)
        };
        reply.answers.extend(addresses.into_iter().map(record));
    }
    Some(reply.build_bytes_vec().unwrap())
}

const LONG: Duration = Duration::from_secs(3600);

fn address(last: u8) -> u32 {
    u32::from_be_bytes([10, 0, 0, last])
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn last_octets(known: &Known, name: &str) -> Vec<u8> {
    let last = |address: IpAddr| address.to_string().rsplit('.').next().unwrap().parse().unwrap();
    known.addresses(name).into_iter().map(last).collect()
}

#[tokio::test]
async fn those_that_answer_are_known_while_others_are_silent() {
    let silent: Vec<String> = (0..8).map(|number| format!("a{number}.test")).collect();
    let mut zone: Vec<(&str, Option<&[u8]>)> = silent.iter().map(|name| (name.as_str(), None)).collect();
    zone.push(("well.test", Some(&[7])));
    let (resolver, _) = server(&zone).await;
    let all: BTreeSet<String> = zone.iter().map(|(name, _)| (*name).to_owned()).collect();
    let (known, (heard, mut early)) = (Known::default(), mpsc::unbounded_channel());
    let begin = Clock::now();
    let progress = || heard.send(last_octets(&known, "well.test")).unwrap();
    let outcomes = known.look(&all, &resolver, LONG, &progress).await;
    assert!(begin.elapsed() < Duration::from_secs(8), "they are waited for at the same time");
    assert_eq!(early.try_recv().unwrap(), [7]);
    assert!(early.try_recv().is_err(), "without news there is no progress");
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(outcomes.last().unwrap(), &Ok(()));
    assert!(outcomes[0].as_ref().unwrap_err().contains("a0.test"), "{outcomes:?}");
    known.hasten();
    assert_eq!(known.questions(&all, Instant::now())[0].0, "well.test", "the silent are asked last");
}

#[tokio::test]
async fn a_silent_name_keeps_what_it_had_and_one_that_is_gone_does_not() {
    let (resolver, zone) = server(&[("silent.test", Some(&[1, 2])), ("gone.test", Some(&[3]))]).await;
    let (known, both) = (Known::default(), names(&["gone.test", "silent.test"]));
    assert!(known.look(&both, &resolver, LONG, &|| {}).await.iter().all(Result::is_ok));
    zone.lock().unwrap().insert("silent.test".to_owned(), None);
    zone.lock().unwrap().insert("gone.test".to_owned(), Some(Vec::new()));
    known.hasten();
    let during = Mutex::new(None);
    let note =
        || *during.lock().unwrap() = Some((last_octets(&known, "silent.test"), last_octets(&known, "gone.test")));
    let outcomes = known.look(&both, &resolver, LONG, &note).await;
    assert_eq!(*during.lock().unwrap(), Some((vec![1, 2], vec![])), "what is not known yet is as it was");
    assert_eq!(outcomes[0], Err("gone.test has no address".to_owned()));
    assert!(outcomes[1].as_ref().unwrap_err().contains("no answer"), "{outcomes:?}");
    assert_eq!((last_octets(&known, "silent.test"), last_octets(&known, "gone.test")), (vec![1, 2], vec![]));
    zone.lock().unwrap().insert("silent.test".to_owned(), Some(vec![4]));
    known.hasten();
    let outcomes = known.look(&names(&["silent.test"]), &resolver, LONG, &|| {}).await;
    assert_eq!(outcomes, [Ok(())]);
    assert_eq!(last_octets(&known, "silent.test"), [4]);
}

#[test]
fn an_answer_of_none_counts_once_both_families_have_been_asked_for() {
    let none = || Ok(Answer { records: Vec::new(), ttl: Duration::from_secs(5) });
    let mut host = Host::default();
    let v6: IpAddr = "::1".parse().unwrap();
    host.addresses.insert(Family::V4, vec![IpAddr::from([10, 0, 0, 1])]);
    host.addresses.insert(Family::V6, vec![v6]);
    let mut heard = Heard::default();
    heard.note(Family::V4, none(), &mut host);
    assert_eq!(host.addresses().len(), 2);
    heard.note(Family::V6, Err("no answer".to_owned()), &mut host);
    assert_eq!((host.addresses(), host.is_silent), (vec![v6], true));
    let now = Instant::now();
    heard.conclude("a.test", &mut host, now, LONG);
    assert_eq!((host.fault, host.due), (None, Some(now + FIRST_RETRY)));
}

#[test]
fn a_name_with_a_fault_is_asked_for_less_and_less_often_until_it_answers() {
    let (mut host, now) = (Host::default(), Instant::now());
    let mut pause = |replies: [Reply; 2]| {
        let mut heard = Heard::default();
        for (family, reply) in [Family::V4, Family::V6].into_iter().zip(replies) {
            heard.note(family, reply, &mut host);
        }
        heard.conclude("a.test", &mut host, now, LONG);
        (host.due.unwrap() - now).as_secs()
    };
    let of = |records, ttl| Ok(Answer { records, ttl: Duration::from_secs(ttl) });
    let silent = || Err("no answer".to_owned());
    let some = || vec![IpAddr::from([10, 0, 0, 1])];
    assert_eq!([(); 7].map(|()| pause([of(vec![], 60), of(vec![], 60)])), [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(pause([of(some(), 300), of(vec![], 300)]), 300);
    assert_eq!([(); 3].map(|()| pause([of(some(), 300), silent()])), [1, 2, 4]);
    assert_eq!(pause([of(some(), 3), silent()]), 3, "the family that answers has its own time");
}

#[tokio::test]
async fn a_name_without_address_does_not_have_the_others_asked_for_again() {
    let (resolver, _) = server(&[("well.test", Some(&[1])), ("gone.test", Some(&[]))]).await;
    let (known, both) = (Known::default(), names(&["gone.test", "well.test"]));
    let outcomes = known.look(&both, &resolver, LONG, &|| {}).await;
    assert_eq!(outcomes, [Err("gone.test has no address".to_owned()), Ok(())]);
    let now = Instant::now();
    assert!(known.pause() <= FIRST_RETRY);
    let asked = |now| known.questions(&both, now).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(asked(now + FIRST_RETRY), ["gone.test", "gone.test"]);
    assert_eq!(asked(now + Duration::from_secs(9)).len(), 4);
}

#[tokio::test]
async fn other_names_are_forgotten() {
    let (resolver, _) = server(&[("a.test", Some(&[1])), ("b.test", Some(&[2]))]).await;
    let known = Known::default();
    known.look(&names(&["a.test", "b.test"]), &resolver, LONG, &|| {}).await;
    known.look(&names(&["b.test"]), &resolver, LONG, &|| {}).await;
    assert_eq!((last_octets(&known, "a.test"), last_octets(&known, "b.test")), (vec![], vec![2]));
}

#[tokio::test]
async fn questions_beyond_those_at_a_time_are_asked_in_their_turn() {
    let many: Vec<String> = (0..100).map(|number| format!("n{number}.test")).collect();
    let zone: Vec<(&str, Option<&[u8]>)> = many.iter().map(|name| (name.as_str(), Some(&[1][..]))).collect();
    let (resolver, _) = server(&zone).await;
    let known = Known::default();
    let outcomes = known.look(&many.into_iter().collect(), &resolver, LONG, &|| {}).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 100);
}

#[tokio::test]
async fn an_answer_of_none_for_one_family_does_not_put_off_the_other() {
    let (resolver, _) = server(&[("v4.test", Some(&[1]))]).await;
    let (known, name) = (Known::default(), names(&["v4.test"]));
    assert!(known.look(&name, &resolver, LONG, &|| {}).await.iter().all(Result::is_ok));
    assert!(known.pause() <= Duration::from_secs(9), "{:?}", known.pause());
    known.hasten();
    known.look(&name, &resolver, Duration::from_secs(2), &|| {}).await;
    assert!(known.pause() <= Duration::from_secs(2), "{:?}", known.pause());
}
