//! Requests that come without TLS where TLS is spoken: their clients are told so, as nginx does.

use std::{convert::Infallible, io, time::Duration};

use rustls::{Error, InvalidMessage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::peek::{Peeked, peek};

const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 56\r\nconnection: close\r\n\r\n\
    this port speaks HTTPS: write https:// in place of http:";
/// Longest wait for the client to take the answer and close.
const LINGER: Duration = Duration::from_secs(2);
/// Most bytes of a request that are read past.
const MOST: usize = 64 * 1024;

/// The stream, unless it begins with a request of plain HTTP: that is answered with 400.
///
/// # Errors
/// The client speaks HTTP without TLS, or says nothing.
pub async fn refused(stream: TcpStream) -> io::Result<TcpStream> {
    // A TLS record begins with 22, a method with a letter.
    let begins = |seen: &[u8]| Ok::<_, Infallible>(seen.first().map(u8::is_ascii_uppercase));
    match peek(&stream, begins).await {
        Ok(Peeked::Whole(false)) => Ok(stream),
        Ok(Peeked::Whole(true)) => {
            let _ = timeout(LINGER, answer(stream)).await;
            Err(io::Error::new(io::ErrorKind::InvalidData, Error::InvalidMessage(InvalidMessage::InvalidContentType)))
        }
        Ok(Peeked::Ended) | Err(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads the rest of the request too: a connection that is closed with unread bytes takes the answer with it.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(ANSWER).await?;
    stream.shutdown().await?;
    let (mut past, mut scratch) = (0, vec![0; 4096]);
    while past < MOST {
        match stream.read(&mut scratch).await? {
            0 => break,
            read => past += read,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
