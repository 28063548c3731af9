//! One exchange with an endpoint, over HTTP/1.1 or HTTP/2.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{
    Reason,
    client::{ResponseFuture, SendRequest},
    ext::Protocol,
};
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, HOST},
};
use weir_http1::{Frame, Framing, Length, Limits, RequestHead};

use super::{ConnectionError, link::Link, pool::Kept};
use crate::h2_body::{Receiver, Sender};

/// Head of a response, without what belongs to the connection it came by.
#[derive(Debug)]
pub struct Outcome {
    /// Its status; 1xx are given too.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Length of its body where that is known.
    pub length: Option<u64>,
    /// The protocol the endpoint switched to, after 101.
    pub upgrade: Option<HeaderValue>,
}

/// One exchange with an endpoint.
#[derive(Debug)]
pub struct Stream(Kind);

#[derive(Debug)]
enum Kind {
    Http1 { connection: Kept, method: Method, reusable: bool },
    Ready { sender: SendRequest<Bytes>, link: Rc<Link> },
    Http2 { link: Rc<Link>, send: Sender, response: ResponseFuture, receive: Option<Receiver> },
}

/// Where a request goes, in the words of either protocol.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// As sent.
    pub method: &'a Method,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Path and query, or `*`.
    pub path: &'a str,
}

impl Stream {
    pub(super) fn http1(connection: Kept) -> Self {
        Self(Kind::Http1 { connection, method: Method::GET, reusable: false })
    }

    pub(super) fn http2(sender: SendRequest<Bytes>, link: Rc<Link>) -> Self {
        Self(Kind::Ready { sender, link })
    }

    /// Send the request's head. `headers` has `host`.
    ///
    /// # Errors
    /// The HTTP/2 connection cannot take a stream, or the request cannot be said in HTTP/2.
    pub fn start(&mut self, target: Target<'_>, headers: &HeaderMap, length: Length) -> Result<(), ConnectionError> {
        match &mut self.0 {
            Kind::Http1 { connection, method, .. } => {
                let framing = match length {
                    Length::Empty => Framing::Empty,
                    Length::Known(n) => Framing::Known(n),
                    Length::Chunked | Length::UntilClose => Framing::Chunked,
                };
                *method = target.method.clone();
                connection.start(framing, |out| RequestHead::write(out, target.method, target.path, headers, framing));
            }
            Kind::Ready { sender, link } => {
                let mut request = http2_request(target, headers)?;
                tell_length(request.headers_mut(), length);
                let ended = length == Length::Empty;
                let (response, send) = sender.send_request(request, ended).map_err(unstarted)?;
                self.0 = Kind::Http2 { link: Rc::clone(link), send: Sender::new(send, ended), response, receive: None };
            }
            Kind::Http2 { .. } => {}
        }
        Ok(())
    }

    /// Whether the endpoint takes tunnels over this HTTP/2 connection, once it has said so or not.
    pub async fn takes_tunnels(&self) -> bool {
        let Kind::Ready { sender, link } = &self.0 else { return false };
        link.greeted().await;
        sender.is_extended_connect_protocol_enabled()
    }

    /// Ask for a tunnel in which this protocol is spoken, over an HTTP/2 connection that takes them
    /// (RFC 8441 section 4).
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_tunnel(
        &mut self,
        target: Target<'_>,
        headers: &HeaderMap,
        protocol: &str,
    ) -> Result<(), ConnectionError> {
        if let Kind::Ready { sender, link } = &mut self.0 {
            let mut request = http2_request(Target { method: &Method::CONNECT, ..target }, headers)?;
            request.extensions_mut().insert(Protocol::from(protocol));
            let (response, send) = sender.send_request(request, false).map_err(unstarted)?;
            self.0 = Kind::Http2 { link: Rc::clone(link), send: Sender::new(send, false), response, receive: None };
        }
        Ok(())
    }

