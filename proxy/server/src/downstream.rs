//! The client's side of one exchange, over HTTP/1.1 or HTTP/2.

use std::{
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, server::SendResponse};
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, UPGRADE},
};
use tokio::time::timeout;
use weir_http1::{Connection, Frame, Framing, ResponseHead};
use weir_upstream::h2_body::{Receiver, Sender};

use crate::{
    error::ProxyError,
    forwarded,
    holdings::{Account, Share},
    identity::Reserved,
    mirror::Copy,
    transport::Transport,
};

/// Octets kept for a client that does not take them at once.
const HIGH_WATER: usize = 256 * 1024;
/// Octets read ahead of a client that sends its next request early.
const PIPELINED: usize = 16 * 1024;
/// Most of a body that is read for the sake of its connection when nobody wants it.
const UNWANTED: usize = 256 * 1024;

/// The client's side of one exchange.
pub struct Downstream<'a> {
    side: Side<'a>,
    started: bool,
    copy: Option<Box<Copy>>,
    /// What the request's body may still have.
    room: Room,
    /// It is CONNECT, whose success is no response but a tunnel.
    connects: bool,
    /// What its trailers may not say.
    reserved: Vec<Arc<Reserved>>,
    /// Only the end of the connection ends its response.
    unframed: bool,
    /// Its response was broken off where only a reset says so.
    torn: bool,
    /// What it holds for either side.
    share: Share,
}

/// What a request's body may still have.
#[derive(Debug, Clone, Copy)]
enum Room {
    Any,
    Octets(u64),
    /// There was more than that.
    Exceeded,
}

/// A request whose body is larger than it may be.
pub const TOO_LARGE: ProxyError =
    ProxyError::Refused { status: StatusCode::PAYLOAD_TOO_LARGE, reason: "request body is too large" };

#[derive(Debug)]
enum Side<'a> {
    Http1 { connection: &'a mut Connection<Transport>, version: Version, head: bool, keep: bool },
    Http2 { receive: Receiver, respond: SendResponse<Bytes>, send: Option<Sender> },
}

impl<'a> Downstream<'a> {
    /// An exchange of an HTTP/1.1 connection whose request head was read.
    pub fn http1(
        connection: &'a mut Connection<Transport>,
        version: Version,
        method: &Method,
        keep: bool,
        account: &Rc<Account>,
    ) -> Self {
        let (head, connects) = (*method == Method::HEAD, *method == Method::CONNECT);
        // What follows a CONNECT may be meant for the tunnel that it is refused, and is no request.
        let keep = keep && !connects;
        Self::new(Side::Http1 { connection, version, head, keep }, connects, account)
    }

    /// A stream of an HTTP/2 connection.
    pub fn http2(receive: Receiver, respond: SendResponse<Bytes>, connects: bool, account: &Rc<Account>) -> Self {
        Self::new(Side::Http2 { receive, respond, send: None }, connects, account)
    }

    fn new(side: Side<'a>, connects: bool, account: &Rc<Account>) -> Self {
        Self {
            side,
            started: false,
            copy: None,
            room: Room::Any,
            connects,
            reserved: Vec::new(),
            unframed: false,
            torn: false,
            share: Share::new(account),
        }
    }

    /// Whether the response's head was given.
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// Whether the connection can take another exchange after this one.
    pub fn keeps(&self) -> bool {
        matches!(&self.side, Side::Http1 { keep: true, .. })
    }

    /// Let this be the connection's last exchange.
    pub fn close_after(&mut self) {
        if let Side::Http1 { keep, .. } = &mut self.side {
            *keep = false;
        }
    }

    /// Whether the request's body was read to its end.
    pub fn is_received(&self) -> bool {
        match &self.side {
            Side::Http1 { connection, .. } => connection.is_received(),
            Side::Http2 { receive, .. } => receive.is_received(),
        }
    }

    /// Octets of the bodies received and sent since the last call.
    pub fn take_counts(&mut self) -> (u64, u64) {
        match &mut self.side {
            Side::Http1 { connection, .. } => connection.take_counts(),
            Side::Http2 { receive, send, .. } => (receive.take_count(), send.as_mut().map_or(0, Sender::take_count)),
        }
    }

