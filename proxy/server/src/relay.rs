//! Both directions of an exchange in one task: the request's body up, the response's head and body
//! down, each as fast as its receiver takes it, and nobody waited for longer than agreed.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_LENGTH};
use weir_http1::Frame;
use weir_upstream::connection::{Outcome, Stream};

use crate::{
    compress::Compressor, downstream::Downstream, error::ProxyError, pace::Pace, replay::Replay, timer::Timer,
};

/// How long a relay waits.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the client to send or take the next octets.
    pub client: Duration,
    /// Octets that earn the client a second of that; none lets any octet restore all of it.
    pub rate: Option<u64>,
    /// For the endpoint to send or take the next octets.
    pub endpoint: Duration,
    /// For the endpoint to answer once the request is sent.
    pub answer: Option<Duration>,
    /// End of the whole exchange.
    pub until: Option<Instant>,
}

/// An exchange between a client and an endpoint.
pub struct Relay<'a, 'c> {
    down: &'a mut Downstream<'c>,
    up: &'a mut Stream,
    timer: &'a mut Timer,
    patience: Patience,
    /// Where the client's patience has to be earned.
    pace: Option<Pace>,
    progress: Instant,
    /// When the request had been sent.
    asked: Option<Instant>,
    /// Something has passed since `progress`: the clock is read only where we have to wait.
    moved: bool,
    /// What passes before the first wait does so at the time of `progress`.
    waited: bool,
    waits_for: Party,
    uploaded: bool,
    upload_sent: bool,
    /// When that was, if not before the first wait.
    sent: Option<Instant>,
    downloaded: bool,
    informed: usize,
    /// Whether any of the request's body was taken from the client.
    body_taken: bool,
    /// Where the request's body is kept.
    replay: Option<&'a mut Replay>,
    /// What an earlier attempt took of it.
    again: std::vec::IntoIter<Frame>,
    /// What makes the response smaller.
    compressor: Option<Box<Compressor>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Party {
    Client,
    Endpoint,
}

/// Sees the trailers of a response before the client does.
pub type See<'s> = &'s mut dyn FnMut(&mut HeaderMap);

/// A failure with the party it belongs to.
type Step = Poll<Result<(), ProxyError>>;

impl<'a, 'c> Relay<'a, 'c> {
    /// For a request whose head was handed to `up`. What `replay` has of its body goes up first; where a tunnel
    /// is asked for, what the client sends belongs to that.
    pub fn new(
        down: &'a mut Downstream<'c>,
        up: &'a mut Stream,
        timer: &'a mut Timer,
        patience: Patience,
        now: Instant,
        replay: Option<&'a mut Replay>,
        tunnel: bool,
    ) -> Self {
        let again = replay.as_ref().map_or_else(Vec::new, |replay| replay.frames());
        let uploaded = tunnel || (again.is_empty() && down.is_received());
        if uploaded && !tunnel {
            // A body that was empty after all is to be ended all the same; whatever is wrong with the
            // endpoint shows when its response is waited for.
            let _ = up.finish();
        }
        Self {
            down,
            up,
            timer,
            pace: patience.rate.map(|rate| Pace::new(rate, patience.client)),
            patience,
            progress: now,
            asked: None,
            moved: false,
            waited: false,
            waits_for: Party::Endpoint,
            uploaded,
            upload_sent: false,
            sent: None,
            downloaded: false,
            informed: 0,
            body_taken: false,
            replay,
            again: again.into_iter(),
            compressor: None,
        }
    }

    /// For a tunnel that may be silent for so long.
    pub fn tunnel(
        down: &'a mut Downstream<'c>,
        up: &'a mut Stream,
        timer: &'a mut Timer,
        idle: Duration,
        now: Instant,
    ) -> Self {
        Self {
            down,
            up,
            timer,
            patience: Patience { client: idle, rate: None, endpoint: idle, answer: None, until: None },
            pace: None,
            progress: now,
            asked: None,
            moved: false,
            waited: false,
            waits_for: Party::Endpoint,
            uploaded: false,
            upload_sent: false,
            sent: None,
            downloaded: false,
            informed: 0,
            body_taken: false,
            replay: None,
            again: Vec::new().into_iter(),
            compressor: None,
        }
    }