    /// Octets that the endpoint has not taken yet.
    pub fn unsent(&self) -> usize {
        match &self.0 {
            Kind::Http1 { connection, .. } => connection.unsent(),
            Kind::Http2 { send, .. } => send.unsent(),
            Kind::Ready { .. } => 0,
        }
    }

    /// Queue a piece of the request's body.
    ///
    /// # Errors
    /// Past the announced end, or the stream failed.
    pub fn send(&mut self, frame: Frame) -> Result<(), ConnectionError> {
        match &mut self.0 {
            Kind::Http1 { connection, .. } => connection.send(frame)?,
            Kind::Http2 { send, .. } => send.send(frame)?,
            Kind::Ready { .. } => {}
        }
        Ok(())
    }

    /// End the request's body.
    ///
    /// # Errors
    /// Before the announced end, or the stream failed.
    pub fn finish(&mut self) -> Result<(), ConnectionError> {
        match &mut self.0 {
            Kind::Http1 { connection, .. } => connection.finish()?,
            Kind::Http2 { send, .. } => send.finish()?,
            Kind::Ready { .. } => {}
        }
        Ok(())
    }

    /// Pass on what was queued.
    ///
    /// # Errors
    /// Of the transport or stream.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        Poll::Ready(match &mut self.0 {
            Kind::Http1 { connection, .. } => ready!(connection.poll_flush(cx)).map_err(Into::into),
            Kind::Http2 { send, .. } => ready!(send.poll_flush(cx)).map_err(Into::into),
            Kind::Ready { .. } => Ok(()),
        })
    }

    /// The next head: any number of informational ones, then the response.
    ///
    /// # Errors
    /// The transport failed or the head is malformed.
    pub fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome, ConnectionError>> {
        match &mut self.0 {
            Kind::Http1 { connection, method, reusable } => {
                let head = ready!(connection.poll_response(cx, Limits::default(), method))?;
                let mut head = head.ok_or(ConnectionError::NoResponse)?;
                *reusable = head.keep_alive;
                let upgrade = (head.status == StatusCode::SWITCHING_PROTOCOLS)
                    .then(|| head.headers.get(http::header::UPGRADE).cloned())
                    .flatten();
                if head.hop_by_hop {
                    strip(&mut head);
                }
                let length = match head.length {
                    Length::Empty => Some(0),
                    Length::Known(n) => Some(n),
                    Length::Chunked | Length::UntilClose => None,
                };
                Poll::Ready(Ok(Outcome { status: head.status, headers: head.headers, length, upgrade }))
            }
            Kind::Http2 { response, receive, .. } => poll_http2_response(response, receive, cx),
            Kind::Ready { .. } => Poll::Ready(Err(ConnectionError::NoResponse)),
        }
    }

    /// Next piece of the response's body; none at its end.
    ///
    /// # Errors
    /// The endpoint broke off or broke the protocol.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, ConnectionError>> {
        Poll::Ready(match &mut self.0 {
            Kind::Http1 { connection, .. } => ready!(connection.poll_frame(cx)).map_err(Into::into),
            Kind::Http2 { receive: Some(receive), .. } => ready!(receive.poll_frame(cx)).map_err(Into::into),
            Kind::Http2 { .. } | Kind::Ready { .. } => Ok(None),
        })
    }

    /// Whether the response's body was read to its end.
    pub fn is_received(&self) -> bool {
        match &self.0 {
            Kind::Http1 { connection, .. } => connection.is_received(),
            Kind::Http2 { receive, .. } => receive.as_ref().is_some_and(Receiver::is_received),
            Kind::Ready { .. } => false,
        }
    }

    /// Give up the exchange: the connection is not used again, the stream is reset.
    pub fn abort(&mut self) {
        match &mut self.0 {
            Kind::Http1 { reusable, .. } => *reusable = false,
            Kind::Http2 { send, .. } => send.reset(Reason::CANCEL),
            Kind::Ready { .. } => {}
        }
    }

    /// Whether what was queued has to go before more can be.
    pub fn must_flush(&self) -> bool {
        matches!(&self.0, Kind::Http2 { send, .. } if send.unsent() > 0)
    }

    /// After a switch of protocols: pass on octets as they are, both ways.
    pub fn switch(&mut self) {
        if let Kind::Http1 { connection, reusable, .. } = &mut self.0 {
            *reusable = false;
            connection.switch();
        }
    }

    /// Close our half of a tunnel.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Kind::Http1 { connection, .. } => connection.poll_shutdown(cx).map(drop),
            _ => Poll::Ready(()),
        }
    }

    /// The endpoint is silent: no more streams on a connection that may be dead.
    pub fn distrust(&mut self) {
        if let Kind::Http2 { link, .. } | Kind::Ready { link, .. } = &self.0 {
            link.distrust();
        }
        self.abort();
    }

    /// The HTTP/1.1 connection when its exchange is complete and the endpoint keeps it.
    pub(super) fn into_reusable(self) -> Option<Kept> {
        match self.0 {
            Kind::Http1 { connection, reusable: true, .. }
                if connection.is_received() && connection.is_sent() && connection.buffered().is_empty() =>
            {
                Some(connection)
            }
            _ => None,
        }
    }
}