    /// Octets that the client has not taken yet.
    pub fn unsent(&self) -> usize {
        match &self.side {
            Side::Http1 { connection, .. } => connection.unsent(),
            Side::Http2 { send, .. } => send.as_ref().map_or(0, Sender::unsent),
        }
    }

    /// It waits, and holds what is unsent for the client and so many octets for the endpoint.
    pub fn hold(&mut self, for_endpoint: usize) {
        self.share.set(self.unsent() + for_endpoint);
    }

    /// Whether its connection is to be closed for what it holds. The task is woken when that comes to be; a connection
    /// of HTTP/2 sees to that itself.
    pub fn poll_closing(&mut self, cx: &Context<'_>) -> bool {
        let Side::Http1 { connection, keep, .. } = &mut self.side else { return false };
        let closing = self.share.account().poll_closing(cx);
        if closing {
            (*keep, self.torn) = (false, true);
            connection.io().reset_at_end();
        }
        closing
    }

    /// Let the request's body have no more octets than this.
    pub fn bound_body(&mut self, most: u64) {
        self.room = Room::Octets(most);
    }

    /// Let the request's trailers have none of these fields, as its head has none.
    pub fn reserve(&mut self, fields: &Arc<Reserved>) {
        if !self.is_received() {
            self.reserved.push(Arc::clone(fields));
        }
    }

    /// Take what has come of a body that nobody wants, so that the connection can go on. A client that is still
    /// sending is not waited for: it is told that this is the connection's last exchange.
    pub async fn pass_over_body(&mut self) {
        if self.keeps() && !poll_fn(|cx| Poll::Ready(self.poll_rest(UNWANTED, cx) == Poll::Ready(true))).await {
            self.close_after();
        }
    }

    /// Take the rest of a body that its response did not wait for, as long as that is worth it. Whether this was all.
    pub async fn receive_rest(&mut self, patience: Duration) -> bool {
        timeout(patience, poll_fn(|cx| self.poll_rest(usize::MAX, cx))).await.unwrap_or(false)
    }

    /// Take a small rest of the body of an HTTP/2 request whose response is whole, before its stream is reset: a client
    /// that is told NO_ERROR while it still writes may give up the response too (curl 7.88 does).
    pub async fn receive_last(&mut self, patience: Duration) {
        let whole = matches!(&self.side, Side::Http2 { send: Some(send), .. } if send.is_ended());
        if !whole || self.is_received() {
            return;
        }
        (self.copy, self.room) = (None, Room::Any);
        let _ = timeout(patience, poll_fn(|cx| self.poll_rest(UNWANTED, cx))).await;
    }

    fn poll_rest(&mut self, mut most: usize, cx: &mut Context<'_>) -> Poll<bool> {
        while !self.is_received() {
            match ready!(self.poll_frame(cx)) {
                Ok(Some(Frame::Data(data))) if data.len() <= most => most -= data.len(),
                Ok(None | Some(Frame::Trailers(_))) if self.is_received() => {}
                _ => return Poll::Ready(false),
            }
        }
        Poll::Ready(true)
    }