    /// The next response head, informational or not, while the request's body goes up.
    ///
    /// # Errors
    /// Of either side, or out of time.
    pub async fn response(&mut self) -> Result<Outcome, ProxyError> {
        if self.informed > INFORMATIONAL {
            return Err(ProxyError::Upstream(weir_http1::Error::from(TOO_INFORMATIVE).into()));
        }
        poll_fn(|cx| self.poll_response(cx)).await
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome, ProxyError>> {
        let upload = self.poll_upload(cx);
        if let Poll::Ready(response) = self.up.poll_response(cx) {
            return Poll::Ready(response.map_err(ProxyError::Upstream));
        }
        if let Poll::Ready(Err(error)) = upload {
            return Poll::Ready(Err(error));
        }
        self.flush_down(cx)?;
        if self.uploaded && self.down.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(ProxyError::ClientGone));
        }
        self.poll_patience(cx).map(Err)
    }

    /// Give the client an informational response, which tells no length (RFC 9110 section 8.6).
    pub fn inform(&mut self, mut head: Outcome) {
        self.moved = true;
        self.informed += 1;
        head.headers.remove(CONTENT_LENGTH);
        self.down.inform(head.status, &head.headers);
    }

    /// Let this be the last exchange of the client's connection.
    pub fn close_after(&mut self) {
        self.down.close_after();
    }

    /// Whether a response of this length is likely to be over before the client has sent its body, of which nothing
    /// has come where it waits to be asked for it. A longer one may be made of what is still to come.
    pub fn is_early(&self, length: Option<u64>) -> bool {
        !self.uploaded && (!self.body_taken || length.is_some_and(|length| length <= SHORT))
    }

    /// Since when the endpoint has had the request, or what it was sent of it; none where that is since it was begun.
    pub fn asked_at(&self) -> Option<Instant> {
        match self.upload_sent {
            true => self.sent,
            false if self.moved => Some(Instant::now()),
            false => Some(self.progress),
        }
    }

    /// Give the client the response's head.
    ///
    /// # Errors
    /// The client left.
    pub fn start(&mut self, status: StatusCode, headers: HeaderMap, length: Option<u64>) -> Result<(), ProxyError> {
        self.patience.answer = None;
        if let Some(replay) = self.replay.take() {
            replay.clear();
        }
        self.down.start(status, headers, length)
    }

    /// Tell the client that protocols are switched, by the status that is given.
    ///
    /// # Errors
    /// The client left.
    pub fn switch(&mut self, headers: HeaderMap, upgrade: HeaderValue) -> Result<StatusCode, ProxyError> {
        self.up.switch();
        self.down.switch(headers, Some(upgrade))
    }

    /// Compress the body of the response.
    pub fn compress(&mut self, compressor: Option<Box<Compressor>>) {
        self.compressor = compressor;
    }

    /// What it was compressed by.
    pub fn compressor(&self) -> Option<&Compressor> {
        self.compressor.as_deref()
    }

