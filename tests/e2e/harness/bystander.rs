//! What an abuse costs: Weir, by the system's books, and others, by a client that asks all the time.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{PATIENCE, Weir};

/// CPU time and memory of a Weir from one moment to another.
pub struct Meter {
    what: &'static str,
    begun: Instant,
    cpu: Duration,
    memory: u64,
}

impl Meter {
    pub fn start(what: &'static str, weir: &Weir) -> Meter {
        Meter { what, begun: Instant::now(), cpu: weir.cpu(), memory: weir.rss() }
    }

    /// Prints what it came to.
    pub fn end(self, weir: &Weir) {
        let (took, cpu) = (self.begun.elapsed(), weir.cpu() - self.cpu);
        let memory = weir.rss() as i64 - self.memory as i64;
        println!("{}: {cpu:?} of CPU in {took:.1?}, memory {:+} KiB", self.what, memory / 1024);
    }
}

/// A client that means well, on a thread of its own: one GET after another, each on a connection of its
/// own, until it is told to end.
pub struct Bystander {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Served>,
}

/// Requests that were answered, and the longest wait for one; or why one was not.
type Served = io::Result<(usize, Duration)>;

impl Bystander {
    pub fn start(address: SocketAddr, path: &'static str) -> Bystander {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let (mut number, mut longest) = (0, Duration::ZERO);
            loop {
                let begun = Instant::now();
                ask(address, path)?;
                number += 1;
                longest = longest.max(begun.elapsed());
                // A breath between two, unless it is to end.
                if stopped.recv_timeout(Duration::from_millis(2)) != Err(RecvTimeoutError::Timeout) {
                    return Ok((number, longest));
                }
            }
        });
        Bystander { stop, thread }
    }

    /// Panics when one of its requests was not answered with 200.
    pub fn end(self) {
        drop(self.stop);
        let served = self.thread.join().unwrap();
        let (number, longest) = served.unwrap_or_else(|error| panic!("somebody else was not served: {error}"));
        println!("others: {number} requests, each answered within {longest:.1?}");
    }
}

fn ask(address: SocketAddr, path: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    match response.starts_with("HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(io::Error::other(response)),
    }
}
