use std::net::SocketAddr;

use tokio::net::TcpListener;
use weir_config::{Health, HealthKind};

use super::*;
use crate::{cluster::Cluster as Running, fixture, health::probe};

/// A server that says something on every connection once it was told what it waits for.
async fn server(waits_for: &'static str, says: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut heard = vec![0; waits_for.len()];
            if stream.read_exact(&mut heard).await.is_ok() && heard == waits_for.as_bytes() {
                let _ = stream.write_all(says.as_bytes()).await;
            }
        }
    });
    address
}

async fn check(address: SocketAddr, send: &str, expect: &str) -> Verdict {
    let mut config = fixture::cluster(&[1]);
    config.endpoints[0].address = address;
    let check = TcpCheck { send: send.into(), expect: expect.into() };
    config.health = Some(Health::new(HealthKind::Tcp(check)));
    let cluster = Running::build(&config, None);
    probe(&config).unwrap().unwrap().check(&cluster.endpoints()[0]).await.unwrap()
}

#[tokio::test]
async fn a_connection_is_enough_unless_something_is_expected() {
    assert_eq!(check(server("", "").await, "", "").await, Verdict::healthy("connected"));
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(check(gone, "", "").await, Verdict::unhealthy("connect: connection refused"));
}

#[tokio::test]
async fn an_answer_is_looked_for_in_what_comes() {
    let redis = server("PING\r\n", "noise +PONG\r\n").await;
    assert_eq!(check(redis, "PING\r\n", "+PONG").await, Verdict::healthy("answered as expected"));
    let greeting = server("", "220 mail.example.com ESMTP\r\n").await;
    assert_eq!(check(greeting, "", "220 ").await, Verdict::healthy("answered as expected"));
}

#[tokio::test]
async fn another_answer_is_shown() {
    let redis = server("PING\r\n", "-ERR no\r\n").await;
    let why = check(redis, "PING\r\n", "+PONG").await.why;
    assert_eq!(why, r#"expected "+PONG", got "-ERR no\r\n""#);
}
