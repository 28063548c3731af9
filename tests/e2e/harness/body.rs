//! Message bodies: whole, generated, and fed by a test as it goes.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// Any body.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

pub fn empty() -> Body {
    Empty::new().map_err(never).boxed_unsync()
}

pub fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(never).boxed_unsync()
}

/// A body with trailers; its length is not told beforehand.
pub fn with_trailers(body: &'static str, trailers: HeaderMap) -> Body {
    let (sender, body_of_channel) = channel();
    sender.data(body);
    sender.0.send(Ok(Frame::trailers(trailers))).unwrap();
    body_of_channel
}

/// So many octets `x`, generated as they are taken.
pub fn octets(length: u64, told: bool) -> Body {
    Octets { left: length, told }.boxed_unsync()
}

/// A body that a test feeds; dropping the sender ends it.
pub fn channel() -> (BodySender, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (BodySender(sender), Fed(receiver).boxed_unsync())
}

pub struct BodySender(mpsc::UnboundedSender<io::Result<Frame<Bytes>>>);

impl BodySender {
    /// False once nobody reads any more.
    pub fn data(&self, data: impl Into<Bytes>) -> bool {
        self.0.send(Ok(Frame::data(data.into()))).is_ok()
    }

    pub fn trailers(self, trailers: HeaderMap) {
        let _ = self.0.send(Ok(Frame::trailers(trailers)));
    }

    /// Breaks the body off.
    pub fn fail(self) {
        let _ = self.0.send(Err(io::Error::other("broken off by the test")));
    }
}

struct Fed(mpsc::UnboundedReceiver<io::Result<Frame<Bytes>>>);

impl hyper::body::Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx)
    }
}

struct Octets {
    left: u64,
    told: bool,
}

static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];

impl hyper::body::Body for Octets {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let take = self.left.min(PIECE.len() as u64);
        self.left -= take;
        let piece = Bytes::from_static(&PIECE[..take as usize]);
        Poll::Ready((take > 0).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.told { SizeHint::with_exact(self.left) } else { SizeHint::default() }
    }
}

fn never(never: Infallible) -> io::Error {
    match never {}
}
