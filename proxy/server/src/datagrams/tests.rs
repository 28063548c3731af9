use std::net::UdpSocket;

use super::*;

fn pair() -> (UdpSocket, UdpSocket) {
    let [one, other] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    one.connect(other.local_addr().unwrap()).unwrap();
    (one, other)
}

/// Datagrams as they come, until there are so many.
fn take(socket: &UdpSocket, number: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut got = Vec::new();
    while got.len() < number {
        let received = receive(socket, |datagrams| {
            for datagram in datagrams {
                got.extend(datagram.run.datagrams().map(|octets| (datagram.from, octets.to_vec())));
            }
        });
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            received => drop(received.unwrap()),
        }
    }
    got
}

#[test]
fn batches_keep_order_bounds_and_addresses() {
    let (one, other) = pair();
    let all: Vec<Vec<u8>> = (0..40_usize).map(|number| vec![number as u8; number * 30]).collect();
    let runs: Vec<Run<'_>> = all.iter().map(|octets| Run::one(octets)).collect();
    assert_eq!(send(&one, None, &runs).unwrap(), 40);
    let got = take(&other, 40);
    assert!(got.iter().all(|(from, _)| *from == one.local_addr().unwrap()));
    assert!(got.into_iter().map(|(_, octets)| octets).eq(all));
    assert_eq!(send(&other, Some(one.local_addr().unwrap()), &[Run::one(b"back")]).unwrap(), 1);
    assert_eq!(take(&one, 1)[0].1, b"back");
}

#[test]
fn nothing_is_waited_for() {
    let (_one, other) = pair();
    let error = receive(&other, |_| panic!("nothing was sent")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_run_arrives_as_its_datagrams() {
    let (one, other) = pair();
    take_runs(&other);
    let octets: Vec<u8> = (0..2_500_u32).map(|number| (number % 251) as u8).collect();
    assert_eq!(send(&one, None, &[Run { octets: &octets, each: 1_000 }, Run::one(b"last")]).unwrap(), 2);
    let got: Vec<Vec<u8>> = take(&other, 4).into_iter().map(|(_, octets)| octets).collect();
    assert_eq!(got, [&octets[..1_000], &octets[1_000..2_000], &octets[2_000..], b"last"]);
}

#[test]
fn a_run_too_long_for_one_call_goes_one_by_one() {
    let (one, other) = pair();
    let octets = vec![7; 200];
    assert_eq!(send(&one, None, &[Run { octets: &octets, each: 1 }]).unwrap(), 1);
    assert_eq!(take(&other, 200).len(), 200);
}

#[test]
fn the_longest_datagram_passes() {
    let (one, other) = pair();
    let octets = vec![7; 65_507];
    assert_eq!(send(&one, None, &[Run::one(&octets)]).unwrap(), 1);
    assert!(take(&other, 1)[0].1 == octets);
}
