//! A byte stream from a client, plain or encrypted.

use std::{
    future::pending,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::duplex::Side;

/// A byte stream from a client. What was read to find out its protocol is given again.
#[derive(Debug)]
pub struct Transport {
    kind: Kind,
    prefix: BytesMut,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Self {
        Self { kind: Kind::Tcp(stream), prefix: BytesMut::new() }
    }
}

impl From<TlsStream<TcpStream>> for Transport {
    fn from(stream: TlsStream<TcpStream>) -> Self {
        Self { kind: Kind::Tls(Box::new(stream)), prefix: BytesMut::new() }
    }
}

impl Transport {
    fn socket(&self) -> &TcpStream {
        match &self.kind {
            Kind::Tcp(stream) => stream,
            Kind::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Let the connection end with a reset when it is dropped.
    pub fn reset_at_end(&self) {
        // An end in order is all there is where the system refuses.
        drop(self.socket().set_zero_linger());
    }

    /// Ends when the connection has broken. A client that has said all may still listen.
    pub async fn broken(&self) {
        let stream = self.socket();
        // Where the system cannot tell, the wait for something else ends.
        if stream.ready(Interest::ERROR).await.is_err() {
            pending::<()>().await;
        }
    }

    /// Give these octets before any that come.
    pub fn with_prefix(self, prefix: BytesMut) -> Self {
        Self { prefix, ..self }
    }
}

impl Side for Transport {
    fn plain(&self) -> Option<&TcpStream> {
        match &self.kind {
            Kind::Tcp(stream) if self.prefix.is_empty() => Some(stream),
            _ => None,
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let n = self.prefix.len().min(buf.remaining());
            buf.put_slice(self.prefix.get(..n).unwrap_or_default());
            self.prefix.advance(n);
            return Poll::Ready(Ok(()));
        }
        match &mut self.kind {
            Kind::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            Kind::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Tcp(io) => Pin::new(io).poll_write(cx, buf),
            Kind::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Kind::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Tcp(_) => Poll::Ready(Ok(())),
            Kind::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Kind::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