    /// The response's body to its end.
    ///
    /// # Errors
    /// Of either side, or out of time.
    pub async fn body(&mut self, trailers: See<'_>) -> Result<(), ProxyError> {
        poll_fn(|cx| self.poll_body(cx, trailers)).await
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, trailers: See<'_>) -> Step {
        if let Poll::Ready(done) = self.poll_download(cx, trailers) {
            return Poll::Ready(done);
        }
        // Both ways go on at once; it is the download that says whom we wait for.
        let waits_for = self.waits_for;
        if let Poll::Ready(Err(error)) = self.poll_upload(cx)
            && !matches!(error, ProxyError::Upstream(_))
        {
            return Poll::Ready(Err(error));
        }
        self.waits_for = waits_for;
        if self.uploaded && self.down.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(ProxyError::ClientGone));
        }
        self.poll_patience(cx).map(Err)
    }

    /// Both directions of a tunnel until both have ended.
    ///
    /// # Errors
    /// Of either side, or nothing has passed for too long.
    pub async fn pass(&mut self) -> Result<(), ProxyError> {
        let (mut up_closed, mut down_closed) = (false, false);
        poll_fn(|cx| {
            if !up_closed && let Poll::Ready(result) = self.poll_upload(cx) {
                result?;
                up_closed = self.up.poll_shutdown(cx).is_ready();
            }
            if !down_closed && let Poll::Ready(result) = self.poll_download(cx, &mut |_| {}) {
                result?;
                down_closed = self.down.poll_shutdown(cx).is_ready();
            }
            if up_closed && down_closed {
                return Poll::Ready(Ok(()));
            }
            self.poll_patience(cx).map(|_| Err(ProxyError::Idle))
        })
        .await
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Step {
        loop {
            if self.upload_sent {
                return Poll::Ready(Ok(()));
            }
            if self.uploaded || self.up.must_flush() || self.up.unsent() >= UPLOAD_HIGH_WATER {
                self.waits_for = Party::Endpoint;
                ready!(self.poll_flush_up(cx))?;
                self.upload_sent = self.uploaded;
                self.sent = (self.uploaded && self.waited).then(Instant::now);
                continue;
            }
            let Poll::Ready(frame) = self.poll_piece(cx)? else {
                self.waits_for = Party::Client;
                if let Poll::Ready(flushed) = self.poll_flush_up(cx) {
                    flushed?;
                }
                return Poll::Pending;
            };
            self.moved = true;
            let ended = frame.is_none();
            if let Some(frame) = frame {
                self.body_taken = true;
                self.up.send(frame).map_err(ProxyError::Upstream)?;
            }
            // Often known with the last piece already: then nothing has to be asked for once more.
            if ended || (self.again.len() == 0 && self.down.is_received()) {
                self.uploaded = true;
                self.up.finish().map_err(ProxyError::Upstream)?;
            }
        }
    }

    /// The next piece of the request's body: of what was taken before, then of what the client sends.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, ProxyError>> {
        if let Some(frame) = self.again.next() {
            return Poll::Ready(Ok(Some(frame)));
        }
        let frame = ready!(self.down.poll_frame(cx))?;
        if let (Some(replay), Some(frame)) = (&mut self.replay, &frame) {
            replay.keep(frame);
        }
        if let (Some(pace), Some(Frame::Data(data))) = (&mut self.pace, &frame) {
            pace.moved(data.len());
        }
        Poll::Ready(Ok(frame))
    }

    fn poll_download(&mut self, cx: &mut Context<'_>, trailers: See<'_>) -> Step {
        loop {
            if self.downloaded {
                self.waits_for = Party::Client;
                return self.poll_flush_down(cx);
            }
            if self.poll_ready_down(cx)?.is_pending() {
                self.waits_for = Party::Client;
                return Poll::Pending;
            }
            let Poll::Ready(mut frame) = self.up.poll_frame(cx).map_err(ProxyError::Upstream)? else {
                self.waits_for = Party::Endpoint;
                self.let_out()?;
                self.flush_down(cx)?;
                return Poll::Pending;
            };
            self.moved = true;
            let ended = frame.is_none() || self.up.is_received();
            if let Some(Frame::Trailers(fields)) = &mut frame {
                trailers(fields);
            }
            match (frame, self.compressor.is_some()) {
                (frame, true) => self.send_compressed(frame, ended)?,
                (Some(frame), false) => self.down.send(frame)?,
                (None, false) => {}
            }
            if ended {
                self.downloaded = true;
                self.down.finish()?;
            }
        }
    }

    /// A piece of the response, as what is ready of its compressed form.
    fn send_compressed(&mut self, frame: Option<Frame>, ended: bool) -> Result<(), ProxyError> {
        let Some(compressor) = &mut self.compressor else { return Ok(()) };
        let (data, trailers) = match frame {
            Some(Frame::Data(data)) => (data, None),
            Some(Frame::Trailers(trailers)) => (Bytes::new(), Some(trailers)),
            None => (Bytes::new(), None),
        };
        let ready = compressor.take(&data, ended || trailers.is_some()).map_err(ProxyError::Compression)?;
        if !ready.is_empty() {
            self.down.send(Frame::Data(ready))?;
        }
        trailers.map_or(Ok(()), |trailers| self.down.send(Frame::Trailers(trailers)))
    }

    /// The endpoint pauses: the client gets what has come.
    fn let_out(&mut self) -> Result<(), ProxyError> {
        let Some(compressor) = &mut self.compressor else { return Ok(()) };
        let ready = compressor.flush().map_err(ProxyError::Compression)?;
        if ready.is_empty() { Ok(()) } else { self.down.send(Frame::Data(ready)) }
    }

    /// Octets that are taken count as progress, however few.
    fn poll_flush_up(&mut self, cx: &mut Context<'_>) -> Step {
        let before = self.up.unsent();
        let flushed = self.up.poll_flush(cx).map_err(ProxyError::Upstream);
        self.note_taken(before, self.up.unsent());
        flushed
    }

    fn poll_flush_down(&mut self, cx: &mut Context<'_>) -> Step {
        let before = self.down.unsent();
        let flushed = self.down.poll_flush(cx);
        self.note_taken_down(before);
        flushed
    }

    fn poll_ready_down(&mut self, cx: &mut Context<'_>) -> Step {
        let before = self.down.unsent();
        let ready = self.down.poll_ready(cx);
        self.note_taken_down(before);
        ready
    }

    fn note_taken(&mut self, before: usize, after: usize) {
        self.moved |= after < before;
    }

    fn note_taken_down(&mut self, before: usize) {
        let after = self.down.unsent();
        self.note_taken(before, after);
        if let Some(pace) = &mut self.pace {
            pace.moved(before.saturating_sub(after));
        }
    }

    fn flush_down(&mut self, cx: &mut Context<'_>) -> Result<(), ProxyError> {
        match self.poll_flush_down(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => {
                self.waits_for = Party::Client;
                Ok(())
            }
        }
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<ProxyError> {
        if std::mem::take(&mut self.moved) && self.waited {
            self.progress = Instant::now();
        }
        self.waited = true;
        self.down.hold(self.up.unsent());
        if self.down.poll_closing(cx) {
            return Poll::Ready(ProxyError::Unread);
        }
        let silence = self.silence();
        let until = self.patience.until.unwrap_or(silence);
        let answer = self.answer_by().unwrap_or(silence);
        ready!(self.timer.poll(cx, silence.min(until).min(answer)));
        Poll::Ready(match self.waits_for {
            _ if until < silence.min(answer) => ProxyError::RouteTimeout,
            _ if answer < silence => ProxyError::AttemptTimeout,
            Party::Endpoint => ProxyError::UpstreamTimeout,
            Party::Client if self.down.is_started() => ProxyError::ClientStalled,
            Party::Client => ProxyError::ClientSlow,
        })
    }

    /// By when whoever is waited for has to move something.
    fn silence(&mut self) -> Instant {
        match (self.waits_for, &mut self.pace) {
            (Party::Client, None) => self.progress + self.patience.client,
            (Party::Client, Some(pace)) => pace.wait(Instant::now()),
            (Party::Endpoint, pace) => {
                pace.iter_mut().for_each(|pace| pace.rest(Instant::now()));
                self.progress + self.patience.endpoint
            }
        }
    }

    /// When the endpoint must have answered, once the request is sent.
    fn answer_by(&mut self) -> Option<Instant> {
        let answer = self.patience.answer.filter(|_| self.uploaded)?;
        Some(*self.asked.get_or_insert(self.progress) + answer)
    }

    /// Whether all of the request is there to be sent again.
    pub fn is_intact(&self) -> bool {
        !self.body_taken || self.replay.as_ref().is_some_and(|replay| replay.is_whole())
    }
}

/// Octets of a response that is over as soon as it has begun.
const SHORT: u64 = 16 * 1024;
/// Informational responses an endpoint may send before the response itself.
const INFORMATIONAL: usize = 100;
const TOO_INFORMATIVE: weir_http1::Fault =
    weir_http1::Fault { status: StatusCode::BAD_GATEWAY, reason: "too many informational responses" };
/// Octets kept for an endpoint that does not take them at once.
const UPLOAD_HIGH_WATER: usize = 256 * 1024;