/// Why a stream was not begun: by what the connection has come to, or for what is wrong with the request.
fn unstarted(error: h2::Error) -> ConnectionError {
    match error.reason() {
        None if !error.is_io() => ConnectionError::Unsayable,
        _ => error.into(),
    }
}

/// Pseudo-headers take no authority with a `%`, which HTTP/1.1 lets through (RFC 3986 section 3.2.2).
fn http2_request(target: Target<'_>, headers: &HeaderMap) -> Result<Request<()>, ConnectionError> {
    let authority = headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    let uri = Uri::builder()
        .scheme(target.scheme)
        .authority(authority)
        .path_and_query(target.path)
        .build()
        .map_err(|_| ConnectionError::Unsayable)?;
    let mut request = Request::new(());
    *request.method_mut() = target.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers.clone();
    request.headers_mut().remove(HOST);
    Ok(request)
}

/// Say of the body's length what is true, as heads of HTTP/1.1 do.
fn tell_length(headers: &mut HeaderMap, length: Length) {
    match length {
        Length::Known(length) => drop(headers.insert(CONTENT_LENGTH, HeaderValue::from(length))),
        Length::Empty if headers.contains_key(CONTENT_LENGTH) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Length::Empty => {}
        Length::Chunked | Length::UntilClose => drop(headers.remove(CONTENT_LENGTH)),
    }
}

fn poll_http2_response(
    response: &mut ResponseFuture,
    receive: &mut Option<Receiver>,
    cx: &mut Context<'_>,
) -> Poll<Result<Outcome, ConnectionError>> {
    if let Poll::Ready(Some(informational)) = response.poll_informational(cx) {
        let (head, ()) = informational?.into_parts();
        return Poll::Ready(Ok(Outcome { status: head.status, headers: head.headers, length: Some(0), upgrade: None }));
    }
    let (head, body) = ready!(Pin::new(response).poll(cx))?.into_parts();
    let body = Receiver::new(body);
    let announced = head.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    let length = if body.is_received() { Some(0) } else { announced };
    *receive = Some(body);
    Poll::Ready(Ok(Outcome { status: head.status, headers: head.headers, length, upgrade: None }))
}

/// Removes what is about the connection, but for the protocols that 426 asks for (RFC 9110 section 15.5.22).
fn strip(head: &mut weir_http1::ResponseHead) {
    let wanted: Vec<_> = match head.status {
        StatusCode::UPGRADE_REQUIRED => head.headers.get_all(http::header::UPGRADE).iter().cloned().collect(),
        _ => Vec::new(),
    };
    weir_http1::strip_hop_by_hop(&mut head.headers);
    head.headers.extend(wanted.into_iter().map(|protocol| (http::header::UPGRADE, protocol)));
}
