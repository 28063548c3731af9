//! A small blocking HTTP/1.1 client on a kept connection: what the demo and the memory bench ask with.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longest wait for the next bytes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest body we take.
const MOST: u64 = 64 << 20;

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// First value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One request.
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// Path with query.
    pub path: &'a str,
    /// Headers beside `host` and `content-length`.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body; empty sends none.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// A GET without headers of its own.
    pub fn get(path: &'a str) -> Request<'a> {
        Request { method: "GET", path, headers: &[], body: &[] }
    }
}

/// A connection that stays open between requests.
pub struct Connection<S: Read + Write> {
    stream: BufReader<S>,
    authority: String,
}

impl Connection<TcpStream> {
    /// Connect over plain TCP.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Ok(Connection::over(connect(address)?, &address.to_string()))
    }
}

impl<S: Read + Write> Connection<S> {
    /// Speak over a stream that is connected already.
    pub fn over(stream: S, authority: &str) -> Self {
        Connection { stream: BufReader::with_capacity(2048, stream), authority: authority.to_owned() }
    }

    /// Send a request and read the whole response.
    pub fn send(&mut self, request: &Request<'_>) -> io::Result<Response> {
        let mut bytes = self.head(request).into_bytes();
        bytes.extend_from_slice(request.body);
        self.stream.get_mut().write_all(&bytes)?;
        self.stream.get_mut().flush()?;
        read_response(&mut self.stream)
    }

    fn head(&self, request: &Request<'_>) -> String {
        let Request { method, path, headers, body } = request;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.authority);
        if !body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in *headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head
    }
}

/// A TCP connection with our time-outs.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// One request on a connection of its own.
pub fn send(address: SocketAddr, request: &Request<'_>) -> io::Result<Response> {
    Connection::open(address)?.send(request)
}

fn read_response(stream: &mut impl BufRead) -> io::Result<Response> {
    let line = read_line(stream)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| malformed(&format!("status line {line:?}")))?;
    let headers = read_headers(stream)?;
    let body = read_body(stream, &headers, status)?;
    Ok(Response { status, headers, body })
}

/// Header fields up to the empty line, names in lower case.
pub fn read_headers(stream: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("header line"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_body(stream: &mut impl BufRead, headers: &[(String, String)], status: u16) -> io::Result<Vec<u8>> {
    if status == 204 || status == 304 {
        return Ok(Vec::new());
    }
    match read_framed_body(stream, headers)? {
        Some(body) => Ok(body),
        None => read_exactly(stream, MOST, false),
    }
}

/// A body framed by chunks or a length; none when neither is given.
pub fn read_framed_body(stream: &mut impl BufRead, headers: &[(String, String)]) -> io::Result<Option<Vec<u8>>> {
    let find = |wanted: &str| headers.iter().find(|(name, _)| name == wanted);
    if find("transfer-encoding").is_some() {
        return read_chunks(stream).map(Some);
    }
    let Some((_, length)) = find("content-length") else {
        return Ok(None);
    };
    let length = length.parse().map_err(|_| malformed("content-length"))?;
    read_exactly(stream, length, true).map(Some)
}

fn read_chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| malformed("chunk size"))?;
        if size == 0 {
            read_headers(stream)?;
            return Ok(body);
        }
        body.extend(read_exactly(stream, size, true)?);
        read_line(stream)?;
    }
}

fn read_exactly(stream: &mut impl BufRead, most: u64, whole: bool) -> io::Result<Vec<u8>> {
    if whole && most > MOST {
        return Err(malformed("a body beyond our limit"));
    }
    let mut body = Vec::new();
    let taken = stream.take(most).read_to_end(&mut body)?;
    if whole && taken as u64 != most {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}

/// A line without its end.
pub fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.take(64 * 1024).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(text: &str) -> Response {
        read_response(&mut text.as_bytes()).unwrap()
    }

    #[test]
    fn reads_a_body_by_its_length() {
        let response = response("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: b\r\n\r\nabcdef");
        assert_eq!((response.status, response.text(), response.header("x-a")), (200, "abc".to_owned(), Some("b")));
    }

    #[test]
    fn reads_chunks() {
        let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        assert_eq!(response(text).text(), "abcd");
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab";
        assert!(read_response(&mut text.as_bytes()).is_err());
    }
}
