//! A process whose predecessor dies during an upgrade serves all the same.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use nix::sys::{
    signal::Signal::SIGTERM,
    socket::{ControlMessage, MsgFlags, sendmsg},
};
use serde_json::{Value, json};

use super::super::harness::*;

const LISTENING: &str =
    "[listeners.web]\naddress = \"ADDRESS\"\n[[routes]]\nname = \"all\"\nrespond = { body = \"alone\" }\n";

/// The test plays the predecessor at this link.
fn successor(address: SocketAddr) -> (Weir, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    let setup = Setup::new(&LISTENING.replace("ADDRESS", &address.to_string()));
    (setup.launch_with(weir(&["run", "--take-over", "--config", "weir.toml"]), OwnedFd::from(theirs)), ours)
}

fn frame(said: &Value) -> Vec<u8> {
    let said = said.to_string();
    [&u32::try_from(said.len()).unwrap().to_be_bytes(), said.as_bytes()].concat()
}

fn handed(address: SocketAddr, sockets: usize) -> Vec<u8> {
    let label = json!({ "name": "web", "configured": address.to_string(), "admin": false });
    frame(&json!({ "sockets": vec![label; sockets], "requests": null, "secret": vec![7; 32] }))
}

fn pass(link: &UnixStream, socket: &TcpListener) {
    let (raw, octet) = ([socket.as_raw_fd()], [IoSlice::new(b"+")]);
    sendmsg::<()>(link.as_raw_fd(), &octet, &[ControlMessage::ScmRights(&raw)], MsgFlags::empty(), None).unwrap();
}

fn heard(link: &mut UnixStream) -> Value {
    let mut length = [0; 4];
    link.read_exact(&mut length).unwrap();
    let mut said = vec![0; u32::from_be_bytes(length) as usize];
    link.read_exact(&mut said).unwrap();
    serde_json::from_slice(&said).unwrap()
}

async fn serves(weir: Weir, address: SocketAddr) {
    let weir = weir.begun().await;
    assert_eq!(weir.web(), address);
    assert_eq!(get(address, "/").await.text(), "alone");
    assert!(weir.stderr().contains("the process before has ended"), "{}", weir.stderr());
}

#[tokio::test]
async fn that_dies_before_it_has_handed_over_anything() {
    // At an address of its own, so that no other test is given the port meanwhile.
    let address = TcpListener::bind("127.77.0.1:0").unwrap().local_addr().unwrap();
    let (weir, link) = successor(address);
    drop(link);
    serves(weir, address).await;
}

#[tokio::test]
async fn that_dies_with_its_sockets_handed_over_in_part_or_whole() {
    for labels in [1, 2] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let (weir, mut link) = successor(address);
        link.write_all(&handed(address, labels)).unwrap();
        pass(&link, &socket);
        drop((link, socket));
        serves(weir, address).await;
    }
}

#[tokio::test]
async fn that_dies_when_it_knows_that_the_other_is_ready() {
    let go = frame(&json!({ "go": {} }));
    for told in [0, go.len() / 2, go.len()] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let (weir, mut link) = successor(address);
        link.write_all(&handed(address, 1)).unwrap();
        pass(&link, &socket);
        assert_eq!(heard(&mut link), "ready");
        link.write_all(&go[..told]).unwrap();
        drop((link, socket));
        if told < go.len() {
            serves(weir, address).await;
        } else {
            assert_eq!(get(weir.begun().await.web(), "/").await.text(), "alone");
        }
    }
}

#[tokio::test]
async fn told_to_end_before_it_serves_it_says_so_and_ends() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (mut weir, mut link) = successor(address);
    link.write_all(&handed(address, 1)).unwrap();
    pass(&link, &socket);
    assert_eq!(heard(&mut link), "ready");
    weir.signal(SIGTERM);
    let said = heard(&mut link);
    assert!(said["failed"].as_str().unwrap().contains("told to end"), "{said}");
    assert_eq!(weir.ended().await.code(), Some(1));
    socket.set_nonblocking(true).unwrap();
    assert_eq!(socket.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}
