use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use simple_dns::{
    ResourceRecord,
    rdata::{A, CNAME, RData, SRV},
};
use tokio::net::TcpListener;

use super::*;

fn reply_to(question: &[u8], answers: &[(&str, u32, RData<'_>)]) -> Vec<u8> {
    let asked = Packet::parse(question).unwrap();
    let mut reply = Packet::new_reply(asked.id());
    reply.questions.clone_from(&asked.questions);
    for (name, ttl, data) in answers {
        reply.answers.push(ResourceRecord::new(Name::new(name).unwrap(), CLASS::IN, *ttl, data.clone()));
    }
    reply.build_bytes_vec().unwrap()
}

fn a(last: u8) -> RData<'static> {
    RData::A(A { address: Ipv4Addr::new(10, 0, 0, last).into() })
}

fn alias(name: &'static str) -> RData<'static> {
    RData::CNAME(CNAME(Name::new(name).unwrap()))
}

/// A name server that answers each datagram with these; counts what it was asked.
async fn server(replies: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            counted.fetch_add(1, SeqCst);
            for reply in replies(&question[..length]) {
                socket.send_to(&reply, from).await.unwrap();
            }
        }
    });
    (address, asked)
}

fn seconds(ttl: u64) -> Duration {
    Duration::from_secs(ttl)
}

#[tokio::test]
async fn aliases_are_followed_and_the_shortest_time_counts() {
    let (address, _) = server(|question| {
        vec![reply_to(
            question,
            &[("b.test", 30, a(1)), ("api.test", 90, alias("b.test")), ("other.test", 1, a(9)), ("b.test", 40, a(2))],
        )]
    })
    .await;
    let answer = Resolver::new(&[address]).addresses("API.test", Family::V4).await.unwrap();
    assert_eq!(answer.records, ["10.0.0.1".parse::<IpAddr>().unwrap(), "10.0.0.2".parse().unwrap()]);
    assert_eq!(answer.ttl, seconds(30));
}

#[tokio::test]
async fn a_loop_of_aliases_ends() {
    let (address, _) =
        server(|question| vec![reply_to(question, &[("a.test", 1, alias("b.test")), ("b.test", 1, alias("a.test"))])])
            .await;
    assert!(Resolver::new(&[address]).addresses("a.test", Family::V4).await.unwrap().records.is_empty());
}

