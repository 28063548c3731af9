//! The demo's HTTP endpoint: answers with its name, a thread a connection.

use std::{
    io::{self, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;

use crate::http;

/// Longest `/slow?ms=`.
const SLOWEST: u64 = 60_000;

#[derive(Args)]
pub struct Options {
    /// What it calls itself in every answer.
    #[arg(long)]
    name: String,
    /// Where it listens.
    #[arg(long)]
    address: SocketAddr,
}

/// Serve until the process ends.
pub fn run(options: &Options) -> Result<ExitCode> {
    let listener = TcpListener::bind(options.address)
        .with_context(|| format!("endpoint {} cannot listen on {}", options.name, options.address))?;
    let endpoint = Arc::new(Endpoint { name: options.name.clone(), sick: AtomicBool::new(false) });
    for stream in listener.incoming() {
        let (endpoint, stream) = (Arc::clone(&endpoint), stream?);
        thread::spawn(move || endpoint.serve(stream));
    }
    Ok(ExitCode::SUCCESS)
}

struct Endpoint {
    name: String,
    sick: AtomicBool,
}

struct Request {
    method: String,
    path: String,
    query: String,
    keep: bool,
    body: Vec<u8>,
}

struct Answer {
    status: &'static str,
    kind: &'static str,
    body: Vec<u8>,
}

impl Endpoint {
    /// A peer that goes away is no news.
    fn serve(&self, stream: TcpStream) {
        drop(self.exchanges(stream));
    }

    fn exchanges(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let request = read(&mut reader, &mut stream)?;
            self.write(&mut stream, &request, &self.answer(&request))?;
            if !request.keep {
                return Ok(());
            }
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        match request.path.as_str() {
            "/healthz" => self.health(),
            "/sick" => self.set_sick(true),
            "/well" => self.set_sick(false),
            "/echo" => Answer { status: "200 OK", kind: "application/octet-stream", body: request.body.clone() },
            "/slow" => {
                thread::sleep(Duration::from_millis(milliseconds(&request.query)));
                self.greeting(request)
            }
            _ => self.greeting(request),
        }
    }

    fn greeting(&self, request: &Request) -> Answer {
        text(format!("{}: {} {}\n", self.name, request.method, request.path))
    }

    fn health(&self) -> Answer {
        let (status, word) = match self.sick.load(Ordering::Relaxed) {
            true => ("503 Service Unavailable", "failing"),
            false => ("200 OK", "ok"),
        };
        let body = serde_json::json!({ "status": word, "name": self.name }).to_string();
        Answer { status, kind: "application/json", body: body.into_bytes() }
    }

    fn set_sick(&self, sick: bool) -> Answer {
        self.sick.store(sick, Ordering::Relaxed);
        text(format!("{} is now {}\n", self.name, if sick { "sick" } else { "well" }))
    }

    fn write(&self, stream: &mut TcpStream, request: &Request, answer: &Answer) -> io::Result<()> {
        let head = format!(
            "HTTP/1.1 {}\r\ncontent-type: {}\r\ncontent-length: {}\r\nx-endpoint: {}\r\n{}\r\n",
            answer.status,
            answer.kind,
            answer.body.len(),
            self.name,
            if request.keep { "" } else { "connection: close\r\n" },
        );
        let mut bytes = head.into_bytes();
        if request.method != "HEAD" {
            bytes.extend_from_slice(&answer.body);
        }
        stream.write_all(&bytes)
    }
}

fn text(body: String) -> Answer {
    Answer { status: "200 OK", kind: "text/plain", body: body.into_bytes() }
}

fn read(reader: &mut BufReader<TcpStream>, stream: &mut TcpStream) -> io::Result<Request> {
    let line = http::read_line(reader)?;
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or("/");
    let old = words.next() == Some("HTTP/1.0");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let headers = http::read_headers(reader)?;
    let has =
        |name: &str, value: &str| headers.iter().any(|(key, found)| key == name && found.eq_ignore_ascii_case(value));
    if has("expect", "100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let keep = !old && !has("connection", "close");
    let body = http::read_framed_body(reader, &headers)?.unwrap_or_default();
    Ok(Request { method, path, query, keep, body })
}

fn milliseconds(query: &str) -> u64 {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("ms="))
        .and_then(|number| number.parse().ok())
        .map_or(1000, |number: u64| number.min(SLOWEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Request as Ask;

    fn start() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = Endpoint { name: "one".into(), sick: AtomicBool::new(false) };
        thread::spawn(move || {
            for stream in listener.incoming() {
                endpoint.serve(stream.unwrap());
            }
        });
        address
    }

    #[test]
    fn answers_with_its_name_on_a_kept_connection() {
        let mut connection = http::Connection::open(start()).unwrap();
        for _ in 0..2 {
            let response = connection.send(&Ask::get("/x?y")).unwrap();
            assert_eq!(response.text(), "one: GET /x\n");
            assert_eq!(response.header("x-endpoint"), Some("one"));
        }
    }

    #[test]
    fn echoes_and_tells_its_health() {
        let mut connection = http::Connection::open(start()).unwrap();
        let echo = Ask { method: "POST", path: "/echo", headers: &[], body: b"abc" };
        assert_eq!(connection.send(&echo).unwrap().text(), "abc");
        let well = connection.send(&Ask::get("/healthz")).unwrap();
        assert!((well.status, well.text().contains(r#""ok""#)) == (200, true), "{well:?}");
        connection.send(&Ask::get("/sick")).unwrap();
        let sick = connection.send(&Ask::get("/healthz")).unwrap();
        assert!((sick.status, sick.text().contains(r#""failing""#)) == (503, true), "{sick:?}");
    }
}
