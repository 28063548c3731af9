//! One HTTP/1.1 transport, from either side: heads and body frames in, heads and body frames out.
//!
//! Everything polls, so that one task can carry both directions of two connections at once. While
//! a connection waits for a head it owns no buffer: octets are first read into a scratch area of
//! the thread.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::{
    chunked,
    error::Error,
    framing::{Framing, Length},
    head::{self, Limits, RequestHead, ResponseHead},
    output::Output,
};

/// A piece of a body.
#[derive(Debug)]
pub enum Frame {
    /// Some octets, never none.
    Data(Bytes),
    /// The last piece, where there are trailers.
    Trailers(HeaderMap),
}

const SCRATCH: usize = 16 * 1024;
const MAX_READ: usize = 256 * 1024;

thread_local! {
    static SCRATCH_AREA: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Where the body that comes in stands.
#[derive(Debug)]
enum Incoming {
    Done,
    Known(u64),
    Chunked(chunked::Decoder),
    UntilClose,
}

/// Where the body that goes out stands.
#[derive(Debug)]
enum Outgoing {
    Done,
    Known(u64),
    Chunked,
    UntilClose,
}

/// An HTTP/1.1 transport.
#[derive(Debug)]
pub struct Connection<T> {
    io: T,
    input: BytesMut,
    scanned: usize,
    read_size: usize,
    received: u64,
    sent: u64,
    incoming: Incoming,
    output: Output,
    outgoing: Outgoing,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Connection<T> {
    /// Over a transport of which nothing was read, or `input` was.
    pub fn new(io: T, input: BytesMut) -> Self {
        Self {
            io,
            input,
            scanned: 0,
            read_size: SCRATCH,
            received: 0,
            sent: 0,
            incoming: Incoming::Done,
            output: Output::default(),
            outgoing: Outgoing::Done,
        }
    }

    /// The transport.
    pub fn io(&self) -> &T {
        &self.io
    }

    /// The transport, and what was read of it and not used.
    pub fn into_parts(self) -> (T, BytesMut) {
        (self.io, self.input)
    }

    /// Octets of bodies received and sent since the last call.
    pub fn take_counts(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.received), std::mem::take(&mut self.sent))
    }

    /// What was read and not used.
    pub fn buffered(&self) -> &[u8] {
        &self.input
    }

    /// Drop what was read and not used.
    pub fn discard_buffered(&mut self) {
        self.input.clear();
    }

    /// Wait for octets; false at the end of the stream.
    pub fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        SCRATCH_AREA.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
            self.input.extend_from_slice(buf.filled());
            if buf.remaining() == 0 {
                self.read_more();
            }
            Poll::Ready(Ok(!buf.filled().is_empty()))
        })
    }

    /// Give back all memory that is not in use.
    pub fn release(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        self.read_size = SCRATCH;
        self.output.release();
    }

    /// Head of the next request; none when the client closed before its first octet.
    ///
    /// # Errors
    /// [`Error::Malformed`] says by which status to answer. Nothing more can be read after it.
    pub fn poll_request(&mut self, cx: &mut Context<'_>, limits: Limits) -> Poll<Result<Option<RequestHead>, Error>> {
        let Some(block) = ready!(self.poll_head(cx, limits))? else { return Poll::Ready(Ok(None)) };
        let head = RequestHead::parse(block, limits)?;
        self.expect(head.length);
        Poll::Ready(Ok(Some(head)))
    }

    /// Head of the next response to a request of this method, informational ones included; none
    /// when the endpoint closed before its first octet.
    ///
    /// # Errors
    /// As [`Self::poll_request`].
    pub fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        limits: Limits,
        method: &Method,
    ) -> Poll<Result<Option<ResponseHead>, Error>> {
        let Some(block) = ready!(self.poll_head(cx, limits))? else { return Poll::Ready(Ok(None)) };
        let head = ResponseHead::parse(block, limits, method)?;
        self.expect(head.length);
        Poll::Ready(Ok(Some(head)))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, limits: Limits) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            if !self.input.is_empty()
                && let Some(end) = head::find_end(&mut self.input, &mut self.scanned, limits)?
            {
                self.scanned = 0;
                return Poll::Ready(Ok(Some(self.input.split_to(end).freeze())));
            }
            if !ready!(self.poll_more(cx))? {
                return Poll::Ready(if self.input.is_empty() { Ok(None) } else { Err(Error::Truncated) });
            }
        }
    }

    fn expect(&mut self, length: Length) {
        self.incoming = match length {
            Length::Empty => Incoming::Done,
            Length::Known(n) => Incoming::Known(n),
            Length::Chunked => Incoming::Chunked(chunked::Decoder::new()),
            Length::UntilClose => Incoming::UntilClose,
        };
    }

    /// Whether the body that comes in was read to its end.
    pub fn is_received(&self) -> bool {
        matches!(self.incoming, Incoming::Done)
    }

    /// Next piece of the body that comes in; none at its end.
    ///
    /// # Errors
    /// [`Error::Truncated`] when the peer closes early, [`Error::Malformed`] for bad chunks.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, Error>> {
        loop {
            if let Some(step) = self.decode()? {
                return Poll::Ready(Ok(step));
            }
            if !ready!(self.poll_fill(cx))? {
                return Poll::Ready(match std::mem::replace(&mut self.incoming, Incoming::Done) {
                    Incoming::UntilClose => Ok(None),
                    unfinished => {
                        self.incoming = unfinished;
                        Err(Error::Truncated)
                    }
                });
            }
        }
    }

    /// What the buffer holds of the body: none when more must be read first.
    fn decode(&mut self) -> Result<Option<Option<Frame>>, Error> {
        let data = match &mut self.incoming {
            Incoming::Done => return Ok(Some(None)),
            _ if self.input.is_empty() => return Ok(None),
            Incoming::UntilClose => self.input.split().freeze(),
            Incoming::Known(left) => {
                let n = self.input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= n as u64;
                if *left == 0 {
                    self.incoming = Incoming::Done;
                }
                self.input.split_to(n).freeze()
            }
            Incoming::Chunked(decoder) => match decoder.step(&mut self.input)? {
                chunked::Step::More => return Ok(None),
                chunked::Step::Data(data) => data,
                chunked::Step::End(trailers) => {
                    self.incoming = Incoming::Done;
                    return Ok(Some(trailers.map(Frame::Trailers)));
                }
            },
        };
        self.received += data.len() as u64;
        Ok(Some(Some(Frame::Data(data))))
    }

    /// Read into a buffer of our own, in larger steps as the peer fills them and no larger than the body.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        let left = match self.incoming {
            Incoming::Known(left) => usize::try_from(left).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        self.input.reserve(self.read_size.min(left));
        let room = self.input.capacity() - self.input.len();
        let read = ready!(pin!(self.io.read_buf(&mut self.input)).poll(cx))?;
        if read == room {
            self.read_more();
        }
        Poll::Ready(Ok(read > 0))
    }

    /// The peer has filled what it was given: more is to be expected of it.
    fn read_more(&mut self) {
        self.read_size = (self.read_size * 4).min(MAX_READ);
    }

    /// Begin a message: `write` appends its head.
    pub fn start(&mut self, framing: Framing, write: impl FnOnce(&mut BytesMut)) {
        write(self.output.small());
        self.outgoing = match framing {
            Framing::Empty | Framing::Known(0) => Outgoing::Done,
            Framing::Known(n) => Outgoing::Known(n),
            Framing::Chunked => Outgoing::Chunked,
            Framing::UntilClose => Outgoing::UntilClose,
        };
    }

    /// After a switch of protocols: pass on octets as they are, both ways.
    pub fn switch(&mut self) {
        self.incoming = Incoming::UntilClose;
        self.outgoing = Outgoing::UntilClose;
    }

    /// Append a piece of the body that goes out. Trailers end it; where the framing has no place
    /// for them they are left out.
    ///
    /// # Errors
    /// [`Error::WrongLength`] past the announced end.
    pub fn send(&mut self, frame: Frame) -> Result<(), Error> {
        match frame {
            Frame::Data(data) => self.send_data(data),
            Frame::Trailers(trailers) => self.end(Some(&trailers)),
        }
    }

    fn send_data(&mut self, data: Bytes) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        self.sent += data.len() as u64;
        match &mut self.outgoing {
            Outgoing::Done => return Err(Error::WrongLength),
            Outgoing::UntilClose => self.output.push(data),
            Outgoing::Known(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Error::WrongLength)?;
                self.output.push(data);
            }
            Outgoing::Chunked => {
                write_hex(self.output.small(), data.len());
                self.output.push(data);
                self.output.small().put_slice(b"\r\n");
            }
        }
        Ok(())
    }

    /// End the body that goes out.
    ///
    /// # Errors
    /// [`Error::WrongLength`] before the announced end.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.end(None)
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Error> {
        match std::mem::replace(&mut self.outgoing, Outgoing::Done) {
            Outgoing::Done | Outgoing::UntilClose | Outgoing::Known(0) => Ok(()),
            Outgoing::Known(_) => Err(Error::WrongLength),
            Outgoing::Chunked => {
                let out = self.output.small();
                out.put_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    out.put_slice(name.as_str().as_bytes());
                    out.put_slice(b": ");
                    out.put_slice(value.as_bytes());
                    out.put_slice(b"\r\n");
                }
                out.put_slice(b"\r\n");
                Ok(())
            }
        }
    }

    /// Whether the body that goes out was ended and everything has gone.
    pub fn is_sent(&self) -> bool {
        matches!(self.outgoing, Outgoing::Done | Outgoing::Known(0)) && self.output.is_empty()
    }

    /// Octets that were sent here and not yet to the peer.
    pub fn unsent(&self) -> usize {
        self.output.len()
    }

    /// Pass everything on to the peer.
    ///
    /// # Errors
    /// Of the transport.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.output.is_empty() {
            ready!(self.output.poll_write_all(&mut self.io, cx))?;
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }

    /// [`Self::poll_flush`] to its end.
    ///
    /// # Errors
    /// Of the transport.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Close our half; the peer's is still read.
    ///
    /// # Errors
    /// Of the transport.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        Poll::Ready(Ok(()))
    }
}

fn write_hex(out: &mut BytesMut, number: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - number.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.put_u8(DIGITS.get((number >> (place * 4)) & 15).copied().unwrap_or(b'0'));
    }
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
