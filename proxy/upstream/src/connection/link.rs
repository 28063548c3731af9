//! What the streams of an HTTP/2 connection share, and what the endpoint says first on it: its settings,
//! which tell whether it takes tunnels (RFC 8441 section 3).

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

use super::Transport;

const HEAD: usize = 9;

/// What the streams of a connection share.
#[derive(Debug)]
pub struct Link {
    trusted: Cell<bool>,
    greeted: Cell<bool>,
    greeting: Notify,
}

impl Link {
    /// Of a connection that begins.
    pub fn new() -> Rc<Self> {
        Rc::new(Self { trusted: Cell::new(true), greeted: Cell::new(false), greeting: Notify::new() })
    }

    /// Whether further streams may be opened.
    pub fn is_trusted(&self) -> bool {
        self.trusted.get()
    }

    /// No further streams.
    pub fn distrust(&self) {
        self.trusted.set(false);
    }

    /// Wait until the endpoint has said something, or says nothing any more.
    pub async fn greeted(&self) {
        if !self.greeted.get() {
            self.greeting.notified().await;
        }
    }

    /// Whether the endpoint has said something: its settings come first.
    pub fn is_greeted(&self) -> bool {
        self.greeted.get()
    }

    fn greet(&self) {
        self.greeted.set(true);
        self.greeting.notify_waiters();
    }
}

/// A transport on whose first frame we wait. It does not count as a stream.
#[derive(Debug)]
pub struct Awaited {
    io: Transport,
    link: Weak<Link>,
    frame: Frame,
}

/// How much of the first frame has come.
#[derive(Debug)]
enum Frame {
    Head([u8; HEAD], usize),
    Payload(usize),
    Over,
}

impl Awaited {
    /// Before anything was read.
    pub fn new(io: Transport, link: &Rc<Link>) -> Self {
        Self { io, link: Rc::downgrade(link), frame: Frame::Head([0; HEAD], 0) }
    }

    fn end(&mut self) {
        self.frame = Frame::Over;
        if let Some(link) = self.link.upgrade() {
            link.greet();
        }
    }
}

impl Frame {
    /// Whether the frame is whole after these octets.
    fn pass(&mut self, octets: &[u8]) -> bool {
        for octet in octets {
            match self {
                Self::Head(head, filled) => {
                    if let Some(place) = head.get_mut(*filled) {
                        *place = *octet;
                    }
                    *filled += 1;
                    let [high, middle, low, ..] = *head;
                    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
                    match *filled {
                        HEAD if length == 0 => return true,
                        HEAD => *self = Self::Payload(length),
                        _ => {}
                    }
                }
                Self::Payload(1) | Self::Over => return true,
                Self::Payload(left) => *left -= 1,
            }
        }
        false
    }
}

impl AsyncRead for Awaited {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if matches!(self.frame, Frame::Over) {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        if read.is_empty() || self.frame.pass(read) {
            self.end();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Awaited {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_is_whole_with_its_last_octet() {
        for payload in [0, 1, 6, 300] {
            let length = u32::try_from(payload).unwrap().to_be_bytes();
            let frame = [&length[1..], &[4, 0, 0, 0, 0, 0], &vec![0; payload]].concat();
            for step in [1, 2, 7, frame.len()] {
                let mut stage = Frame::Head([0; HEAD], 0);
                let mut passed = 0;
                let last = frame.chunks(step).position(|octets| {
                    passed += octets.len();
                    stage.pass(octets)
                });
                assert_eq!((passed, last.is_some()), (frame.len(), true), "{payload} by {step}");
            }
        }
    }
}