#[tokio::test]
async fn replies_to_other_questions_are_not_listened_to() {
    let (address, _) = server(|question| {
        let mut foreign = reply_to(question, &[("api.test", 1, a(66))]);
        foreign[0] ^= 0xff;
        vec![b"junk".to_vec(), foreign, reply_to(question, &[("api.test", 5, a(1))])]
    })
    .await;
    let answer = Resolver::new(&[address]).addresses("api.test", Family::V4).await.unwrap();
    assert_eq!(answer.records, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
}

#[tokio::test]
async fn a_server_that_fails_is_followed_by_the_next() {
    let (broken, asked) = server(|question| {
        let mut reply = reply_to(question, &[]);
        reply[3] |= 2;
        vec![reply]
    })
    .await;
    let (well, _) = server(|question| vec![reply_to(question, &[("api.test", 5, a(1))])]).await;
    let answer = Resolver::new(&[broken, well]).addresses("api.test", Family::V4).await.unwrap();
    assert_eq!((answer.records.len(), asked.load(SeqCst)), (1, 1));
    let why = Resolver::new(&[broken]).addresses("api.test", Family::V4).await.unwrap_err();
    assert!(why.contains("api.test") && why.contains("ServerFailure"), "{why}");
    assert_eq!(asked.load(SeqCst), 1 + ROUNDS);
}

#[tokio::test]
async fn no_such_name_is_an_answer_of_nothing() {
    let (address, _) = server(|question| {
        let mut reply = reply_to(question, &[]);
        reply[3] |= 3;
        vec![reply]
    })
    .await;
    assert!(Resolver::new(&[address]).addresses("api.test", Family::V6).await.unwrap().records.is_empty());
}

#[tokio::test]
async fn what_does_not_fit_a_datagram_comes_over_tcp() {
    let address = server_of_much(200, |reply| {
        let none = [&reply[..6], &[0, 0], &reply[8..26]].concat();
        assert_eq!(Packet::parse(&none).unwrap().answers.len(), 0, "a header and a question");
        none
    })
    .await;
    let answer = Resolver::new(&[address]).addresses("api.test", Family::V4).await.unwrap();
    assert_eq!(answer.records.len(), 200);
}

#[tokio::test]
async fn services_have_targets_and_the_root_is_none() {
    let (address, _) = server(|question| {
        let service = |priority, weight, port, target| {
            RData::SRV(SRV { priority, weight, port, target: Name::new(target).unwrap() })
        };
        let name = "_http._tcp.test";
        vec![reply_to(question, &[(name, 9, service(1, 2, 80, "a.test")), (name, 9, service(0, 0, 0, ""))])]
    })
    .await;
    let answer = Resolver::new(&[address]).services("_http._tcp.test").await.unwrap();
    let only = Service { priority: 1, weight: 2, port: 80, target: "a.test".to_owned() };
    assert_eq!(answer, Answer { records: vec![only], ttl: seconds(9) });
}

/// Answers one question over UDP with `cut` of the reply, and one over TCP with all of it.
async fn server_of_much(answers: usize, cut: impl Fn(Vec<u8>) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let many: Vec<_> = (0..answers).map(|last| ("api.test", 7, a(last as u8))).collect();
    tokio::spawn(async move {
        let mut question = [0; 512];
        let (length, from) = udp.recv_from(&mut question).await.unwrap();
        let mut reply = reply_to(&question[..length], &many);
        reply[2] |= 2;
        udp.send_to(&cut(reply), from).await.unwrap();
        let (mut stream, _) = tcp.accept().await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await.unwrap();
        let reply = reply_to(&question, &many);
        stream.write_u16(reply.len() as u16).await.unwrap();
        stream.write_all(&reply).await.unwrap();
    });
    address
}

#[tokio::test]
async fn what_is_cut_within_a_record_comes_over_tcp() {
    let address = server_of_much(200, |mut reply| {
        reply.truncate(512);
        reply
    })
    .await;
    let answer = Resolver::new(&[address]).addresses("api.test", Family::V4).await.unwrap();
    assert_eq!(answer.records.len(), 200);
}

#[tokio::test]
async fn records_that_came_with_a_truncated_reply_are_not_taken_for_all() {
    let address = server_of_much(3, |reply| reply).await;
    let answer = Resolver::new(&[address]).addresses("api.test", Family::V4).await.unwrap();
    assert_eq!(answer.records.len(), 3);
}

#[tokio::test]
async fn a_malformed_answer_is_named_and_the_next_server_asked() {
    let (broken, asked) = server(|question| {
        let mut reply = reply_to(question, &[("api.test", 5, a(1))]);
        reply.pop();
        vec![reply]
    })
    .await;
    let why = Resolver::new(&[broken]).addresses("api.test", Family::V4).await.unwrap_err();
    assert!(why.contains(&format!("{broken}: malformed answer")), "{why}");
    assert_eq!(asked.load(SeqCst), ROUNDS);
    let (well, _) = server(|question| vec![reply_to(question, &[("api.test", 5, a(1))])]).await;
    let answer = Resolver::new(&[broken, well]).addresses("api.test", Family::V4).await.unwrap();
    assert_eq!(answer.records.len(), 1);
}

#[tokio::test]
async fn a_server_that_only_answers_other_questions_is_told_from_one_that_is_silent() {
    let (address, _) = server(|_| vec![b"junk".to_vec()]).await;
    let why = Resolver::new(&[address]).addresses("api.test", Family::V4).await.unwrap_err();
    assert!(why.contains("no answer within 2s but such as are to no question of ours"), "{why}");
}
