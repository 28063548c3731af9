//! Octets as they are: a client that sends what no library would, and endpoints that misbehave.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use super::soon;

/// A connection on which a test says and reads octets.
pub struct Raw {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Raw {
        Raw::of(TcpStream::connect(address).await.unwrap())
    }

    pub fn of(stream: TcpStream) -> Raw {
        stream.set_nodelay(true).unwrap();
        Raw { stream, read: Vec::new() }
    }

    pub async fn send(&mut self, octets: impl AsRef<[u8]>) {
        soon("octets to be taken", self.stream.write_all(octets.as_ref())).await.unwrap();
    }

    /// Sends what the peer will take; an error is no failure.
    pub async fn try_send(&mut self, octets: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(octets.as_ref()).await
    }

    /// Reads up to and including `end`.
    pub async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = find(&self.read, end.as_bytes()) {
                let taken = self.read.drain(..at + end.len()).collect();
                return String::from_utf8(taken).unwrap();
            }
            assert!(self.fill().await > 0, "closed before {end:?}: {:?}", self.peek());
        }
    }

    /// A message's head.
    pub async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// So many octets.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            assert!(self.fill().await > 0, "closed before {length} octets: {:?}", self.peek());
        }
        self.read.drain(..length).collect()
    }

    /// A response with its body, by Content-Length (or without any).
    pub async fn response(&mut self) -> (String, String) {
        let head = self.head().await;
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned));
        let length = length.map_or(0, |length| length.trim().parse().unwrap());
        let body = self.exactly(length).await;
        (head, String::from_utf8(body).unwrap())
    }

    /// Everything until the peer closes or resets.
    pub async fn rest(&mut self) -> String {
        while self.fill().await > 0 {}
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }

    /// Waits for the peer to close; whatever comes before is a failure.
    pub async fn closed(&mut self) {
        let rest = self.rest().await;
        assert_eq!(rest, "", "octets before the close");
    }

    /// Half-closes.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    fn peek(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// 0 at the end, and when the peer resets.
    async fn fill(&mut self) -> usize {
        let waiting = format!("octets after {:?}", self.peek());
        soon(&waiting, self.stream.read_buf(&mut self.read)).await.unwrap_or(0)
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// An endpoint whose every connection is played by a test.
pub struct RawEndpoint {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl RawEndpoint {
    /// `play` gets each connection and its number, from 0.
    pub async fn start<F, P>(play: P) -> RawEndpoint
    where
        P: Fn(Raw, usize) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut plays = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                plays.spawn(play(Raw::of(stream), count.fetch_add(1, SeqCst)));
            }
        });
        RawEndpoint { address, connections, task }
    }

    /// Answers every request with these octets, on kept connections.
    pub async fn answering(octets: &'static str) -> RawEndpoint {
        RawEndpoint::start(move |mut raw, _| async move {
            loop {
                raw.head().await;
                raw.send(octets).await;
            }
        })
        .await
    }

    /// Accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

impl Drop for RawEndpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}
