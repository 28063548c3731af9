//! Looking at what a connection says first, and leaving it where it is.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    task::{Poll, ready},
};

use tokio::{
    io::{Interest, ReadBuf},
    net::TcpStream,
};
use weir_preamble::{hello, proxy};

/// The longest that anybody wants to see.
const MOST: usize = if proxy::LONGEST > hello::LONGEST { proxy::LONGEST } else { hello::LONGEST };

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; MOST].into_boxed_slice());
}

/// What came of it.
#[derive(Debug)]
pub enum Peeked<T> {
    /// What was looked for.
    Whole(T),
    /// The connection ended before it was whole.
    Ended,
}

/// What `read` finds at the start of the stream, once it is whole: it is asked again whenever more has
/// come.
///
/// # Errors
/// Those of `read`.
pub async fn peek<T, E>(stream: &TcpStream, read: impl Fn(&[u8]) -> Result<Option<T>, E>) -> Result<Peeked<T>, E> {
    loop {
        let Ok(readiness) = stream.ready(Interest::READABLE).await else { return Ok(Peeked::Ended) };
        let looked = poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut seen = ReadBuf::new(scratch);
                ready!(stream.poll_peek(cx, &mut seen))?;
                Poll::Ready(Ok::<_, io::Error>((seen.filled().is_empty(), read(seen.filled()))))
            })
        });
        match looked.await {
            Err(_) | Ok((true, _)) => return Ok(Peeked::Ended),
            Ok((_, Err(fault))) => return Err(fault),
            Ok((_, Ok(Some(found)))) => return Ok(Peeked::Whole(found)),
            // All that will ever come has been seen.
            Ok((_, Ok(None))) if readiness.is_read_closed() => return Ok(Peeked::Ended),
            Ok((_, Ok(None))) => wait_for_more(stream),
        }
    }
}

/// The stream counts as readable only when something else has come: octets that are looked at stay.
fn wait_for_more(stream: &TcpStream) {
    let nothing = || Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock));
    let _ = stream.try_io(Interest::READABLE, nothing);
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    /// Whole with this many octets; the first must be `a`.
    fn whole(length: usize) -> impl Fn(&[u8]) -> Result<Option<usize>, &'static str> {
        move |seen| match seen.first() {
            Some(b'a') | None => Ok((seen.len() >= length).then_some(length)),
            Some(_) => Err("not an a"),
        }
    }

    #[tokio::test]
    async fn what_comes_in_pieces_is_seen_whole_and_left_there() {
        let (mut client, server) = pair().await;
        client.set_nodelay(true).unwrap();
        let looking = peek(&server, whole(3));
        let sending = async {
            for piece in [b"a", b"b", b"c"] {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (looked, ()) = tokio::join!(looking, sending);
        assert!(matches!(looked, Ok(Peeked::Whole(3))));
        let mut left = [0; 3];
        assert_eq!(server.peek(&mut left).await.unwrap(), 3);
        assert_eq!(&left, b"abc");
    }

    #[tokio::test]
    async fn an_end_in_the_middle_is_noticed() {
        for sent in [&b""[..], b"ab"] {
            let (mut client, server) = pair().await;
            client.write_all(sent).await.unwrap();
            drop(client);
            assert!(matches!(peek(&server, whole(3)).await, Ok(Peeked::Ended)));
        }
    }

    #[tokio::test]
    async fn a_fault_ends_it() {
        let (mut client, server) = pair().await;
        client.write_all(b"b").await.unwrap();
        assert_eq!(peek(&server, whole(3)).await.unwrap_err(), "not an a");
    }
}