    /// Next piece of the request's body; none at its end. Trailers say nothing of who asks.
    ///
    /// # Errors
    /// The client left, its message is malformed, or larger than it may be.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, ProxyError>> {
        let frame = match &mut self.side {
            Side::Http1 { connection, .. } => connection.poll_frame(cx).map_err(client_error),
            Side::Http2 { receive, .. } => receive.poll_frame(cx).map_err(stream_error),
        };
        let mut frame = frame.map(|frame| frame.and_then(|frame| self.within_room(frame)));
        if let Poll::Ready(Ok(Some(Frame::Trailers(trailers)))) = &mut frame {
            forwarded::remove(trailers);
            self.reserved.iter().for_each(|reserved| reserved.remove(trailers));
        }
        if self.copy.is_some()
            && let Poll::Ready(frame) = &frame
        {
            self.copy_frame(frame);
        }
        frame
    }

    fn within_room(&mut self, frame: Option<Frame>) -> Result<Option<Frame>, ProxyError> {
        self.room = match (self.room, &frame) {
            (Room::Octets(left), Some(Frame::Data(data))) => {
                left.checked_sub(data.len() as u64).map_or(Room::Exceeded, Room::Octets)
            }
            (room, _) => room,
        };
        // What came beyond the limit is gone: nothing after it may be taken for the rest of the body.
        if let Room::Exceeded = self.room { Err(TOO_LARGE) } else { Ok(frame) }
    }

    /// Copy the request's body as it is received, and let the copy go once it is whole.
    pub fn copy_to(&mut self, copy: Box<Copy>) {
        self.copy = Some(copy);
        self.send_whole_copy();
    }

    fn copy_frame(&mut self, frame: &Result<Option<Frame>, ProxyError>) {
        if let (Ok(Some(piece)), Some(copy)) = (frame, &mut self.copy)
            && !copy.take(piece)
        {
            self.copy = None;
        }
        self.send_whole_copy();
    }

    fn send_whole_copy(&mut self) {
        if self.is_received()
            && let Some(copy) = self.copy.take()
        {
            copy.send();
        }
    }

    /// Ready when the client has left. To be asked once its request is read.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.side {
            Side::Http1 { connection, .. } => {
                while connection.buffered().len() < PIPELINED {
                    match ready!(connection.poll_more(cx)) {
                        Ok(true) => {}
                        Ok(false) | Err(_) => return Poll::Ready(()),
                    }
                }
                Poll::Pending
            }
            Side::Http2 { send: Some(send), .. } => send.poll_reset(cx),
            Side::Http2 { respond, .. } => respond.poll_reset(cx).map(drop),
        }
    }

    /// Give an informational response, which has no length.
    pub fn inform(&mut self, status: StatusCode, headers: &HeaderMap) {
        match &mut self.side {
            Side::Http1 { connection, version: Version::HTTP_11, .. } => {
                connection.start(Framing::Empty, |out| ResponseHead::write(out, status, headers, Framing::Empty, None));
            }
            Side::Http1 { .. } => {}
            Side::Http2 { respond, .. } => {
                let mut response = Response::new(());
                *response.status_mut() = status;
                response.headers_mut().clone_from(headers);
                let _ = respond.send_informational(response);
            }
        }
    }

    /// Give the response's head; `length` of its body where that is known.
    ///
    /// # Errors
    /// The client left, or would take the response for the beginning of a tunnel.
    pub fn start(&mut self, status: StatusCode, mut headers: HeaderMap, length: Option<u64>) -> Result<(), ProxyError> {
        if self.connects && status.is_success() {
            return Err(ProxyError::NotSwitched);
        }
        self.started = true;
        let bodyless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        if status == StatusCode::NO_CONTENT {
            headers.remove(CONTENT_LENGTH);
        }
        match &mut self.side {
            Side::Http1 { connection, version, head, keep } => {
                let framing = match length {
                    _ if bodyless || *head => Framing::Empty,
                    Some(length) => Framing::Known(length),
                    None if *version == Version::HTTP_11 => Framing::Chunked,
                    None => Framing::UntilClose,
                };
                self.unframed = framing == Framing::UntilClose;
                *keep &= !self.unframed;
                let upgrade = status == StatusCode::UPGRADE_REQUIRED && headers.contains_key(UPGRADE);
                let connection_field = match (*version, *keep) {
                    (Version::HTTP_11, true) => upgrade.then_some("upgrade"),
                    (_, true) => Some("keep-alive"),
                    (_, false) if upgrade => Some("close, upgrade"),
                    (_, false) => Some("close"),
                };
                connection.start(framing, |out| ResponseHead::write(out, status, &headers, framing, connection_field));
            }
            Side::Http2 { respond, send, .. } => {
                let ended = bodyless || length == Some(0);
                if status == StatusCode::UPGRADE_REQUIRED {
                    // HTTP/2 has no such field (RFC 9113 section 8.2.2).
                    headers.remove(UPGRADE);
                }
                let mut response = Response::new(());
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                let stream = respond.send_response(response, ended).map_err(stream_error)?;
                *send = Some(Sender::new(stream, ended));
            }
        }
        Ok(())
    }

    /// Switch protocols, or connect where there is none to name: what follows in either direction is passed on as
    /// it is. Gives the status that says so.
    ///
    /// # Errors
    /// The client left.
    pub fn switch(&mut self, mut headers: HeaderMap, upgrade: Option<HeaderValue>) -> Result<StatusCode, ProxyError> {
        self.started = true;
        self.room = Room::Any;
        // What follows is no body (RFC 9110 section 8.6), and has no end that could be told.
        headers.remove(CONTENT_LENGTH);
        match &mut self.side {
            Side::Http1 { connection, keep, .. } => {
                *keep = false;
                let status = if upgrade.is_some() { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::OK };
                if let Some(upgrade) = upgrade {
                    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                    headers.insert(UPGRADE, upgrade);
                }
                connection
                    .start(Framing::Empty, |out| ResponseHead::write(out, status, &headers, Framing::Empty, None));
                connection.switch();
                Ok(status)
            }
            Side::Http2 { respond, send, .. } => {
                let mut response = Response::new(());
                *response.headers_mut() = headers;
                *send = Some(Sender::new(respond.send_response(response, false).map_err(stream_error)?, false));
                Ok(StatusCode::OK)
            }
        }
    }

    /// Ready when another piece may be sent.
    ///
    /// # Errors
    /// The client left.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        match &self.side {
            Side::Http1 { connection, .. } if connection.unsent() < HIGH_WATER => Poll::Ready(Ok(())),
            _ => self.poll_flush(cx),
        }
    }

    /// Queue a piece of the response's body; only when [`Self::poll_ready`] said so.
    ///
    /// # Errors
    /// The client left, or the piece goes past the announced length.
    pub fn send(&mut self, frame: Frame) -> Result<(), ProxyError> {
        match &mut self.side {
            Side::Http1 { connection, .. } => connection.send(frame).map_err(client_error),
            Side::Http2 { send: Some(send), .. } => send.send(frame).map_err(stream_error),
            Side::Http2 { .. } => Ok(()),
        }
    }

    /// End the response's body.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn finish(&mut self) -> Result<(), ProxyError> {
        match &mut self.side {
            Side::Http1 { connection, .. } => connection.finish().map_err(client_error),
            Side::Http2 { send: Some(send), .. } => send.finish().map_err(stream_error),
            Side::Http2 { .. } => Ok(()),
        }
    }

    /// Pass on what was queued.
    ///
    /// # Errors
    /// The client left.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        match &mut self.side {
            Side::Http1 { connection, .. } => connection.poll_flush(cx).map_err(client_error),
            Side::Http2 { send: Some(send), .. } => {
                poll_flush_stream(send, self.share.account(), cx).map_err(stream_error)
            }
            Side::Http2 { .. } => Poll::Ready(Ok(())),
        }
    }

    /// Close our half of a tunnel.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.side {
            Side::Http1 { connection, .. } => connection.poll_shutdown(cx).map(drop),
            Side::Http2 { .. } => Poll::Ready(()),
        }
    }

    /// Break off a response that cannot be completed, so that the client sees that it is not whole.
    pub fn abort(&mut self) {
        self.close_after();
        self.tear();
        if let Side::Http2 { respond, send, .. } = &mut self.side {
            match send {
                Some(send) => send.reset(Reason::INTERNAL_ERROR),
                None => respond.send_reset(Reason::INTERNAL_ERROR),
            }
        }
    }

    /// Let the connection end with a reset where its end would be taken for that of the response.
    pub fn tear(&mut self) {
        if let Side::Http1 { connection, .. } = &self.side
            && self.unframed
        {
            connection.io().reset_at_end();
            self.torn = true;
        }
    }

    /// Whether the connection is to end at once, since its response was broken off.
    pub fn is_torn(&self) -> bool {
        self.torn
    }
}

/// As far as the client's windows go, and the queue of its connection.
fn poll_flush_stream(send: &mut Sender, account: &Account, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
    let before = send.unsent();
    if before > 0 && account.is_full(cx) {
        return Poll::Pending;
    }
    let flushed = send.poll_flush(cx);
    account.queue(before - send.unsent());
    flushed
}

fn client_error(error: weir_http1::Error) -> ProxyError {
    match error {
        weir_http1::Error::Malformed(fault) => ProxyError::Refused { status: fault.status, reason: fault.reason },
        weir_http1::Error::WrongLength => ProxyError::Upstream(error.into()),
        weir_http1::Error::Io(_) | weir_http1::Error::Truncated => ProxyError::ClientGone,
    }
}

fn stream_error(_: h2::Error) -> ProxyError {
    ProxyError::ClientGone
}
