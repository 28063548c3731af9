//! Bodies of HTTP/2 streams, either side, in the frames of `weir-http1`: data goes out as flow
//! control allows, and what comes in is credited as it is taken.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use weir_http1::Frame;

/// The half of a stream that we write.
#[derive(Debug)]
pub struct Sender {
    stream: SendStream<Bytes>,
    pending: Bytes,
    sent: u64,
    ended: bool,
    /// The end, with its trailers, that comes after what is pending.
    end: Option<Option<Box<HeaderMap>>>,
}

impl Sender {
    /// For a stream whose head was sent; `ended` with it where there is no body.
    pub fn new(stream: SendStream<Bytes>, ended: bool) -> Self {
        Self { stream, pending: Bytes::new(), sent: 0, ended, end: None }
    }

    /// Octets that wait for flow control.
    pub fn unsent(&self) -> usize {
        self.pending.len()
    }

    /// Octets sent since the last call.
    pub fn take_count(&mut self) -> u64 {
        std::mem::take(&mut self.sent)
    }

    /// Queue a piece; call only when nothing is unsent.
    ///
    /// # Errors
    /// The stream was reset, or its connection failed.
    pub fn send(&mut self, frame: Frame) -> Result<(), h2::Error> {
        match frame {
            Frame::Data(data) => {
                self.sent += data.len() as u64;
                self.pending = data;
                Ok(())
            }
            Frame::Trailers(trailers) => self.end(Some(trailers)),
        }
    }

    /// End the body, once everything was sent.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn finish(&mut self) -> Result<(), h2::Error> {
        self.end(None)
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), h2::Error> {
        if !self.pending.is_empty() {
            self.end = Some(trailers.map(Box::new));
            return Ok(());
        }
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        match trailers {
            Some(trailers) => self.stream.send_trailers(trailers),
            None => self.stream.send_data(Bytes::new(), true),
        }
    }

    /// Hand over what is unsent, as far as the peer's window goes.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        while !self.pending.is_empty() {
            if self.stream.capacity() == 0 {
                self.stream.reserve_capacity(self.pending.len());
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(Err(Reason::CANCEL.into())),
                }
            }
            let piece = self.pending.split_to(self.stream.capacity().min(self.pending.len()));
            let last = self.pending.is_empty() && matches!(self.end, Some(None));
            if last {
                self.end = None;
                self.ended = true;
            }
            self.stream.send_data(piece, last)?;
        }
        Poll::Ready(self.end.take().map_or(Ok(()), |trailers| self.end(trailers.map(|trailers| *trailers))))
    }

    /// Ready when the peer gave up the stream.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(cx).map(drop)
    }

    /// Give up the stream, unless it has ended.
    pub fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Whether the body was ended.
    pub fn is_ended(&self) -> bool {
        self.ended
    }
}

/// The half of a stream that we read.
#[derive(Debug)]
pub struct Receiver {
    stream: RecvStream,
    received: u64,
    done: bool,
}

impl Receiver {
    /// Of a message whose head was read.
    pub fn new(stream: RecvStream) -> Self {
        let done = stream.is_end_stream();
        Self { stream, received: 0, done }
    }

    /// Whether everything was read.
    pub fn is_received(&self) -> bool {
        self.done
    }

    /// Octets received since the last call.
    pub fn take_count(&mut self) -> u64 {
        std::mem::take(&mut self.received)
    }

    /// Next piece; none at the end.
    ///
    /// # Errors
    /// The stream was reset, or its connection failed.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, h2::Error>> {
        while !self.done {
            let Some(data) = ready!(self.stream.poll_data(cx)) else {
                let mut trailers = ready!(self.stream.poll_trailers(cx))?;
                trailers.iter_mut().for_each(weir_http1::strip_trailers);
                self.done = true;
                return Poll::Ready(Ok(trailers.map(Frame::Trailers)));
            };
            let data = data?;
            self.stream.flow_control().release_capacity(data.len())?;
            self.done = self.stream.is_end_stream();
            self.received += data.len() as u64;
            if !data.is_empty() {
                return Poll::Ready(Ok(Some(Frame::Data(data))));
            }
        }
        Poll::Ready(Ok(None))
    }
}
