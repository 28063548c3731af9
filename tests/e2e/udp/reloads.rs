//! What becomes of sessions when the configuration changes.

use std::{net::SocketAddr, time::Duration};

use tokio::{net::UdpSocket, task::JoinHandle};

use super::{
    super::harness::{Weir, eventually, until},
    Echo, ask, client, receive,
};

/// Says something again and again to whoever has ever sent it anything.
struct Talker {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Talker {
    async fn start() -> Talker {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (mut listeners, mut octets) = (Vec::new(), [0; 100]);
            loop {
                if let Ok(Ok((_, from))) =
                    tokio::time::timeout(Duration::from_millis(20), socket.recv_from(&mut octets)).await
                {
                    listeners.push(from);
                }
                for to in &listeners {
                    let _ = socket.send_to(b"tick", to).await;
                }
            }
        });
        Talker { address, task }
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn free() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A listener before a cluster of one endpoint.
fn text(at: SocketAddr, listener: &str, endpoint: SocketAddr, rest: &str) -> String {
    format!(
        "[process]\nworkers = 2\nshutdown-grace = \"2s\"\n\
         [listeners.udp]\naddress = \"{at}\"\nprotocol = \"udp\"\n{listener}\n\
         [clusters.c]\nendpoints = [\"{endpoint}\"]\n{rest}\n"
    )
}

fn without_listener(endpoint: SocketAddr) -> String {
    format!(
        "[process]\nworkers = 2\nshutdown-grace = \"2s\"\n\
         [clusters.c]\nendpoints = [\"{endpoint}\"]\n"
    )
}

/// Waits until a socket hears nothing any more.
async fn silence(socket: &UdpSocket) {
    let mut octets = [0; 100];
    let quiet = Duration::from_millis(300);
    eventually("silence", || async { tokio::time::timeout(quiet, socket.recv(&mut [0; 100])).await.err().map(drop) })
        .await;
    assert!(socket.try_recv(&mut octets).is_err());
}

#[tokio::test]
async fn a_listener_that_is_gone_ends_and_may_come_back() {
    let (at, talker) = (free().await, Talker::start().await);
    let with = text(at, "cluster = \"c\"", talker.address, "");
    let mut weir = Weir::start(&with).await;
    let socket = client(&weir).await;
    assert_eq!(ask(&socket, "x").await, "tick");
    weir.reload(&without_listener(talker.address)).await.unwrap();
    weir.reload(&with).await.expect("its sessions do not keep the address from it");
    assert_eq!(ask(&client(&weir).await, "x").await, "tick", "whoever comes now is heard");
    weir.reload(&without_listener(talker.address)).await.unwrap();
    silence(&socket).await;
    until("the address to be free", || std::net::UdpSocket::bind(at).is_ok()).await;
}

#[tokio::test]
async fn a_listener_that_comes_back_is_heard_by_every_client() {
    let (at, endpoint) = (free().await, Echo::start("a").await);
    let with = text(at, "cluster = \"c\"", endpoint.address, "");
    let mut weir = Weir::start(&with).await;
    let sockets = [client(&weir).await, client(&weir).await, client(&weir).await, client(&weir).await];
    for _ in 0..3 {
        for socket in &sockets {
            socket.send(b"x").await.unwrap();
            assert_eq!(receive(socket).await, b"ax");
        }
        weir.reload(&without_listener(endpoint.address)).await.unwrap();
        weir.reload(&with).await.unwrap();
    }
}
