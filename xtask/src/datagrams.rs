//! Datagrams for the bench: who gives them back, and who sends them and waits.

use std::{
    net::{SocketAddr, UdpSocket},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};

/// Clients at a time, each with one datagram under way.
const CLIENTS: usize = 64;
/// What each carries.
const LENGTH: usize = 64;
/// A datagram that takes longer is lost, and sent again.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Give every datagram back.
    Echo {
        /// Where it listens.
        address: SocketAddr,
    },
    /// Send and wait, so many times in all; prints the microseconds of each.
    Ask {
        /// Who gives them back.
        address: SocketAddr,
        /// How many.
        requests: u64,
    },
}

/// Play a part.
pub fn run(options: &Options) -> Result<ExitCode> {
    match &options.part {
        Part::Echo { address } => echo(*address)?,
        Part::Ask { address, requests } => {
            let times: Vec<String> = ask(*address, *requests)?.iter().map(|time| format!("{time:.1}")).collect();
            println!("{}", times.join("\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn echo(address: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind(address)?;
    let mut octets = [0; 2048];
    loop {
        // A client that is gone is told of here.
        if let Ok((length, from)) = socket.recv_from(&mut octets) {
            let _ = socket.send_to(octets.get(..length).unwrap_or_default(), from);
        }
    }
}

/// Rounds of all clients: each sends, then each takes its answer.
fn ask(address: SocketAddr, requests: u64) -> Result<Vec<f64>> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        clients.push(socket);
    }
    let (mut times, mut lost) = (Vec::new(), 0_u64);
    let mut octets = [b'x'; LENGTH];
    while (times.len() as u64) < requests {
        let mut sent = Vec::with_capacity(CLIENTS);
        for client in &clients {
            client.send(&octets)?;
            sent.push(Instant::now());
        }
        for (client, sent) in clients.iter().zip(sent) {
            while client.recv(&mut octets).is_err() {
                lost += 1;
                ensure!(lost < requests / 100 + 100, "{lost} datagrams were lost");
                client.send(&octets)?;
            }
            times.push(sent.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok(times)
}

/// Whether one comes back within a while.
pub fn comes_back(address: SocketAddr) -> bool {
    let come = || -> std::io::Result<()> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        socket.send(b"there?")?;
        socket.recv(&mut [0; LENGTH]).map(drop)
    };
    (0..200).any(|_| {
        come().is_ok() || {
            std::thread::sleep(Duration::from_millis(20));
            false
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_comes_back() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        drop(socket);
        std::thread::spawn(move || echo(address));
        assert!(comes_back(address));
        assert!(ask(address, 100).unwrap().len() >= 100);
    }
}
