//! A transport that looks at the frames a client sends, on their way to `h2`: at those whose length
//! alone is wrong, and at how many come that cost the client nothing and us something.
//!
//! Nothing is decoded and nothing is kept but a frame's first nine octets.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{holdings::Account, transport::Transport};

const PREFACE: usize = 24;
const HEAD: usize = 9;
/// Frames in a minute that ask for nothing, beyond those earned.
const LEEWAY: u64 = 10_000;
const MINUTE: Duration = Duration::from_secs(60);
/// Frames earned by a request, as for its share of the connection's window.
const EARNED: u64 = 32;
/// Octets we send that earn a frame, as a client must tell that it took them.
const TAKEN: u64 = 128;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// What was seen of a client's frames; shared by its transport and the task that serves it.
#[derive(Debug, Clone)]
pub struct Sight(Rc<Seen>);

#[derive(Debug)]
struct Seen {
    account: Rc<Account>,
    /// The socket took less than it was given.
    blocked: Cell<bool>,
    violation: Cell<Option<Reason>>,
    unfinished: Cell<Option<Instant>>,
}

impl Sight {
    /// Why the connection has to end, once.
    pub fn violation(&self) -> Option<Reason> {
        self.0.violation.take()
    }

    /// Whether the socket has taken all that it was given.
    pub fn is_sent(&self) -> bool {
        !self.0.blocked.get()
    }

    /// Since when a header block, or a frame other than DATA, has been under way and not come whole.
    pub fn unfinished(&self) -> Option<Instant> {
        self.0.unfinished.get()
    }
}

/// A transport with what was seen on it: nothing is read after a violation.
#[derive(Debug)]
pub struct Watched {
    io: Transport,
    frames: Frames,
    sight: Sight,
    ended: bool,
}

impl Watched {
    /// Watch a transport from the preface on.
    pub fn new(io: Transport, account: &Rc<Account>) -> (Self, Sight) {
        let seen = Seen {
            account: Rc::clone(account),
            blocked: Cell::new(false),
            violation: Cell::new(None),
            unfinished: Cell::new(None),
        };
        let sight = Sight(Rc::new(seen));
        (Self { io, frames: Frames::new(Instant::now()), sight: sight.clone(), ended: false }, sight)
    }

    fn note_sent(&mut self, sent: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let seen = &self.sight.0;
        seen.blocked.set(sent.is_pending());
        let sent = ready!(sent)?;
        seen.account.taken(sent);
        self.frames.sent(sent);
        Poll::Ready(Ok(sent))
    }

    /// Note since when something is unfinished. The clock is read only where a read leaves it so.
    fn note_unfinished(&self) {
        let unfinished = &self.sight.0.unfinished;
        match (self.frames.is_between(), unfinished.get()) {
            (true, Some(_)) => unfinished.set(None),
            (false, None) => unfinished.set(Some(Instant::now())),
            _ => {}
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.sight.0.account.is_closing() {
            self.io.reset_at_end();
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        let Err(reason) = self.frames.pass(read) else {
            self.note_unfinished();
            return Poll::Ready(Ok(()));
        };
        self.sight.0.violation.set(Some(reason));
        self.ended = true;
        buf.set_filled(before);
        Poll::Pending
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note_sent(sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.note_sent(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.sight.0.blocked.set(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Where the stream of frames stands, and what the client may still send for nothing.
#[derive(Debug)]
struct Frames {
    head: [u8; HEAD],
    filled: usize,
    /// Octets to pass before the next head.
    skip: usize,
    begun: bool,
    /// The frame whose octets are passed is DATA.
    data: bool,
    block: Block,
    left: u64,
    sent: u64,
    since: Instant,
}

/// Where the stream of frames stands with regard to header blocks.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    None,
    /// More frames of it follow this one.
    Open,
    /// This is its last frame.
    Last,
}

impl Frames {
    fn new(now: Instant) -> Self {
        Self {
            head: [0; HEAD],
            filled: 0,
            skip: PREFACE,
            begun: false,
            data: false,
            block: Block::None,
            left: LEEWAY,
            sent: 0,
            since: now,
        }
    }

    /// Whether all that has come is whole frames and blocks, a frame of DATA apart.
    fn is_between(&self) -> bool {
        self.filled == 0
            && match self.block {
                Block::None => self.skip == 0 || self.data,
                Block::Open => false,
                Block::Last => self.skip == 0,
            }
    }

    fn sent(&mut self, octets: usize) {
        self.sent += octets as u64;
        self.left += self.sent / TAKEN;
        self.sent %= TAKEN;
    }

    fn pass(&mut self, mut octets: &[u8]) -> Result<(), Reason> {
        while !octets.is_empty() {
            let skipped = self.skip.min(octets.len());
            self.skip -= skipped;
            octets = octets.get(skipped..).unwrap_or_default();
            for octet in octets.iter().take(HEAD - self.filled) {
                if let Some(place) = self.head.get_mut(self.filled) {
                    *place = *octet;
                }
                self.filled += 1;
                octets = octets.get(1..).unwrap_or_default();
            }
            if self.filled == HEAD {
                self.filled = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<(), Reason> {
        let [high, middle, low, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.skip = usize::try_from(length).unwrap_or(usize::MAX);
        if !std::mem::replace(&mut self.begun, true) && (kind != SETTINGS || flags & 1 != 0) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let fits = match kind {
            PRIORITY => length == 5,
            RST_STREAM | WINDOW_UPDATE => length == 4,
            PING => length == 8,
            GOAWAY => length >= 8,
            SETTINGS if flags & 1 != 0 => length == 0,
            SETTINGS => length.is_multiple_of(6),
            _ => true,
        };
        if !fits {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        self.data = kind == DATA;
        self.block = match kind {
            HEADERS | CONTINUATION if flags & END_HEADERS == 0 => Block::Open,
            HEADERS | CONTINUATION => Block::Last,
            _ => Block::None,
        };
        match kind {
            HEADERS => {
                self.left += EARNED;
                Ok(())
            }
            DATA if length > 0 || flags & 1 != 0 => Ok(()),
            RST_STREAM | GOAWAY | CONTINUATION => Ok(()),
            _ => self.spend(),
        }
    }

    fn spend(&mut self) -> Result<(), Reason> {
        if self.left == 0 && self.since.elapsed() >= MINUTE {
            (self.left, self.since) = (LEEWAY, Instant::now());
        }
        self.left = self.left.checked_sub(1).ok_or(Reason::ENHANCE_YOUR_CALM)?;
        Ok(())
    }
}
